package flood

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_quic_initials_total":          "Datagrams with an Initial or 0-RTT packet that begins a handshake, or goes on with one, by what became of them.",
	"nearcast_quic_retries_total":           "Clients that had to prove their address first (Retry).",
	"nearcast_quic_half_open":               "QUIC handshakes in progress.",
	"nearcast_quic_half_open_refused_total": "QUIC handshakes refused because as many were in progress as may be.",
	"nearcast_quic_flood_forgotten_total":   "Flights, handshakes and addresses that had to be forgotten before their time, for there was no room for more, by table.",
}

// counter is what is counted with.
type counter interface{ Inc() }

// Metrics count what a guard does.
type Metrics struct {
	set      *metrics.Set
	initials [verdicts]*metrics.Counter
	retries  *metrics.Counter
	full     *metrics.Counter

	forgotShed, forgotPassed, forgotKnown *metrics.Counter
}

// NewMetrics puts the metrics into set; nil: nowhere.
func NewMetrics(set *metrics.Set) *Metrics {
	if set == nil {
		set = metrics.NewSet()
	}
	forgotten := func(table string) *metrics.Counter {
		return set.GetOrCreateCounter(fmt.Sprintf("nearcast_quic_flood_forgotten_total{table=%q}", table))
	}
	m := &Metrics{set: set,
		retries:    set.GetOrCreateCounter("nearcast_quic_retries_total"),
		full:       set.GetOrCreateCounter("nearcast_quic_half_open_refused_total"),
		forgotShed: forgotten("shed"), forgotPassed: forgotten("passed"), forgotKnown: forgotten("known")}
	for v := range verdicts {
		m.initials[v] = set.GetOrCreateCounter(fmt.Sprintf("nearcast_quic_initials_total{result=%q}", v))
	}
	return m
}

// watch shows what a guard holds.
func (m *Metrics) watch(g *Guard) {
	m.set.GetOrCreateGauge("nearcast_quic_half_open", func() float64 { return float64(g.halfOpen.Load()) })
}
