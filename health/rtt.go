package health

import "time"

// rtt is a smoothed round-trip time. The zero value has no measurement.
type rtt struct {
	smoothed, min time.Duration
}

// observe takes in one measurement: the smoothed value is RFC 6298 §2's SRTT (gain 1/8), the first measurement taken whole.
// Measurements of zero or less are not measurements.
func (r *rtt) observe(sample time.Duration) {
	switch {
	case sample <= 0:
	case r.smoothed == 0:
		r.smoothed, r.min = sample, sample
	default:
		r.smoothed += (sample - r.smoothed) / 8
		r.min = min(r.min, sample)
	}
}
