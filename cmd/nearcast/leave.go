package main

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"nearcast/bgp"
	"nearcast/proxy/h3/rescue"
)

// leaveAfter is how long after a route has moved away the clients that there are get told to connect anew: what the routers next to us need to
// move it (BIRD 15 ms, FRR up to 130 ms, measured). A client told earlier would come back here.
const leaveAfter = 300 * time.Millisecond

// routes hands the announcer's declarations on to the speaker, and notices when they send clients elsewhere.
type routes struct {
	bgp.RouteSetter
	beacon   netip.Prefix                   // this region's: it leads nobody here; the zero value: there is none
	declared map[netip.Prefix]bgp.Route     // owned by the announcer
	held     atomic.Pointer[[]netip.Prefix] // declared, at full preference
	tell     func(rescue.State)             // what becomes of the routes; set before the first declaration
	moved    chan struct{}                  // capacity one
}

func newRoutes(to bgp.RouteSetter, beacon netip.Prefix) *routes {
	return &routes{RouteSetter: to, beacon: beacon, moved: make(chan struct{}, 1), tell: func(rescue.State) {}}
}

// SetRoutes implements bgp.RouteSetter.
func (r *routes) SetRoutes(all []bgp.Route) {
	was := r.declared
	r.hold(slices.DeleteFunc(holding(all, r.beacon), func(p netip.Prefix) bool { return !r.holds(p) })) // what goes is gone before a router hears of it
	r.RouteSetter.SetRoutes(all)
	r.declared = make(map[netip.Prefix]bgp.Route, len(all))
	for _, route := range all {
		if route.Prefix != r.beacon {
			r.declared[route.Prefix] = route
		}
	}
	r.hold(holding(all, r.beacon))
	for prefix, before := range was {
		if now, there := r.declared[prefix]; !there || repels(before, now) {
			select {
			case r.moved <- struct{}{}:
			default:
			}
			return
		}
	}
}

// holding are the prefixes whose clients may be expected to come here: a route that repels leads elsewhere, wherever there is another.
func holding(all []bgp.Route, beacon netip.Prefix) (held []netip.Prefix) {
	for _, r := range all {
		if r.Prefix != beacon && !repels(bgp.Route{}, r) {
			held = append(held, r.Prefix)
		}
	}
	return held
}

func (r *routes) hold(held []netip.Prefix) {
	r.held.Store(&held)
	if len(held) == 0 {
		r.tell(rescue.Draining)
	} else {
		r.tell(rescue.Announcing)
	}
}

func (r *routes) holds(p netip.Prefix) bool {
	held := r.held.Load()
	return held != nil && slices.Contains(*held, p)
}

// announces says whether the address lies in a prefix that is declared at full preference.
func (r *routes) announces(a netip.Addr) bool {
	held := r.held.Load()
	return held != nil && slices.ContainsFunc(*held, func(p netip.Prefix) bool { return p.Contains(a) })
}

// repels says whether a route is less attractive than it was.
func repels(before, now bgp.Route) bool {
	return now.Prepend > before.Prepend || now.GracefulShutdown && !before.GracefulShutdown
}

// sendClientsOn tells the clients that there are to connect anew when a route has moved away though the edge lives on, and once more when
// those have come and gone that a slower router still sent.
func (e *edge) sendClientsOn(ctx context.Context, moved <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-moved:
		}
		for _, after := range []time.Duration{leaveAfter, e.cfg.Shutdown.Settle} {
			sleep(ctx, after)
			if ctx.Err() != nil {
				return
			}
			e.front.Leave()
		}
	}
}

// gate is around each planned move of a route. Attempts to connect get no answer: for a third of the pause before it, so that what was
// begun till then has its response, and for the rest after it, while the routers next to us move the route. The clients that there are
// learn before it that they must connect anew, and do so elsewhere: nothing of theirs is on its way when their packets go there. Those of QUIC
// whose packets are sent on to us by then learn it after.
func (e *edge) gate() (done func()) {
	pause := e.cfg.Shutdown.Pause
	if pause <= 0 {
		return func() {}
	}
	e.pauses.begin()
	e.front.Pause()
	e.front.LeaveBefore()
	sleep(e.hurried, pause/3)
	return func() {
		sleep(e.hurried, pause-pause/3)
		e.front.Resume()
		e.pauses.end()
	}
}
