package cache

import (
	"errors"
	"fmt"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache/coding"
)

// MetricHelp says what each of the package's metrics counts.
var MetricHelp = map[string]string{
	"nearcast_cache_bytes":               "Bytes of the memory budget in use: bodies, fields, keys, index.",
	"nearcast_cache_limit_bytes":         "The memory budget.",
	"nearcast_cache_objects":             "Stored responses, each variant counted.",
	"nearcast_cache_fills":               "Fetches under way that other requests may join.",
	"nearcast_cache_collapsed_total":     "Requests that joined another request's fetch.",
	"nearcast_cache_inserts_total":       "Responses stored.",
	"nearcast_cache_evictions_total":     "Stored responses that made room for others.",
	"nearcast_cache_invalidations_total": "Stored responses removed by unsafe requests and purges.",
	"nearcast_cache_rejected_total":      "Responses not stored, by the reason.",

	"nearcast_cache_coded_total":             "Coded forms made of stored responses, by coding.",
	"nearcast_cache_coded_saved_bytes_total": "Bytes by which they are smaller, by coding.",
	"nearcast_cache_coded_given_up_total":    "Stored responses that are not coded after all, by the reason: no-gain, no-memory, failed.",
	"nearcast_cache_coding_queue_full_total": "Requests that would have had a coded form made and found the queue full.",
	"nearcast_cache_coding_queue":            "Coded forms that wait to be made.",
}

type counters struct {
	collapsed, inserts, evictions, invalidations *metrics.Counter
	rejected                                     [reasonCount]*metrics.Counter

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
	set.NewGauge("nearcast_cache_fills", func() float64 { return float64(c.fills.Load()) })
	m := &counters{
		collapsed:     set.NewCounter("nearcast_cache_collapsed_total"),
		inserts:       set.NewCounter("nearcast_cache_inserts_total"),
		evictions:     set.NewCounter("nearcast_cache_evictions_total"),
		invalidations: set.NewCounter("nearcast_cache_invalidations_total"),
	}
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
