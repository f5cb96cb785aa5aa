package bgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"time"
)

const (
	applyAgain = time.Second     // after the embedded speaker did not take a route
	tellWithin = 5 * time.Second // for a change to reach an established session, before the session is ended over it
)

// wish is a route that is wanted. The revision is another whenever the route has changed, if only back to what it was before: the embedded
// speaker must send it again, since a session may have looked at what is wanted in between.
type wish struct {
	Route
	revision uint32
}

// routeTable is what the routes are applied to: the embedded speaker.
type routeTable interface {
	announce(wish) error
	withdraw(wish) error
}

// embedded is the embedded speaker. Its calls may hang with it: whoever must go on makes them in a goroutine of their own.
type embedded interface {
	peerTable
	routeTable
	stop()
}

// apply brings the embedded speaker's table to what is wanted, at each wake, until ctx ends.
func (s *Speaker) apply(ctx context.Context, t routeTable) {
	applied := map[netip.Prefix]wish{}
	again := time.NewTimer(applyAgain)
	defer again.Stop()
	for {
		again.Stop()
		if err := difference(t, applied, s.wantedNow()); err != nil {
			s.log.Error("the embedded BGP speaker did not take a route; trying again", "error", err)
			again.Reset(applyAgain)
		}
		select {
		case <-s.wake:
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// difference makes applied equal to wanted, withdrawals first.
func difference(t routeTable, applied, wanted map[netip.Prefix]wish) error {
	var errs []error
	for p, r := range applied {
		if _, keep := wanted[p]; keep {
			continue
		}
		if err := t.withdraw(r); err != nil {
			errs = append(errs, fmt.Errorf("withdraw %s: %w", p, err))
			continue
		}
		delete(applied, p)
	}
	for p, r := range wanted {
		if old, there := applied[p]; there && old == r {
			continue
		}
		if err := t.announce(r); err != nil {
			errs = append(errs, fmt.Errorf("announce %s: %w", p, err))
			continue
		}
		applied[p] = r
	}
	return errors.Join(errs...)
}

// wantedNow is what SetRoutes declared last; it is never changed.
func (s *Speaker) wantedNow() map[netip.Prefix]wish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted
}

// stillWanted is the routes of those prefixes that are wanted now.
func (s *Speaker) stillWanted(ps []netip.Prefix) []Route {
	wanted := s.wantedNow()
	var out []Route
	for _, p := range ps {
		if r, ok := wanted[p]; ok {
			out = append(out, r.Route)
		}
	}
	return out
}

// SetRoutes declares the whole set of routes; nil is none. It does not wait; see Flush.
func (s *Speaker) SetRoutes(routes []Route) {
	wanted := make(map[netip.Prefix]wish, len(routes))
	s.mu.Lock()
	for _, r := range routes {
		r.Prefix = r.Prefix.Masked()
		w, known := s.wanted[r.Prefix]
		if !known || w.Route != r {
			s.revision++
			w = wish{r, s.revision}
		}
		wanted[r.Prefix] = w
	}
	same := maps.Equal(s.wanted, wanted)
	s.wanted = wanted
	s.mu.Unlock()
	if same {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	s.changed.notify()
}

// Flush waits until every established session has been sent the whole set that SetRoutes declared last, and nothing besides.
// With no session it returns at once.
func (s *Speaker) Flush(ctx context.Context) error {
	for {
		again := s.changed.next()
		wanted := s.wantedNow()
		var behind error
		for _, n := range s.neighbors {
			if !n.upToDate(wanted) {
				behind = fmt.Errorf("neighbor %s has not been sent all changes of the routes", n.name)
				break
			}
		}
		if behind == nil {
			return nil
		}
		select {
		case <-again:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", behind, ctx.Err())
		}
	}
}
