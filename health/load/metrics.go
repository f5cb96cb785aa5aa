package load

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric of this package is.
var MetricHelp = map[string]string{
	"nearcast_load_level":        "How hard pressed the edge is: 0 ok, 1 high, 2 critical.",
	"nearcast_load_signal_value": "The latest value of each sign of load: a share of what there is, or seconds for scheduling_latency.",
	"nearcast_load_signal_level": "The level of each sign of load: -1 unknown, 0 ok, 1 high, 2 critical.",
}

// expose registers gauges that read the snapshot.
func expose(set *metrics.Set, m *Monitor) {
	set.GetOrCreateGauge("nearcast_load_level", func() float64 { return number(m.Snapshot().Level) })
	for i, s := range m.signals {
		set.GetOrCreateGauge(fmt.Sprintf("nearcast_load_signal_value{signal=%q}", s.name), func() float64 { return m.Snapshot().Signals[i].Value })
		set.GetOrCreateGauge(fmt.Sprintf("nearcast_load_signal_level{signal=%q}", s.name), func() float64 { return number(m.Snapshot().Signals[i].Level) })
	}
}

// number is a level in metrics.
func number(l Level) float64 { return float64(l) - float64(OK) }
