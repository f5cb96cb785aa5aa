package cache

import (
	"errors"
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache/coding"
)

// MetricHelp says what each of the package's metrics counts.
var MetricHelp = map[string]string{
	"nearcast_cache_bytes":                  "Bytes of the memory budget in use: bodies, fields, keys, index.",
	"nearcast_cache_limit_bytes":            "The memory budget.",
	"nearcast_cache_objects":                "Stored responses, each variant counted.",
	"nearcast_cache_fills":                  "Fetches under way that other requests may join.",
	"nearcast_cache_collapsed_total":        "Requests that joined another request's fetch.",
	"nearcast_cache_inserts_total":          "Responses stored.",
	"nearcast_cache_packed_objects":         "Of these, the small ones that are kept packed.",
	"nearcast_cache_unpacked_objects":       "Of the packed ones, those that were asked for lately and are unpacked as well.",
	"nearcast_cache_cells_bytes":            "Bytes of the memory of packed objects, free or not.",
	"nearcast_cache_arriving_bytes":         "Bytes that responses under way have taken.",
	"nearcast_cache_refused_total":          "Times that the memory budget had no room: everything that is left was being read, or arriving.",
	"nearcast_cache_evictions_total":        "Stored responses that made room for others, by their queue; variants: the oldest of too many of one key.",
	"nearcast_cache_invalidations_total":    "Stored responses removed by unsafe requests and purges.",
	"nearcast_cache_partials_total":         "Partial responses stored.",
	"nearcast_cache_partials_evicted_total": "Partial responses that made room for newer ones of their resource, of which so many are kept; they also count as evicted variants.",
	"nearcast_cache_combined_total":         "Partial responses that became one with another.",
	"nearcast_cache_slices_total":           "Slices of large responses that came from origins to be stored.",
	"nearcast_cache_hints":                  "Keys whose links are remembered for 103 Early Hints.",
	"nearcast_cache_hints_evicted_total":    "Keys whose links were forgotten since the table was full.",
	"nearcast_cache_hints_sent_total":       "Responses 103 made of remembered links.",
	"nearcast_cache_rejected_total":         "Responses not stored, by the reason.",

	"nearcast_cache_purges_total":             "Purges asked for, by what they name, and soft or hard.",
	"nearcast_cache_purges_pending":           "Purges that not everything stored has been compared with yet.",
	"nearcast_cache_purge_targets":            "Purges that are kept for comparison.",
	"nearcast_cache_purge_overflows_total":    "Times that purges had to be forgotten too early: everything stored before them counts as purged.",
	"nearcast_cache_purge_reclaimed_total":    "Stored responses removed when a purge was found to concern them.",
	"nearcast_cache_purge_softened_total":     "Stored responses that a soft purge made stale.",
	"nearcast_cache_overtagged_objects_total": "Responses stored with more or longer tags than are kept: a purge of any tag purges them.",

	"nearcast_cache_coded_total":             "Coded forms made of stored responses, by coding.",
	"nearcast_cache_coded_saved_bytes_total": "Bytes by which they are smaller, by coding.",
	"nearcast_cache_coded_given_up_total":    "Stored responses that are not coded after all, by the reason: no-gain, no-memory, failed.",
	"nearcast_cache_coding_queue_full_total": "Requests that would have had a coded form made and found the queue full.",
	"nearcast_cache_coding_queue":            "Coded forms that wait to be made.",
}

type counters struct {
	collapsed, inserts, invalidations *metrics.Counter
	partials, combined, slices        *metrics.Counter
	crowded                           *metrics.Counter
	refused, refusedViews             *metrics.Counter
	hintsEvicted, hintsSent           *metrics.Counter
	reclaimed, softened, overtagged   *metrics.Counter
	evictions                         [queueCount]*metrics.Counter // by queueNames
	rejected                          [reasonCount]*metrics.Counter

	coded, codedSaved                       [coding.Count]*metrics.Counter // nil for what is never made
	codingNoGain, codingNoRoom, codingError *metrics.Counter
	codingFull                              *metrics.Counter
}

