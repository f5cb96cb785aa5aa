package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each metric is.
var MetricHelp = map[string]string{
	"nearcast_bgp_announced":                 "Whether the prefix is announced: 1 or 0.",
	"nearcast_bgp_level":                     "How the prefix is announced: 3 full, 2 degraded, 1 draining, 0 withdrawn.",
	"nearcast_bgp_reason":                    "1 for the reason that the prefix is announced as it is, 0 for all others.",
	"nearcast_bgp_level_changes_total":       "Changes of how the prefix is announced, by what it came to.",
	"nearcast_bgp_flaps":                     "Falls of the prefix that are not forgiven yet.",
	"nearcast_bgp_frozen":                    "Whether the prefix fell too often, and comes back only by an operator's order: 1 or 0.",
	"nearcast_bgp_last_region":               "Whether the prefix is held though something is wrong, because no other region is known to do better: 1 or 0.",
	"nearcast_bgp_stalls_total":              "Times that the watchdog found a part of the process that had not moved.",
	"nearcast_bgp_state_file_failures_total": "Times that the state file could not be read or written: a restart forgets orders and hold-downs.",
	"nearcast_bgp_route_changes_total":       "Announcements and withdrawals of the prefix, by their reason.",
	"nearcast_bgp_hold_down_seconds":         "How long the routes are still held down after a withdrawal, 0 when they are not.",
	"nearcast_bgp_session_established":       "Whether the session with the neighbor is established: 1 or 0.",
	"nearcast_bgp_sessions_total":            "Sessions with the neighbor that were established.",
	"nearcast_bgp_session_failures_total":    "Sessions that did not come up or were lost, by reason.",
	"nearcast_bgp_filtered_updates_total":    "UPDATEs of the neighbor that were dropped.",
	"nearcast_bgp_advertised_prefixes":       "Prefixes that the neighbor has been sent and not withdrawn.",

	"nearcast_bgp_view_paths":                   "Paths to the prefix that the neighbor tells of, this edge's own among them where it tells of that.",
	"nearcast_bgp_view_complete":                "Whether the neighbor has told all that it has of the prefixes that are watched: 1 or 0.",
	"nearcast_bgp_view_malformed_updates_total": "UPDATEs of the neighbor that could not be read, or not the path to a watched prefix in them.",
	"nearcast_bgp_view_overflow_paths_total":    "Paths to watched prefixes that were not kept, since the neighbor tells of more than 64 of one prefix.",
	"nearcast_bgp_beacon_seen":                  "Whether a router shows the beacon of the region, and does not say that it is about to be withdrawn: 1 or 0.",
	"nearcast_bgp_mismatches":                   "Prefixes that the neighbor has otherwise than it should for more than 2 s, by kind.",
	"nearcast_bgp_mismatch_seconds_total":       "Seconds in which there were such prefixes, by kind.",
}

// neighborMetrics are one neighbor's counters.
type neighborMetrics struct {
	sessions *metrics.Counter
	filtered *metrics.Counter
	failures [failNone]*metrics.Counter

	mismatches   [numMismatches]*metrics.Gauge
	mismatchTime [numMismatches]*metrics.FloatCounter
}

func newNeighborMetrics(set *metrics.Set, n *neighbor) neighborMetrics {
	m := neighborMetrics{
		sessions: set.NewCounter(fmt.Sprintf(`nearcast_bgp_sessions_total{neighbor=%q}`, n.name)),
		filtered: set.NewCounter(fmt.Sprintf(`nearcast_bgp_filtered_updates_total{neighbor=%q}`, n.name)),
	}
	for f, name := range failureNames {
		m.failures[f] = set.NewCounter(fmt.Sprintf(`nearcast_bgp_session_failures_total{neighbor=%q,reason=%q}`, n.name, name))
	}
	for k, name := range mismatchNames {
		m.mismatches[k] = set.NewGauge(fmt.Sprintf(`nearcast_bgp_mismatches{neighbor=%q,kind=%q}`, n.name, name), nil)
		m.mismatchTime[k] = set.NewFloatCounter(fmt.Sprintf(`nearcast_bgp_mismatch_seconds_total{neighbor=%q,kind=%q}`, n.name, name))
	}
	set.NewGauge(fmt.Sprintf(`nearcast_bgp_session_established{neighbor=%q}`, n.name), func() float64 { up, _ := n.counts(); return up })
	set.NewGauge(fmt.Sprintf(`nearcast_bgp_advertised_prefixes{neighbor=%q}`, n.name), func() float64 { _, routes := n.counts(); return routes })
	return m
}

// prefixMetrics are one prefix's.
type prefixMetrics struct {
	announced, level, flaps, frozen, island *metrics.Gauge
	changes                                 [numReasons]*metrics.Counter
	levels                                  [numLevels]*metrics.Counter
	reason                                  [numReasons]*metrics.Gauge
}

func newPrefixMetrics(set *metrics.Set, p netip.Prefix) prefixMetrics {
	gauge := func(name string) *metrics.Gauge { return set.NewGauge(fmt.Sprintf(`%s{prefix=%q}`, name, p), nil) }
	m := prefixMetrics{announced: gauge("nearcast_bgp_announced"), level: gauge("nearcast_bgp_level"), flaps: gauge("nearcast_bgp_flaps"),
		frozen: gauge("nearcast_bgp_frozen"), island: gauge("nearcast_bgp_last_region")}
	for r, name := range reasonNames {
		m.changes[r] = set.NewCounter(fmt.Sprintf(`nearcast_bgp_route_changes_total{prefix=%q,reason=%q}`, p, name))
		m.reason[r] = set.NewGauge(fmt.Sprintf(`nearcast_bgp_reason{prefix=%q,reason=%q}`, p, name), nil)
	}
	for l, name := range levelNames {
		m.levels[l] = set.NewCounter(fmt.Sprintf(`nearcast_bgp_level_changes_total{prefix=%q,level=%q}`, p, name))
	}
	return m
}

// now shows a decision.
func (m *prefixMetrics) now(d Decision, flaps int) {
	truth := map[bool]float64{true: 1}
	m.announced.Set(truth[d.Announced()])
	m.level.Set(float64(d.Level))
	m.flaps.Set(float64(flaps))
	m.frozen.Set(truth[d.Frozen])
	m.island.Set(truth[d.Island])
	for r := range m.reason {
		m.reason[r].Set(truth[Reason(r) == d.Reason])
	}
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
