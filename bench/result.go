package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Record is one request.
type Record struct {
	Start   time.Time     // when it was meant to start
	Latency time.Duration // from Start to its end, whichever way it ended
	Class   Class
	Status  int    // 0 without a response
	Edge    string // common name of the server's certificate, "" without TLS or a connection
	Field   string // value of Options.ResponseField
	Bytes   int64  // of the body
	Retried bool   // repeated by Options.Retry
	// Lag is how late the request was begun, from Start. When it is long, the machine that makes the load was too slow.
	Lag time.Duration
}

// Sent is when the request was really begun.
func (r Record) Sent() time.Time { return r.Start.Add(r.Lag) }

// End is when the request ended.
func (r Record) End() time.Time { return r.Start.Add(r.Latency) }

// Result is what became of a run. It is complete when Run returns it and doesn't change.
type Result struct {
	Start    time.Time     // of the first request
	Elapsed  time.Duration // until the last request ended
	Records  []Record      // by Start
	OK       int
	Failed   int
	Failures map[Class]int    // Failed by class
	Examples map[Class]string // the text of the first error of each class
	Edges    map[string]int   // OK by Record.Edge
	Retried  int              // requests that Options.Retry repeated
	Dialled  int64            // connections opened or tried

	// Latency holds the successes' latencies in microseconds, up to a minute, with three significant digits.
	Latency *hdrhistogram.Histogram
	// Gap is the longest time between the starts of two successive successes. The first and the last arrival count as
	// successes here, so that an outage at either end of the run is a gap too.
	Gap time.Duration

	protocol  Protocol
	keepAlive bool
}

func newResult(p *plan, start time.Time, records []Record, dialled int64, examples map[Class]string) *Result {
	r := &Result{Start: start, Elapsed: time.Since(start), Records: records, Dialled: dialled, Examples: examples,
		Failures: make(map[Class]int), Edges: make(map[string]int),
		Latency:  hdrhistogram.New(1, time.Minute.Microseconds(), 3),
		protocol: p.Protocol, keepAlive: p.KeepAlive}
	for _, rec := range records {
		if rec.Retried {
			r.Retried++
		}
		if rec.Class != OK {
			r.Failed++
			r.Failures[rec.Class]++
			continue
		}
		r.OK++
		r.Edges[rec.Edge]++
		r.Latency.RecordValue(min(max(1, rec.Latency.Microseconds()), time.Minute.Microseconds()))
	}
	r.Gap = gap(records)
	return r
}

// gap is the longest distance between successive successes in records, which are ordered by Start.
func gap(records []Record) (longest time.Duration) {
	for i, last := 0, 0; i < len(records); i++ {
		if records[i].Class == OK || i == len(records)-1 {
			longest = max(longest, records[i].Start.Sub(records[last].Start))
			last = i
		}
	}
	return longest
}

// Percentile is a latency that q percent of the successes did not exceed.
func (r *Result) Percentile(q float64) time.Duration {
	return time.Duration(r.Latency.ValueAtPercentile(q)) * time.Microsecond
}

// FirstByAnother is the first success that started at or after t and that an edge other than the given one answered: how
// long after an event clients were served from elsewhere.
func (r *Result) FirstByAnother(edge string, t time.Time) (Record, bool) {
	for _, rec := range r.Records {
		if rec.Class == OK && rec.Edge != edge && !rec.Start.Before(t) {
			return rec, true
		}
	}
	return Record{}, false
}

// Since is the result of the requests that started at or after t alone. Elapsed, Dialled and Examples stay the run's.
func (r *Result) Since(t time.Time) *Result {
	i := 0
	for i < len(r.Records) && r.Records[i].Start.Before(t) {
		i++
	}
	s := newResult(&plan{Options: Options{Protocol: r.protocol, KeepAlive: r.keepAlive}}, r.Start, r.Records[i:], r.Dialled, r.Examples)
	s.Elapsed = r.Elapsed
	return s
}

// String is one line for a terminal or a test's message.
func (r *Result) String() string {
	var b strings.Builder
	mode := "new connections"
	if r.keepAlive {
		mode = "kept alive"
	}
	fmt.Fprintf(&b, "%s %s: %d requests, %d failed", r.protocol, mode, len(r.Records), r.Failed)
	sep := " ("
	for c := range numClasses {
		if n := r.Failures[c]; n > 0 {
			fmt.Fprintf(&b, "%s%s %d", sep, c, n)
			sep = ", "
		}
	}
	if sep != " (" {
		b.WriteByte(')')
	}
	fmt.Fprintf(&b, ", %d retried, gap %v, p50 %v, p99 %v", r.Retried, r.Gap.Round(time.Millisecond),
		r.Percentile(50).Round(10*time.Microsecond), r.Percentile(99).Round(10*time.Microsecond))
	return b.String()
}
