package bgp

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// viewEvery is the least time from one view to the next: routers that change a path all the time must not keep a processor busy.
const viewEvery = 10 * time.Millisecond

// viewer makes the view of what the routers tell. It runs also where no neighbor has a view: the view is empty then.
type viewer struct {
	// immutable
	watched *watchList
	inputs  []*adjIn // one a neighbor, in the configuration's order
	times   viewTimes

	// shared
	dirty   chan struct{} // capacity one: something was told
	changed chan struct{} // capacity one: the view has changed
	view    atomic.Pointer[View]
}

// newViewer prepares the views of the neighbors. Now is the start of the process: what it announced before a restart may still be told.
func newViewer(c *Config, set *metrics.Set, now time.Time) *viewer {
	v := &viewer{watched: newWatchList(c), times: defaultViewTimes, dirty: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	listens := false
	for i := range c.BGP.Neighbors {
		n := &c.BGP.Neighbors[i]
		a := &adjIn{config: n, own: c.BGP.ASN, routerID: c.BGP.RouterID, watched: v.watched, times: &v.times, wake: v.touch, session: newInSession(), echoes: map[int]time.Time{}}
		for i, w := range v.watched.prefixes {
			if !w.foreign() {
				a.echoes[i] = now.Add(a.lingers())
			}
		}
		if n.View != ViewOff {
			listens = true
			a.metrics = newViewMetrics(set, v, n)
		}
		v.inputs = append(v.inputs, a)
	}
	if listens {
		beaconGauges(set, v)
	} else {
		clear(v.inputs) // then no note is taken of anything
	}
	v.look(now)
	return v
}

// touch has the view made anew.
func (v *viewer) touch() { signal(v.dirty) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run makes the view whenever something was told or a wait is over, until ctx ends.
func (v *viewer) run(ctx context.Context) {
	defer func() { v.look(time.Now()) }() // the sessions have ended
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now := time.Now()
		if until := v.look(now); until.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(until.Sub(now))
		}
		pause(ctx, viewEvery)
		select {
		case <-v.dirty:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
	}
}

// look makes the view, and says when it changes by itself; zero: not at all.
func (v *viewer) look(now time.Time) (until time.Time) {
	next := View{echoes: map[netip.Prefix][]uint32{}}
	sooner := func(t time.Time) {
		if t.After(now) && (until.IsZero() || t.Before(until)) {
			until = t
		}
	}
	for _, a := range v.inputs {
		a.addEchoes(now, next.echoes, sooner)
	}
	for _, a := range v.inputs {
		if a.watches() {
			next.Neighbors = append(next.Neighbors, a.view(now, next.echoes, sooner))
		}
	}
	if old := v.view.Load(); old == nil || !reflect.DeepEqual(*old, next) {
		v.view.Store(&next)
		signal(v.changed)
	}
	return until
}

// addEchoes adds the neighbor's AS number to the prefixes that it has from us, or had until a moment ago.
func (a *adjIn) addEchoes(now time.Time, to map[netip.Prefix][]uint32, sooner func(time.Time)) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, until := range a.echoes {
		if !until.IsZero() && !until.After(now) {
			delete(a.echoes, i)
			continue
		}
		sooner(until)
		p := a.watched.prefixes[i].prefix
		to[p] = append(to[p], a.config.ASN)
	}
}

