package bgp

import (
	"context"
	"fmt"
	"time"
)

const (
	beats   = 5           // in a watchdog's time the announcer shows so often that it is alive
	maxBeat = time.Second // other edges take one for stuck whose words are old
)

// beat is how often the announcer looks at its inputs at the least.
func (c *Config) beat() time.Duration {
	return min(max(c.Watchdog/beats, 10*time.Millisecond), maxBeat)
}

// watch notes in the inputs what has not moved for the watchdog's time: the announcer itself, or the probes whose results it decides from.
// While all moves it renews the lease that the sessions live by.
func (a *Announcer) watch(now time.Time, in *Inputs) {
	limit, before, was := a.config.Watchdog, a.looked, a.stalled
	a.looked = now
	a.stalled = !in.SelfAt.IsZero() && now.Sub(in.SelfAt) > limit
	switch {
	case !before.IsZero() && now.Sub(before) > limit:
		in.Stalled, in.StallDetail = true, fmt.Sprintf("nothing was decided for %s: the process was stopped, or has too little of the machine", now.Sub(before).Round(time.Millisecond))
		a.stalls.Inc()
	case a.stalled:
		in.Stalled, in.StallDetail = true, "no probe of the edge itself has ended since "+in.SelfAt.UTC().Format(time.TimeOnly)+", well or not"
		if !was {
			a.stalls.Inc()
		}
	}
	if !a.stalled { // otherwise the lease runs out
		a.routes.Renew(now.Add(limit))
	}
}

// Renew implements RouteSetter: the sessions are held until then. Before the first call they are held without it.
func (s *Speaker) Renew(until time.Time) {
	s.lease.Store(max(int64(until.Sub(s.began)), 1))
}

// Alive says whether whoever decides about the routes has given a sign of life lately. It is cheap, and may be called from anywhere.
func (s *Speaker) Alive() bool {
	until := s.lease.Load()
	return until == 0 || int64(time.Since(s.began)) < until
}

// guard ends every session while the lease has run out, until ctx ends: a speaker that breathes must not hold the route of a proxy that
// does not.
func (s *Speaker) guard(ctx context.Context) {
	const every = 250 * time.Millisecond
	t := time.NewTicker(every)
	defer t.Stop()
	dead := false
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		alive := s.Alive()
		switch {
		case !alive && !dead:
			s.log.Error("the watchdog: nothing has decided about the routes in time; closing all BGP sessions", "after", s.config.Watchdog)
		case alive && dead:
			s.log.Warn("the watchdog: decisions are made again; BGP sessions may come back")
		}
		if dead = !alive; dead {
			for _, n := range s.neighbors {
				n.reset(errStalled)
			}
		}
	}
}