func newCounters(c *Cache, set *metrics.Set) *counters {
	if set == nil {
		set = metrics.NewSet()
	}
	set.NewGauge("nearcast_cache_bytes", func() float64 { return float64(c.budget.used.Load()) })
	set.NewGauge("nearcast_cache_limit_bytes", func() float64 { return float64(c.budget.limit) })
	set.NewGauge("nearcast_cache_objects", func() float64 { return float64(c.objects.Load()) })
	set.NewGauge("nearcast_cache_packed_objects", func() float64 { return float64(c.packed.Load()) })
	set.NewGauge("nearcast_cache_unpacked_objects", func() float64 { return float64(c.views.Load()) })
	set.NewGauge("nearcast_cache_cells_bytes", func() float64 { return float64(c.cells.held()) })
	set.NewGauge("nearcast_cache_arriving_bytes", func() float64 { return float64(c.arriving.Load()) })
	set.NewGauge("nearcast_cache_fills", func() float64 { return float64(c.fills.Load()) })
	set.NewGauge("nearcast_cache_hints", func() float64 { return float64(c.hints.count()) })
	m := &counters{
		collapsed:     set.NewCounter("nearcast_cache_collapsed_total"),
		inserts:       set.NewCounter("nearcast_cache_inserts_total"),
		hintsEvicted:  set.NewCounter("nearcast_cache_hints_evicted_total"),
		hintsSent:     set.NewCounter("nearcast_cache_hints_sent_total"),
		invalidations: set.NewCounter("nearcast_cache_invalidations_total"),
		slices:        set.NewCounter("nearcast_cache_slices_total"),
		partials:      set.NewCounter("nearcast_cache_partials_total"),
		crowded:       set.NewCounter("nearcast_cache_partials_evicted_total"),
		combined:      set.NewCounter("nearcast_cache_combined_total"),
		refused:       set.NewCounter(`nearcast_cache_refused_total{for="objects"}`),
		reclaimed:     set.NewCounter("nearcast_cache_purge_reclaimed_total"),
		softened:      set.NewCounter("nearcast_cache_purge_softened_total"),
		overtagged:    set.NewCounter("nearcast_cache_overtagged_objects_total"),
		refusedViews:  set.NewCounter(`nearcast_cache_refused_total{for="unpacked"}`),
	}
	for i, name := range queueNames {
		m.evictions[i] = set.NewCounter(fmt.Sprintf("nearcast_cache_evictions_total{queue=%q}", name))
	}
	c.purges.count(set)
	for r := ReasonStored + 1; r < ReasonOtherVariant; r++ {
		m.rejected[r] = set.NewCounter(fmt.Sprintf("nearcast_cache_rejected_total{reason=%q}", r.String()))
	}
	for _, r := range [...]Reason{ReasonMethod, ReasonRequestNoStore} {
		m.rejected[r] = set.NewCounter(fmt.Sprintf("nearcast_cache_rejected_total{reason=%q}", r.String()))
	}
	set.NewGauge("nearcast_cache_coding_queue", func() float64 { return float64(c.coder.waits.Load()) })
	m.codingFull = set.NewCounter("nearcast_cache_coding_queue_full_total")
	m.codingNoGain = set.NewCounter(`nearcast_cache_coded_given_up_total{reason="no-gain"}`)
	m.codingNoRoom = set.NewCounter(`nearcast_cache_coded_given_up_total{reason="no-memory"}`)
	m.codingError = set.NewCounter(`nearcast_cache_coded_given_up_total{reason="failed"}`)
	for _, x := range [...]coding.Coding{coding.Gzip, coding.Brotli, coding.Zstd} {
		m.coded[x] = set.NewCounter(fmt.Sprintf("nearcast_cache_coded_total{coding=%q}", x))
		m.codedSaved[x] = set.NewCounter(fmt.Sprintf("nearcast_cache_coded_saved_bytes_total{coding=%q}", x))
	}
	return m
}

// codingGaveUp counts a form that could not be made.
func (m *counters) codingGaveUp(err error) {
	switch {
	case errors.Is(err, errNoGain):
		m.codingNoGain.Inc()
	case errors.Is(err, errNoRoom):
		m.codingNoRoom.Inc()
	default:
		m.codingError.Inc()
	}
}

func (m *counters) reject(r Reason) {
	if m.rejected[r] != nil {
		m.rejected[r].Inc()
	}
}