// view is a snapshot of the neighbor's.
func (a *adjIn) view(now time.Time, echoes map[netip.Prefix][]uint32, sooner func(time.Time)) NeighborView {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.session
	n := NeighborView{
		Name: neighborName(a.config), ASN: a.config.ASN, Mode: a.config.View,
		Established: s.established, Complete: s.established, Damaged: s.damaged,
		Prefixes: make([]PrefixView, len(a.watched.prefixes)),
	}
	var complete [numFamilies]bool
	for f, in := range s.families {
		complete[f] = s.established && in.agreed && !s.damaged && (in.ended && !s.repeats || !now.Before(s.begun.Add(a.times.complete)))
		n.Complete = n.Complete && (complete[f] || !in.agreed)
	}
	if s.established {
		sooner(s.begun.Add(a.times.complete))
	}
	for i, w := range a.watched.prefixes {
		f := inet4
		if w.prefix.Addr().Is6() {
			f = inet6
		}
		until, sent := a.echoes[i]
		n.Prefixes[i] = PrefixView{Prefix: w.prefix, Region: w.region, Own: w.own, Complete: complete[f], AddPath: s.families[f].addPath,
			Announced: sent && until.IsZero(), Shown: s.shown[i], Overflowed: s.overflowed[i]}
	}
	for k, held := range s.paths {
		w := a.watched.prefixes[k.prefix]
		held.Kind = held.kind(w, echoes[w.prefix])
		n.Prefixes[k.prefix].Paths = append(n.Prefixes[k.prefix].Paths, held.Path)
	}
	for i := range n.Prefixes {
		slices.SortFunc(n.Prefixes[i].Paths, func(p, q Path) int { return cmp.Compare(p.ID, q.ID) })
	}
	return n
}

// kind says whose a path is. Another region's beacon is that region's, by whatever AS number.
func (p heldPath) kind(w watchedPrefix, echoes []uint32) PathKind {
	switch {
	case p.origin == originUnclear:
		return PathUnclear
	case w.foreign():
		return PathOther
	case p.origin != originOurs:
		return PathForeign
	case slices.Contains(echoes, p.upstream):
		return PathOwn
	}
	return PathOther
}

// View is what the routers tell of the anycast prefixes and the beacons now.
func (s *Speaker) View() View { return *s.viewer.view.Load() }

// ViewChanged wakes its one reader after the view has changed. A wake-up carries no data, and several changes may make one.
func (s *Speaker) ViewChanged() <-chan struct{} { return s.viewer.changed }

// neighborView is what the neighbor with that name tells, nil without a view.
func (v View) neighbor(name string) *NeighborView {
	i := slices.IndexFunc(v.Neighbors, func(n NeighborView) bool { return n.Name == name })
	if i < 0 {
		return nil
	}
	return &v.Neighbors[i]
}

// viewMetrics are one neighbor's.
type viewMetrics struct{ malformed, overflow *metrics.Counter }

func newViewMetrics(set *metrics.Set, v *viewer, n *NeighborConfig) viewMetrics {
	name := neighborName(n)
	for _, w := range v.watched.prefixes {
		set.NewGauge(fmt.Sprintf(`nearcast_bgp_view_paths{neighbor=%q,prefix=%q}`, name, w.prefix), func() float64 {
			if nv := v.view.Load().neighbor(name); nv != nil {
				return float64(len(nv.prefix(w.prefix).Paths))
			}
			return 0
		})
	}
	set.NewGauge(fmt.Sprintf(`nearcast_bgp_view_complete{neighbor=%q}`, name), func() float64 {
		if nv := v.view.Load().neighbor(name); nv != nil && nv.Complete {
			return 1
		}
		return 0
	})
	return viewMetrics{
		malformed: set.NewCounter(fmt.Sprintf(`nearcast_bgp_view_malformed_updates_total{neighbor=%q}`, name)),
		overflow:  set.NewCounter(fmt.Sprintf(`nearcast_bgp_view_overflow_paths_total{neighbor=%q}`, name)),
	}
}

// beaconGauges show which regions are seen.
func beaconGauges(set *metrics.Set, v *viewer) {
	for _, w := range v.watched.prefixes {
		if !w.foreign() {
			continue
		}
		set.NewGauge(fmt.Sprintf(`nearcast_bgp_beacon_seen{region=%q}`, w.region), func() float64 {
			if seen, _ := v.view.Load().Others(w.prefix); seen {
				return 1
			}
			return 0
		})
	}
}
