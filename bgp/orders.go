package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ErrLastRegion is why a drain is refused: it would leave no route.
var ErrLastRegion = errors.New("no other edge is known to hold the route in good health")

// maxOrderText bounds what an order says of its origin, which goes into logs and the state file.
const maxOrderText = 256

// Drain takes the order's prefixes, or all, away by the drain ladder, until Undrain. Without force it is refused with ErrLastRegion when
// there are other edges and none is known to hold the route in good health (one that lacks what announce_when asks for is enough where
// this one does as well); when that comes about later, the order waits on its last step. A second order adds to the first; a prefix that is
// on the ladder already goes on where it is.
func (a *Announcer) Drain(o DrainOrder, force bool) error {
	if a.stopping.Load() {
		return errors.New("the edge is stopping")
	}
	for _, p := range o.Prefixes {
		if !slices.Contains(a.config.Prefixes, p) {
			return fmt.Errorf("%s is not one of this edge's prefixes", p)
		}
	}
	a.ordering.Lock()
	defer a.ordering.Unlock()
	if !force {
		if err := a.spare(&o); err != nil {
			return err
		}
	}
	o.Force = force
	a.drain.Store(a.add(a.drain.Load(), o))
	a.Wake()
	return nil
}

// add joins an order to the one that is in force: what somebody drains is not brought back by another's order.
func (a *Announcer) add(before *DrainOrder, o DrainOrder) *DrainOrder {
	if before == nil || len(o.Prefixes) == 0 {
		return &o
	}
	both, more := []netip.Prefix{}, false
	for _, p := range a.config.Prefixes {
		if o.covers(p) || before.covers(p) {
			both = append(both, p)
			more = more || !o.covers(p)
		}
	}
	if o.Prefixes = both; more {
		o.Force = o.Force && before.Force
		o.Why = printable(cut(strings.TrimPrefix(o.Why+"; and before, "+before.String(), "; and before, ")))
	}
	if len(before.Prefixes) == 0 {
		o.Prefixes = nil
	}
	return &o
}

func cut(s string) []byte { return []byte(s)[:min(len(s), maxOrderText)] }

// spare says whether the world can do without this edge's routes.
func (a *Announcer) spare(o *DrainOrder) error {
	others := a.others.Load()
	if others == nil {
		return nil
	}
	for _, st := range a.Status() {
		if st.Announced && o.covers(st.Prefix) && !others.spare(st.Prefix, st.WantsToLeave) {
			return fmt.Errorf("%s: %w", st.Prefix, ErrLastRegion)
		}
	}
	return nil
}

// Undrain takes the order back, and forgives what health has held against the routes: hold-downs and the freeze. What is on the ladder
// comes back at once; what was withdrawn, when health has allowed it for rise.for.
func (a *Announcer) Undrain() {
	a.ordering.Lock()
	defer a.ordering.Unlock()
	now := time.Now()
	a.drain.Store(nil)
	a.thawed.Store(&now)
	a.Wake()
}

// Ordered is the order to drain that is in force, or nil.
func (a *Announcer) Ordered() *DrainOrder { return a.drain.Load() }
