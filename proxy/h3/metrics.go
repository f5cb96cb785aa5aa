package h3

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric of this package counts.
var MetricHelp = map[string]string{
	"nearcast_quic_datagrams_misdirected_total": "Datagrams that came in by another socket than that of their connection, and were handed on within the process.",
	"nearcast_quic_datagrams_dropped_total":     "Datagrams that were dropped before QUIC saw them, by reason.",
	"nearcast_quic_sockets":                     "UDP sockets that serve HTTP/3.",
	"nearcast_quic_generations":                 "QUIC transports that are open: each socket has one for each day of which connection IDs are still read, since the start.",
}

// Reasons of dropped datagrams.
const (
	droppedFull    = "queue"   // as many as may be wait for their transport
	droppedUnknown = "unknown" // for a connection ID that no edge has given out
	droppedStray   = "stray"   // another edge sent it on to us, and it is not ours
)

// counters are those of a server.
type counters struct {
	misdirected          *metrics.Counter
	full, unknown, stray *metrics.Counter
}

func newCounters(set *metrics.Set, listener string) counters {
	if set == nil {
		set = metrics.NewSet()
	}
	dropped := func(reason string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("nearcast_quic_datagrams_dropped_total{listener=%q,reason=%q}", listener, reason))
	}
	return counters{
		misdirected: set.GetOrCreateCounter(fmt.Sprintf("nearcast_quic_datagrams_misdirected_total{listener=%q}", listener)),
		full:        dropped(droppedFull),
		unknown:     dropped(droppedUnknown),
		stray:       dropped(droppedStray),
	}
}

// gauge shows what there is.
func (s *Server) gauge(set *metrics.Set) {
	if set == nil {
		return
	}
	set.GetOrCreateGauge(fmt.Sprintf("nearcast_quic_sockets{listener=%q}", s.cfg.Name), func() float64 { return float64(len(s.sockets)) })
	set.GetOrCreateGauge(fmt.Sprintf("nearcast_quic_generations{listener=%q}", s.cfg.Name), func() float64 {
		n := 0
		for range s.generations {
			n++
		}
		return float64(n)
	})
}
