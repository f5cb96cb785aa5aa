package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_bgp_announced":              "Whether the prefix is announced: 1 or 0.",
	"nearcast_bgp_route_changes_total":    "Announcements (reason serving) and withdrawals (by what caused them) of the prefix.",
	"nearcast_bgp_hold_down_seconds":      "How long the routes are still held down after a withdrawal, 0 when they are not.",
	"nearcast_bgp_session_established":    "Whether the session with the neighbor is established: 1 or 0.",
	"nearcast_bgp_sessions_total":         "Sessions with the neighbor that were established.",
	"nearcast_bgp_session_failures_total": "Sessions that did not come up or were lost, by reason.",
	"nearcast_bgp_filtered_updates_total": "UPDATEs of the neighbor that were dropped unread.",
	"nearcast_bgp_advertised_prefixes":    "Prefixes that the neighbor has been sent and not withdrawn.",
}

// neighborMetrics are one neighbor's counters.
type neighborMetrics struct {
	sessions *metrics.Counter
	filtered *metrics.Counter
	failures [failNone]*metrics.Counter
}

func newNeighborMetrics(set *metrics.Set, n *neighbor) neighborMetrics {
	m := neighborMetrics{
		sessions: set.NewCounter(fmt.Sprintf(`nearcast_bgp_sessions_total{neighbor=%q}`, n.name)),
		filtered: set.NewCounter(fmt.Sprintf(`nearcast_bgp_filtered_updates_total{neighbor=%q}`, n.name)),
	}
	for f, name := range failureNames {
		m.failures[f] = set.NewCounter(fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor=%q,reason=%q}`, n.name, name))
	}
	set.NewGauge(fmt.Sprintf(`nearcast_bgp_session_established{neighbor=%q}`, n.name), func() float64 { up, _ := n.counts(); return up })
	set.NewGauge(fmt.Sprintf(`nearcast_bgp_advertised_prefixes{neighbor=%q}`, n.name), func() float64 { _, routes := n.counts(); return routes })
	return m
}

// prefixMetrics are one prefix's.
type prefixMetrics struct {
	announced *metrics.Gauge
	changes   [numReasons]*metrics.Counter
}

func newPrefixMetrics(set *metrics.Set, p netip.Prefix) prefixMetrics {
	m := prefixMetrics{announced: set.NewGauge(fmt.Sprintf(`nearcast_bgp_announced{prefix=%q}`, p), nil)}
	for r, name := range reasonNames {
		m.changes[r] = set.NewCounter(fmt.Sprintf(`nearcast_bgp_route_changes_total{prefix=%q,reason=%q}`, p, name))
	}
	return m
}

// holdDownGauge shows what is left of a hold-down.
func holdDownGauge(set *metrics.Set, until func() time.Time) {
	set.NewGauge("nearcast_bgp_hold_down_seconds", func() float64 {
		if t := until(); !t.IsZero() {
			return max(0, time.Until(t).Seconds())
		}
		return 0
	})
}
