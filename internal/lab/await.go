package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"nearcast/internal/lab/router"
)

// How finely the lab can tell when something happened.
const (
	pollInterval = 10 * time.Millisecond
	fineTime     = 5 * time.Second // after this long it no longer matters
)

// The conditions on a route that the lab waits for.
func present(r router.Route) bool { return len(r.Paths) > 0 }
func own(r router.Route) bool     { return r.From(edgeASN) }
func notOwn(r router.Route) bool  { return !r.From(edgeASN) }

// ownBy is the condition that so many edges of the region announce, and no more.
func ownBy(edges int) func(router.Route) bool {
	return func(r router.Route) bool {
		n := 0
		for _, p := range r.Paths {
			if len(p.ASPath) > 0 && !slices.ContainsFunc(p.ASPath, func(asn uint32) bool { return asn != edgeASN }) {
				n++
			}
		}
		return n == edges
	}
}

// awaitRoutes returns once the region's router holds routes for all prefixes that satisfy ok. What is for the error.
func (l *Lab) awaitRoutes(ctx context.Context, region, what string, ok func(router.Route) bool, prefixes ...netip.Prefix) error {
	for _, p := range prefixes {
		err := await(ctx, what, func() (bool, string, error) {
			route, err := l.Route(ctx, region, p)
			return err == nil && ok(route), fmt.Sprintf("%s has %s: %s", region, p, route), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// await polls until done: finely while times are measured, then less often. An error of a poll counts as not yet. When ctx ends first
// it tells what was seen last.
func await(ctx context.Context, what string, poll func() (done bool, seen string, err error)) error {
	start := time.Now()
	last := "nothing was seen"
	for {
		done, seen, err := poll()
		switch {
		case done:
			return nil
		case err == nil:
			last = seen
		case ctx.Err() == nil:
			last = err.Error()
		}
		interval := pollInterval
		if time.Since(start) > fineTime {
			interval *= 20
		}
		if pause(ctx, interval) != nil {
			return fmt.Errorf("waited %.1fs in vain for %s; %s: %w", time.Since(start).Seconds(), what, last, context.Cause(ctx))
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// leadsTo is the condition that the route in use at the router of one region ends at the edge of another, or of itself.
func leadsTo(at, to string) func(router.Route) bool {
	want, err := region(to)
	return func(r router.Route) bool {
		best, ok := r.Best()
		if !ok || err != nil || len(best.ASPath) == 0 || best.ASPath[len(best.ASPath)-1] != edgeASN {
			return false
		}
		if at == to {
			return len(best.ASPath) == 1
		}
		// The AS before the edge's is the region's. Prepends repeat numbers, they never hide the last ones.
		return len(best.ASPath) >= 2 && best.ASPath[len(best.ASPath)-2] == want.ASN
	}
}
