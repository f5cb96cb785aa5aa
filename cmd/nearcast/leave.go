package main

import (
	"context"
	"time"

	"nearcast/bgp"
)

// leaveAfter is how long after a withdrawal the clients that there are get told to connect anew: what the routers next to us need to move
// the route (BIRD 15 ms, FRR up to 130 ms, measured). A client told earlier would come back here.
const leaveAfter = 300 * time.Millisecond

// routes hands the announcer's declarations on to the speaker, and notices when they withdraw what was announced.
type routes struct {
	bgp.RouteSetter
	announced bool          // owned by the announcer
	withdrawn chan struct{} // capacity one
}

func newRoutes(to bgp.RouteSetter) *routes {
	return &routes{RouteSetter: to, withdrawn: make(chan struct{}, 1)}
}

// SetRoutes implements bgp.RouteSetter.
func (r *routes) SetRoutes(all []bgp.Route) {
	r.RouteSetter.SetRoutes(all)
	was := r.announced
	r.announced = len(all) > 0
	if was && !r.announced {
		select {
		case r.withdrawn <- struct{}{}:
		default:
		}
	}
}

// sendClientsOn tells the clients that there are to connect anew when the routes have been withdrawn though the edge lives on, and once
// more when those have come and gone that a slower router still sent. A stop does so by itself.
func (e *edge) sendClientsOn(ctx context.Context, withdrawn <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-withdrawn:
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
