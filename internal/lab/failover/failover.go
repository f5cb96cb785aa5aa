// Package failover says what measured events of the lab have shown: the samples of their runs, percentiles of them, and for each of an
// event's targets whether it was met.
package failover

import "nearcast/internal/lab/figure"

// Metric is something that is measured in a run. Not every event has every metric.
type Metric string

// The metrics. Requests on new connections and on kept ones are loads of their own, one for each protocol and family. Of times the slowest load's
// counts, of failures those of the worst protocol over both families, unless it says all.
const (
	Withdrawn     Metric = "withdrawn"       // event until the router sent packets another way, the later of both families
	Elsewhere     Metric = "elsewhere"       // event until the end of the first success of another region, new connections, the path's round trips taken off
	GapNew        Metric = "gap_new"         // longest time in which no answer to a new connection was completed
	GapKept       Metric = "gap_kept"        // the same on kept connections, on which only a QUIC client's patience ends the waiting
	Requests      Metric = "requests"        // all, new and kept
	FailedNew     Metric = "failed_new"      // sent after the event on new connections, and not in flight while the route moved
	FailedKept    Metric = "failed_kept"     // the same on kept connections, after the one repetition that browsers make
	InFlight      Metric = "failed_inflight" // failed, under way at the event or while the route moved; all loads
	Repeated      Metric = "repeated"        // succeeded on a new connection after a kept one had broken; all loads
	Moves         Metric = "route_moves"     // changes of the anycast routes in the routers' kernels
	Withdrawals   Metric = "withdrawals"     // by the edge's own decision, of the prefix that had the most
	Announcements Metric = "announcements"   // the same
	SessionBack   Metric = "session_back"    // from when the router was there until it had the session, the longest
	Stale         Metric = "stale"           // cached answers while there was no origin; all loads
	Unhelpful     Metric = "unhelpful"       // other answers than 503 with Retry-After where there was neither origin nor cache
	Recovered     Metric = "recovered"       // repair until every region answered from an origin again
	P99Before     Metric = "p99_before"      // latency before the event, all loads
	P99During     Metric = "p99_during"      // latency until the event was over
	P99Growth     Metric = "p99_growth"      // what the one is more than the other
	Received      Metric = "updates"         // UPDATEs that the edge counted
	RSSBefore     Metric = "rss_before"      // of the edge's process
	RSSGrowth     Metric = "rss_growth"      // from before the event until after it
)

// facts are what is to be known of a metric, in the order in which metrics are shown.
var facts = []struct {
	metric Metric
	title  string
	unit   figure.Unit
	column bool // of the table; others are named beside their value
}{
	{Withdrawn, "event→withdrawn", figure.Milliseconds, true},
	{Elsewhere, "event→elsewhere", figure.Milliseconds, true},
	{GapNew, "gap, new", figure.Milliseconds, true},
	{GapKept, "gap, kept", figure.Milliseconds, true},
	{FailedNew, "failed new", figure.Count, true},
	{FailedKept, "failed kept", figure.Count, true},
	{InFlight, "in flight", figure.Count, true},
	{Repeated, "repeated", figure.Count, false},
	{Requests, "requests", figure.Count, false},
	{Moves, "route moves", figure.Count, false},
	{Withdrawals, "withdrawals decided", figure.Count, false},
	{Announcements, "announcements decided", figure.Count, false},
	{SessionBack, "session back", figure.Milliseconds, false},
	{Stale, "served from the cache", figure.Count, false},
	{Unhelpful, "neither 503 nor served", figure.Count, false},
	{Recovered, "recovered", figure.Milliseconds, false},
	{P99Before, "p99 before", figure.Milliseconds, false},
	{P99During, "p99 during", figure.Milliseconds, false},
	{P99Growth, "p99 growth", figure.Milliseconds, false},
	{Received, "UPDATEs", figure.Count, false},
	{RSSBefore, "RSS before", figure.Mebibytes, false},
	{RSSGrowth, "RSS growth", figure.Mebibytes, false},
}

// Title is the metric in words.
func (m Metric) Title() string {
	if i := m.index(); i >= 0 {
		return facts[i].title
	}
	return string(m)
}

// Format writes a value of the metric with its unit.
func (m Metric) Format(v float64) string {
	if i := m.index(); i >= 0 {
		return facts[i].unit.Format(v)
	}
	return figure.Count.Format(v)
}

func (m Metric) index() int {
	for i, f := range facts {
		if f.metric == m {
			return i
		}
	}
	return -1
}

// Sample is what one run showed. What was not measured is not in it. Times are in milliseconds, sizes in MiB.
type Sample map[Metric]float64

// Event is something that happens to a region, and what must come of it.
type Event struct {
	Name    string
	Does    string // what is done
	Holds   string // what must hold, in words
	Targets []Target
}

// Target bounds a metric.
type Target struct {
	Metric  Metric
	AtMost  float64 // the 95th percentile
	AtLeast float64 // the least; instead of AtMost when it is not zero
	Timed   bool    // depends on how fast the machine is, so that it is for measurements only
}

// String is the target in words.
func (t Target) String() string { return t.bound().Words(t.Metric.Title(), t.Metric.Format) }

func (t Target) bound() figure.Bound { return figure.Bound{AtMost: t.AtMost, AtLeast: t.AtLeast} }

// Run is one time that an event was played.
type Run struct {
	Event, Region string
	Router        string // the daemon
	Sample        Sample
	Err           error // why there is no whole sample, or what must not have happened besides the targets
}

// Verdict is what became of a target in a region.
type Verdict struct {
	Target Target
	figure.Outcome
}

// String is the verdict with its figure.
func (v Verdict) String() string { return v.Words(v.Target.String(), v.Target.Metric.Format) }

// Judge says what the runs make of the target.
func (t Target) Judge(runs []Run) Verdict {
	return Verdict{t, t.bound().Judge(valuesOf(runs, t.Metric))}
}

func valuesOf(runs []Run, m Metric) []float64 {
	var values []float64
	for _, r := range runs {
		if v, ok := r.Sample[m]; ok {
			values = append(values, v)
		}
	}
	return values
}
