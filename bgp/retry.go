package bgp

import "time"

const (
	steady        = 10 * time.Second // a session that lasted as long is followed by an attempt at once
	retryFirst    = 250 * time.Millisecond
	retryMost     = time.Second     // a router that is back must not wait for longer
	retryRejected = 8 * time.Second // an OPEN that was rejected needs somebody to change a configuration
	retryJitter   = 0.25            // of a wait, taken off at random: neighbors are not tried in step
	greetTime     = 150 * time.Millisecond
)

// retry says how long to wait between attempts at a session. The zero value is before the first attempt.
type retry struct {
	wait     time.Duration // before the next attempt, jitter not taken off
	rejected time.Duration // the same while OPENs are rejected
}

// after is the wait after an attempt that ended with d, or a session that had been established for lasted; random is from 0 to 1.
func (r *retry) after(d *down, lasted time.Duration, random float64) time.Duration {
	wait := r.wait
	switch {
	case lasted >= steady:
		*r, wait = retry{wait: retryFirst}, 0
	case d.failure == failOpen && lasted == 0:
		wait = max(r.rejected, retryMost)
		r.rejected = min(2*wait, retryRejected)
	default:
		wait = max(wait, retryFirst)
		*r = retry{wait: min(2*wait, retryMost)}
	}
	return wait - time.Duration(retryJitter*random*float64(wait))
}
