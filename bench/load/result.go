package load

import (
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run has measured.
type Result struct {
	URL         string    `json:"url"`
	Protocol    string    `json:"protocol"`
	Handshakes  string    `json:"handshakes,omitempty"` // Full or Resumed: handshakes were made and no requests
	Loop        string    `json:"loop"`                 // "closed" or "open"
	Connections int       `json:"connections"`
	Streams     int       `json:"streams"`
	Rate        float64   `json:"rate,omitempty"` // asked for, of an open loop
	Started     time.Time `json:"started"`        // of the measuring
	Seconds     float64   `json:"seconds"`        // how long was measured
	Warmup      float64   `json:"warmup_seconds"`

	// OK are the requests answered with an acceptable status and the length that was asked for, Failed all others that were measured.
	OK         int64               `json:"ok"`
	Failed     int64               `json:"failed"`
	PerSecond  float64             `json:"requests_per_second"` // OK in Seconds
	Bytes      int64               `json:"body_bytes"`
	BytesPerS  float64             `json:"body_bytes_per_second"`
	Status     map[int]int64       `json:"status"`
	Failures   map[string]*Failure `json:"failures"`   // by class
	Retried    int64               `json:"retried"`    // made again because the server had not seen them, warm-up included
	Reconnects int64               `json:"reconnects"` // connections made after the first ones, warm-up included
	// Late are good answers to a closed loop that came after its end. They are in no other figure.
	Late      int64                   `json:"late"`
	LateMaxMs float64                 `json:"late_max_ms"`
	Latency   Latency                 `json:"latency_us"` // of OK
	Histogram *hdrhistogram.Histogram `json:"-"`
}

// Latency is the distribution of latencies, in microseconds, exact to 0.1 %.
type Latency struct {
	Mean  float64 `json:"mean"`
	Min   int64   `json:"min"`
	P50   int64   `json:"p50"`
	P75   int64   `json:"p75"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	P999  int64   `json:"p99_9"`
	P9999 int64   `json:"p99_99"`
	Max   int64   `json:"max"`
}

func newLatency(h *hdrhistogram.Histogram) (l Latency) {
	if h.TotalCount() == 0 {
		return l
	}
	at := h.ValueAtPercentile
	return Latency{Mean: round(h.Mean(), 10), Min: h.Min(), P50: at(50), P75: at(75), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: h.Max()}
}

// round rounds to a fraction 1/unit.
func round(x, unit float64) float64 { return float64(int64(x*unit+0.5)) / unit }

func (r *run) result() *Result {
	b := r.book
	loop := "closed"
	if r.Rate > 0 {
		loop = "open"
	}
	from := time.Duration(r.from.Load())
	x := &Result{URL: r.URL, Protocol: r.Protocol, Loop: loop, Connections: r.Connections, Streams: r.Streams, Rate: r.Rate,
		Handshakes: r.Handshakes,
		Started:    r.epoch.Add(from), Seconds: max(0, r.to-from).Seconds(), Warmup: r.Warmup.Seconds(),
		OK: b.ok, Failed: b.failed, Bytes: b.bytes, Status: b.status, Failures: b.failures, Retried: b.retried, Reconnects: b.redials,
		Late: b.late, LateMaxMs: round(b.lateMax.Seconds()*1e3, 1000), Latency: newLatency(b.latency), Histogram: b.latency}
	if x.Seconds > 0 {
		x.PerSecond, x.BytesPerS = float64(x.OK)/x.Seconds, float64(x.Bytes)/x.Seconds
	}
	return x
}

// Classes are the classes of the failures that happened, in the order of [Classes].
func (r *Result) Classes() (list []string) {
	for _, c := range Classes {
		if r.Failures[c] != nil {
			list = append(list, c)
		}
	}
	return list
}

// Statuses are the statuses that came, from the least.
func (r *Result) Statuses() (list []int) {
	for s := range r.Status {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}
