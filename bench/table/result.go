package table

import (
	"slices"
	"time"
)

// Sample is one run with one server.
type Sample struct {
	// Value is what is compared: CPU µs a request, or KiB a connection.
	Value     float64 `json:"value"`
	Requests  int64   `json:"requests"` // in a row of idle connections: connections
	PerSecond float64 `json:"per_second"`
	P50       float64 `json:"p50_us"` // latency as the load saw it, µs
	P99       float64 `json:"p99_us"`
	// How busy the cores were, 0 to 1, with whatever ran on them; and how busy the server's own processes were. A server core that is
	// clearly busier than the server means that something else ran there too.
	ServerCore float64 `json:"server_core"`
	LoadCore   float64 `json:"load_core"`
	Server     float64 `json:"server"`
}

// Pair is two runs back to back.
type Pair struct {
	Ours      Sample  `json:"ours"`
	Peer      Sample  `json:"peer"`
	OursFirst bool    `json:"ours_first"`
	Ratio     float64 `json:"ratio"`
}

// Verdict is what became of a row.
type Verdict string

// The verdicts.
const (
	Met         Verdict = "met"
	Missed      Verdict = "missed"
	Information Verdict = "information" // there is no target
	Failed      Verdict = "failed"      // it could not be measured
)

// Result is a row and what was measured. Every figure is a median: Ratio of the pairs' ratios, not of the medians, because the two runs of a pair
// met the same conditions.
type Result struct {
	Row     Row     `json:"row"`
	Ours    Sample  `json:"ours"`
	Peer    Sample  `json:"peer"`
	Ratio   float64 `json:"ratio"`
	Lowest  float64 `json:"lowest_ratio"`
	Highest float64 `json:"highest_ratio"`
	Verdict Verdict `json:"verdict"`
	Error   string  `json:"error,omitempty"`
	Pairs   []Pair  `json:"pairs"`
	Seconds float64 `json:"seconds"` // that the row took
}

// tolerable is how much of the server's core may be busy with something else: interrupts and the kernel's own threads take a few percent.
const tolerable = 0.1

// Disturbed reports that something else than the server took a good part of its core: the row is worth little.
func (r Result) Disturbed() bool {
	if r.Row.Idle || len(r.Pairs) == 0 {
		return false
	}
	return r.Ours.ServerCore-r.Ours.Server > tolerable || r.Peer.ServerCore-r.Peer.Server > tolerable
}

// summarise draws the result out of the pairs.
func summarise(row Row, pairs []Pair, took time.Duration, err error) Result {
	r := Result{Row: row, Pairs: pairs, Seconds: took.Seconds(), Verdict: Failed}
	if r.Pairs == nil {
		r.Pairs = []Pair{}
	}
	if len(pairs) > 0 {
		ratio := func(p Pair) float64 { return p.Ratio }
		r.Ours = medians(pairs, func(p Pair) Sample { return p.Ours })
		r.Peer = medians(pairs, func(p Pair) Sample { return p.Peer })
		r.Ratio = median(pairs, ratio)
		r.Lowest = ratio(slices.MinFunc(pairs, func(a, b Pair) int { return compare(a.Ratio, b.Ratio) }))
		r.Highest = ratio(slices.MaxFunc(pairs, func(a, b Pair) int { return compare(a.Ratio, b.Ratio) }))
	}
	switch {
	case err != nil:
		r.Error = err.Error()
	case len(pairs) == 0:
		r.Error = "nothing was measured"
	case row.Target == 0:
		r.Verdict = Information
	case r.Ratio <= row.Target:
		r.Verdict = Met
	default:
		r.Verdict = Missed
	}
	return r
}

func medians(pairs []Pair, side func(Pair) Sample) Sample {
	of := func(field func(Sample) float64) float64 {
		return median(pairs, func(p Pair) float64 { return field(side(p)) })
	}
	return Sample{
		Value:      of(func(s Sample) float64 { return s.Value }),
		Requests:   int64(of(func(s Sample) float64 { return float64(s.Requests) })),
		PerSecond:  of(func(s Sample) float64 { return s.PerSecond }),
		P50:        of(func(s Sample) float64 { return s.P50 }),
		P99:        of(func(s Sample) float64 { return s.P99 }),
		ServerCore: of(func(s Sample) float64 { return s.ServerCore }),
		LoadCore:   of(func(s Sample) float64 { return s.LoadCore }),
		Server:     of(func(s Sample) float64 { return s.Server }),
	}
}

// median is the middle of a value over the pairs, of which there are some; between the two in the middle when their number is even.
func median(pairs []Pair, of func(Pair) float64) float64 {
	values := make([]float64, len(pairs))
	for i, p := range pairs {
		values[i] = of(p)
	}
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 1 {
		return values[half]
	}
	return (values[half-1] + values[half]) / 2
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
