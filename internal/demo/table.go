package demo

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// table is what the router knows at one moment. It does not change.
type table struct {
	since  time.Time // of the last change
	routes [len(places)]routes
}

// routes are what one edge's session holds.
type routes struct {
	up         bool // the session is established
	ipv4, ipv6 bool
}

// nearest is the announcing edge nearest to the place.
func (t *table) nearest(from int) (edge int, ok bool) {
	best := -1
	for i, r := range t.routes {
		if r.ipv4 && (best < 0 || distance(from, i) < distance(from, best)) {
			best = i
		}
	}
	return best, best >= 0
}

// keeps reports whether a flow that edge carries may stay there although the route may point elsewhere: as long as the
// edge's session is up, the edge drains. A router that knows no flows would cut them at once.
func (t *table) keeps(edge int) bool { return t.routes[edge].up }

// rib holds the current table.
type rib struct {
	current atomic.Pointer[table]

	mu       sync.Mutex
	watchers map[chan struct{}]struct{}
}

func newRIB() *rib {
	r := &rib{watchers: make(map[chan struct{}]struct{})}
	r.current.Store(&table{since: time.Now()})
	return r
}

func (r *rib) load() *table { return r.current.Load() }

// watch returns a channel that receives after a change; changes may be merged. The caller ends it with stop.
func (r *rib) watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	r.watchers[c] = struct{}{}
	r.mu.Unlock()
	return c, func() {
		r.mu.Lock()
		delete(r.watchers, c)
		r.mu.Unlock()
	}
}

// await waits until the table is as wanted and returns that table.
func (r *rib) await(ctx context.Context, wanted func(*table) bool) (*table, error) {
	changed, stop := r.watch()
	defer stop()
	for {
		if t := r.load(); wanted(t) {
			return t, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return r.load(), ctx.Err()
		}
	}
}

// update changes what one edge's session holds.
func (r *rib) update(edge int, change func(*routes)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.load()
	t := *old
	change(&t.routes[edge])
	if t.routes == old.routes {
		return
	}
	t.since = time.Now()
	r.current.Store(&t)
	for c := range r.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// announce notes that a prefix is held, or with false that it no longer is.
func (r *routes) announce(p netip.Prefix, held bool) {
	switch p {
	case prefixIPv4:
		r.ipv4 = held
	case prefixIPv6:
		r.ipv6 = held
	}
}
