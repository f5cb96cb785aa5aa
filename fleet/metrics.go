package fleet

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_fleet_peers":                    "Addresses of the other edges, by what is known of them.",
	"nearcast_fleet_answers_total":            "Questions to the address, by how they ended.",
	"nearcast_fleet_rtt_seconds":              "Time from the latest question that was answered to its answer; 0 while the address is not heard.",
	"nearcast_fleet_last_heard_seconds":       "Time since the latest valid answer; before the first, since the start.",
	"nearcast_fleet_other_edge_total":         "Answers from another edge than the one that answered at the address before.",
	"nearcast_fleet_questions_answered_total": "Questions of other edges that were answered.",
	"nearcast_fleet_questions_refused_total":  "Connections and questions that were refused, by reason.",
	"nearcast_fleet_secret_reloads_total":     "Times the changed secret was read again, by result.",
	"nearcast_fleet_secret_restart_needed":    "1 while QUIC connection IDs are made with a secret that is not the first of the file any more: restart the edge before that line is removed.",
	"nearcast_fleet_standstills_total":        "Times this process stood still for so long that what it knew of the others was out of date.",
}

// serverMetrics count what the others ask.
type serverMetrics struct {
	answered *metrics.Counter
	refused  [numRefusals]*metrics.Counter
}

func newServerMetrics(set *metrics.Set) *serverMetrics {
	m := &serverMetrics{answered: set.NewCounter("nearcast_fleet_questions_answered_total")}
	for r, name := range refusalNames {
		m.refused[r] = set.NewCounter(fmt.Sprintf(`nearcast_fleet_questions_refused_total{reason=%q}`, name))
	}
	return m
}

// peerMetrics are those of one address.
type peerMetrics struct {
	outcomes  [outcomeCount]*metrics.Counter
	otherEdge *metrics.Counter
}

func newPeerMetrics(set *metrics.Set, t Target, get func() *Peer) *peerMetrics {
	where := fmt.Sprintf(`region=%q,address=%q`, t.Region, t.Address)
	m := &peerMetrics{otherEdge: set.NewCounter("nearcast_fleet_other_edge_total{" + where + "}")}
	for o := OutcomeAnswered; o < outcomeCount; o++ {
		m.outcomes[o] = set.NewCounter(fmt.Sprintf(`nearcast_fleet_answers_total{%s,result=%q}`, where, o))
	}
	set.NewGauge("nearcast_fleet_rtt_seconds{"+where+"}", func() float64 {
		if p := get(); p.State == Heard {
			return p.RTT.Seconds()
		}
		return 0
	})
	start := time.Now()
	set.NewGauge("nearcast_fleet_last_heard_seconds{"+where+"}", func() float64 {
		if p := get(); !p.HeardAt.IsZero() {
			return time.Since(p.HeardAt).Seconds()
		}
		return time.Since(start).Seconds()
	})
	return m
}

// countStates makes the gauges of how many addresses are in each state.
func countStates(set *metrics.Set, view *atomic.Pointer[View]) {
	for s := range stateCount {
		set.NewGauge(fmt.Sprintf(`nearcast_fleet_peers{state=%q}`, s), func() float64 {
			n := 0
			for _, p := range view.Load().Peers {
				if p.State == s {
					n++
				}
			}
			return float64(n)
		})
	}
}
