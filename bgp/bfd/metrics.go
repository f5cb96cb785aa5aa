package bfd

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_bfd_up":                            "Whether the BFD session with the neighbor is up: 1 or 0.",
	"nearcast_bfd_heard":                         "Whether BFD packets come from the neighbor: 1 or 0. Without any the BGP session is not held back.",
	"nearcast_bfd_transitions_total":             "Changes of the BFD session's state, by the new state.",
	"nearcast_bfd_failures_total":                "BFD sessions that were up and got lost. What either side shuts on purpose is none.",
	"nearcast_bfd_received_packets_total":        "BFD packets of the neighbor.",
	"nearcast_bfd_sent_packets_total":            "BFD packets sent to the neighbor.",
	"nearcast_bfd_send_errors_total":             "BFD packets that the system did not take for sending.",
	"nearcast_bfd_dropped_packets_total":         "BFD packets of the neighbor that were discarded, by reason.",
	"nearcast_bfd_detection_seconds":             "How long the neighbor may be silent until the BFD session is down, 0 when nobody has been heard.",
	"nearcast_bfd_transmit_lateness_seconds":     "How much later than planned BFD packets went out.",
	"nearcast_bfd_transmit_lateness_max_seconds": "The latest that a BFD packet went out since the process began.",
	"nearcast_bfd_unknown_packets_total":         "BFD packets that were of no neighbor.",
	"nearcast_bfd_receive_pauses_total":          "Short pauses in receiving because more BFD packets came than all sessions together can have.",
	"nearcast_bfd_unlogged_events_total":         "Changes of BFD sessions that were not logged because there were too many.",
	"nearcast_bfd_held":                          "Whether the BFD sessions are held down because this edge does not serve: 1 or 0.",
	"nearcast_bfd_thread_priority":               "Which priority the thread of the BFD sessions has: 1 for that policy.",
}

// latenessBounds are the upper bounds of the histogram's buckets.
var latenessBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// lateness is a histogram without a lock: whoever reads it, however slow, does not keep the thread waiting.
type lateness struct {
	buckets [len(latenessBounds) + 1]atomic.Uint64
	sum     atomic.Int64 // nanoseconds
	most    atomic.Int64 // nanoseconds; one writer
}

func (l *lateness) add(d time.Duration) {
	d = max(d, 0)
	i := 0
	for i < len(latenessBounds) && d > latenessBounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.sum.Add(int64(d))
	if int64(d) > l.most.Load() {
		l.most.Store(int64(d))
	}
}

// write is the Prometheus text form.
func (l *lateness) write(w io.Writer, neighbor string) {
	const name = "nearcast_bfd_transmit_lateness_seconds"
	total := uint64(0)
	for i, bound := range latenessBounds {
		total += l.buckets[i].Load()
		fmt.Fprintf(w, "%s_bucket{neighbor=%q,le=\"%g\"} %d\n", name, neighbor, bound.Seconds(), total)
	}
	total += l.buckets[len(latenessBounds)].Load()
	fmt.Fprintf(w, "%s_bucket{neighbor=%q,le=\"+Inf\"} %d\n", name, neighbor, total)
	fmt.Fprintf(w, "%s_sum{neighbor=%q} %g\n", name, neighbor, time.Duration(l.sum.Load()).Seconds())
	fmt.Fprintf(w, "%s_count{neighbor=%q} %d\n", name, neighbor, total)
}

func newSessionMetrics(set *metrics.Set, s *Session) {
	m, n := &s.metrics, s.peer.Name
	m.in = set.NewCounter(fmt.Sprintf(`nearcast_bfd_received_packets_total{neighbor=%q}`, n))
	m.out = set.NewCounter(fmt.Sprintf(`nearcast_bfd_sent_packets_total{neighbor=%q}`, n))
	m.sendErrors = set.NewCounter(fmt.Sprintf(`nearcast_bfd_send_errors_total{neighbor=%q}`, n))
	m.failures = set.NewCounter(fmt.Sprintf(`nearcast_bfd_failures_total{neighbor=%q}`, n))
	for d := kept + 1; d < numDrops; d++ {
		m.dropped[d] = set.NewCounter(fmt.Sprintf(`nearcast_bfd_dropped_packets_total{neighbor=%q,reason=%q}`, n, dropNames[d]))
	}
	for st, name := range stateNames {
		m.transitions[st] = set.NewCounter(fmt.Sprintf(`nearcast_bfd_transitions_total{neighbor=%q,state=%q}`, n, name))
	}
	gauge := func(name string, f func(v *view) float64) {
		set.NewGauge(fmt.Sprintf(`nearcast_bfd_%s{neighbor=%q}`, name, n), func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return f(&s.view)
		})
	}
	gauge("up", func(v *view) float64 { return oneIf(v.state == Up) })
	gauge("heard", func(v *view) float64 { return oneIf(v.heard) })
	gauge("detection_seconds", func(v *view) float64 { return v.detection.Seconds() })
	set.NewGauge(fmt.Sprintf(`nearcast_bfd_transmit_lateness_max_seconds{neighbor=%q}`, n), func() float64 {
		return time.Duration(m.late.most.Load()).Seconds()
	})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
