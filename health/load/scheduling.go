package load

import (
	"fmt"
	"math"
	"runtime/metrics"
	"time"
)

// scheduling reads how long goroutines wait for a processor (runtime/metrics).
type scheduling struct {
	read   func() *metrics.Float64Histogram // nil: not known
	before []uint64
}

// minWaits is how many waits make a percentile: a few odd ones of a process that has nothing to do are no load.
const minWaits = 100

// quantile is the part of the waits that the value is not exceeded by.
const quantile = 0.99

// Sample implements Source. The first one is where the next counts from.
func (s *scheduling) Sample(time.Time) (Reading, error) {
	h := s.read()
	if h == nil {
		return Reading{}, malformed("the runtime's histogram")
	}
	first := len(s.before) != len(h.Counts)
	if first {
		s.before = make([]uint64, len(h.Counts))
	}
	waits := make([]uint64, len(h.Counts))
	for i, n := range h.Counts {
		waits[i] = n - min(n, s.before[i])
		s.before[i] = n
	}
	if first {
		return Reading{}, errFirst
	}
	v, n := percentile(waits, h.Buckets)
	return Reading{Value: v, Detail: fmt.Sprintf("of %d waits", n)}, nil
}

// percentile is the upper bound of the bucket that the quantile is in, and how many there are in all; 0 of fewer than minWaits. It is pure.
func percentile(counts []uint64, buckets []float64) (v float64, total uint64) {
	for _, n := range counts {
		total += n
	}
	if total < minWaits || len(buckets) != len(counts)+1 {
		return 0, total
	}
	rank, sum := uint64(math.Ceil(quantile*float64(total))), uint64(0)
	for i, n := range counts {
		if sum += n; sum >= rank {
			if v = buckets[i+1]; math.IsInf(v, 1) {
				v = buckets[i]
			}
			return max(v, 0), total
		}
	}
	return 0, total
}

// schedulingLatencies reads the runtime's histogram.
func schedulingLatencies() *metrics.Float64Histogram {
	sample := [1]metrics.Sample{{Name: "/sched/latencies:seconds"}}
	metrics.Read(sample[:])
	if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return nil
	}
	return sample[0].Value.Float64Histogram()
}
