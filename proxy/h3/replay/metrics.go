package replay

import (
	"fmt"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric of this package counts.
var MetricHelp = map[string]string{
	"nearcast_early_data_connections_total": "QUIC connections that brought early data, by what became of it: accepted was acted on at once; used (the ticket was used here before: a replay, or a client that uses it twice), old (older than tls.early_data_max_age or than this process) and full (no more tickets can be noted) waited for the handshake.",
	"nearcast_early_data_tickets":           "Tickets that are remembered since early data came with them.",
}

func (r *Register) register(set *metrics.Set) {
	for v := range verdicts {
		r.counts[v] = set.GetOrCreateCounter(fmt.Sprintf(`nearcast_early_data_connections_total{result=%q}`, v))
	}
	set.GetOrCreateGauge("nearcast_early_data_tickets", func() float64 { return float64(r.size()) })
}
