package bgp

import (
	"fmt"
	"time"
)

// gracefulShutdown is the name of the community 65535:0, RFC 8326.
const gracefulShutdown = "graceful-shutdown"

const (
	maxDrainSteps = 8
	maxDrainTime  = time.Hour
	maxPrepend    = 16 // of the degraded state and the drain ladder together: longer paths are filtered by some networks
)

// rung is where on the drain ladder a route is.
type rung struct {
	step             int           // from 0
	prepend          uint8         // besides what the route had before
	gracefulShutdown bool          // RFC 8326
	ends             time.Duration // since the ladder's beginning
}

// rungAt finds the step of that moment since the ladder's beginning. Steps add up: what one has put onto the route stays on it. ok is
// false when the last step is over.
func (c *Config) rungAt(elapsed time.Duration) (r rung, ok bool) {
	for i, s := range c.Drain {
		r.step = i
		r.prepend += s.Prepend
		r.gracefulShutdown = r.gracefulShutdown || s.Community == gracefulShutdown
		r.ends += s.For
		if elapsed < r.ends {
			return r, true
		}
	}
	return r, false
}

// DrainTime is how long the ladder takes.
func (c *Config) DrainTime() time.Duration {
	var sum time.Duration
	for _, s := range c.Drain {
		sum += s.For
	}
	return sum
}

// validateDrain reports steps that would do nothing or never end.
func (c *Config) validateDrain(report func(key, fault string)) {
	if len(c.Drain) > maxDrainSteps {
		report("drain", fmt.Sprintf("has %d steps; at most %d", len(c.Drain), maxDrainSteps))
	}
	prepends := int(c.Degraded.Prepend)
	for i, s := range c.Drain {
		key := fmt.Sprintf("drain[%d]", i)
		switch {
		case s.Community != "" && s.Community != gracefulShutdown:
			report(key+".community", fmt.Sprintf("%q is not of the drain; write graceful-shutdown, or put it among the attributes", s.Community))
		case s.Community == "" && s.Prepend == 0:
			report(key, "does nothing: write community: graceful-shutdown, or prepend; the withdrawal comes by itself after the last step")
		}
		if s.For <= 0 {
			report(key+".for", "is missing: how long this step lasts before the next")
		}
		prepends += int(s.Prepend)
	}
	if prepends > maxPrepend {
		report("drain", fmt.Sprintf("prepends %d times, together with degraded.prepend; at most %d", prepends, maxPrepend))
	}
	if t := c.DrainTime(); t > maxDrainTime {
		report("drain", fmt.Sprintf("takes %s; at most %s", t, maxDrainTime))
	}
}
