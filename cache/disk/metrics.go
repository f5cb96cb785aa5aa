package disk

import (
	"fmt"
	"math"

	"github.com/VictoriaMetrics/metrics"
)

// MetricHelp says what each of the package's metrics counts.
var MetricHelp = map[string]string{
	"nearcast_cache_disk_state":                "1 for the state that the disk cache is in: loading, ready, degraded or closed.",
	"nearcast_cache_disk_bytes":                "Bytes on disk, the active segment at its full size.",
	"nearcast_cache_disk_limit_bytes":          "The disk budget.",
	"nearcast_cache_disk_objects":              "Records that can be read, parts of large bodies counted each.",
	"nearcast_cache_disk_index_bytes":          "Memory that the index of the disk cache takes.",
	"nearcast_cache_disk_index_limit_bytes":    "The most that it may take: with more objects the oldest go.",
	"nearcast_cache_disk_queue_bytes":          "Bytes that wait to be written.",
	"nearcast_cache_disk_stored_total":         "Objects written.",
	"nearcast_cache_disk_written_bytes_total":  "Bytes written for new objects and deletions.",
	"nearcast_cache_disk_moved_bytes_total":    "Bytes written anew because their segment went while they were in use.",
	"nearcast_cache_disk_dropped_total":        "Objects not written, because too much waited or the disk failed.",
	"nearcast_cache_disk_evicted_total":        "Records that went with their segment.",
	"nearcast_cache_disk_swept_total":          "Records deleted because a purge concerned them, and nobody had asked for them since.",
	"nearcast_cache_disk_reads_total":          "Objects found and read.",
	"nearcast_cache_disk_busy_total":           "Reads given up, because too many others were under way.",
	"nearcast_cache_disk_slow_total":           "Reads given up after two seconds, or ten in the middle of a body.",
	"nearcast_cache_disk_overdue":              "Of these, the ones that have still not ended. Until they have, nothing else is read from disk.",
	"nearcast_cache_disk_read_errors_total":    "Records that could not be read or did not pass their checksum.",
	"nearcast_cache_disk_write_failures_total": "Times that the disk could not be written.",
	"nearcast_cache_disk_deletions_waiting":    "Deletions that wait to be written.",
	"nearcast_cache_disk_streams":              "Large bodies that are written as they come.",
	"nearcast_cache_disk_events":               "Events that are kept.",
}

type meters struct {
	stored, written, moved, dropped, evicted, swept, reads, busy, slow, readErrors, failures *metrics.Counter
}

func newMeters(s *Store, set *metrics.Set) *meters {
	if set == nil {
		set = metrics.NewSet()
	}
	const p = "nearcast_cache_disk_"
	for st := Loading; st <= Closed; st++ {
		set.NewGauge(fmt.Sprintf(p+"state{state=%q}", st.String()), func() float64 {
			if s.State() == st {
				return 1
			}
			return 0
		})
	}
	gauge := func(name string, f func() int64) { set.NewGauge(p+name, func() float64 { return float64(f()) }) }
	gauge("bytes", s.Used)
	gauge("limit_bytes", func() int64 { return s.limit })
	gauge("objects", func() int64 { n, _ := s.index.size(); return int64(n) })
	gauge("index_bytes", func() int64 { _, n := s.index.size(); return n })
	gauge("index_limit_bytes", func() int64 { return int64(min(s.maxRecords, math.MaxInt/indexCost)) * indexCost })
	gauge("queue_bytes", func() int64 { s.queue.mu.Lock(); defer s.queue.mu.Unlock(); return s.queue.bytes })
	gauge("deletions_waiting", func() int64 { s.queue.mu.Lock(); defer s.queue.mu.Unlock(); return int64(s.queue.deletes) })
	gauge("overdue", s.overdue.Load)
	gauge("streams", s.streams.Load)
	gauge("events", s.events.count.Load)
	counter := func(name string) *metrics.Counter { return set.NewCounter(p + name) }
	return &meters{
		stored: counter("stored_total"), written: counter("written_bytes_total"), moved: counter("moved_bytes_total"),
		dropped: counter("dropped_total"), evicted: counter("evicted_total"), swept: counter("swept_total"), reads: counter("reads_total"), busy: counter("busy_total"), slow: counter("slow_total"),
		readErrors: counter("read_errors_total"), failures: counter("write_failures_total"),
	}
}

// Used is the bytes on disk, the active segment at its full size.
func (s *Store) Used() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.used
}

// Limit is the budget.
func (s *Store) Limit() int64 { return s.limit }

// Len is the number of records that can be read, parts of large bodies counted each.
func (s *Store) Len() int { n, _ := s.index.size(); return n }
