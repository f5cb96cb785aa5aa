package bgp

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrLastRegion is why a drain is refused: it would leave no route.
var ErrLastRegion = errors.New("no other edge is known to hold the route")

// maxOrderText bounds what an order says of its origin, which goes into logs and the state file.
const maxOrderText = 256

// Drain takes the order's prefixes, or all, away by the drain ladder, until Undrain. Without force it is refused with ErrLastRegion when
// there are other edges and none is known to hold the route. A second order takes the place of the first; a prefix that is on the
// ladder already goes on where it is.
func (a *Announcer) Drain(o DrainOrder, force bool) error {
	if a.stopping.Load() {
		return errors.New("the edge is stopping")
	}
	for _, p := range o.Prefixes {
		if !slices.Contains(a.config.Prefixes, p) {
			return fmt.Errorf("%s is not one of this edge's prefixes", p)
		}
	}
	if !force {
		if err := a.spare(&o); err != nil {
			return err
		}
	}
	a.drain.Store(&o)
	a.Wake()
	return nil
}

func cut(s string) []byte { return []byte(s)[:min(len(s), maxOrderText)] }

// spare says whether the world can do without this edge's routes.
func (a *Announcer) spare(o *DrainOrder) error {
	others := a.others.Load()
	if others == nil {
		return nil
	}
	for _, st := range a.Status() {
		if st.Announced && o.covers(st.Prefix) && others.alone(st.Prefix) {
			return fmt.Errorf("%s: %w", st.Prefix, ErrLastRegion)
		}
	}
	return nil
}

// Undrain takes the order back, and forgives what health has held against the routes: hold-downs and the freeze. What is on the ladder
// comes back at once; what was withdrawn, when health has allowed it for rise.for.
func (a *Announcer) Undrain() {
	now := time.Now()
	a.drain.Store(nil)
	a.thawed.Store(&now)
	a.Wake()
}

// Ordered is the order to drain that is in force, or nil.
func (a *Announcer) Ordered() *DrainOrder { return a.drain.Load() }
