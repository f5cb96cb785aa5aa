package bgp

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	maxPaths  = 64 // of one prefix from one router
	maxASPath = 64 // AS numbers kept of a path
)

// viewTimes are the view's waits.
type viewTimes struct {
	complete time.Duration // after which a session counts as having told all that the router had, when no End-of-RIB says so
	settle   time.Duration // after a withdrawal, in which what we announced may still come back to us by other ways
	refresh  time.Duration // between two requests to be told everything anew
}

var defaultViewTimes = viewTimes{complete: 30 * time.Second, settle: 30 * time.Second, refresh: 5 * time.Minute}

// adjIn is what one router has told of the watched prefixes, an Adj-RIB-In (RFC 4271 section 3.2) for a handful of them, and what it
// has been told of them. A nil one takes no note of anything.
//
//	begin ──▶ establish ──▶ heard, endOfRIB, sent … ──▶ finish
//	                          │          ▲
//	             a malformed UPDATE      │ askAnew: the router is asked to repeat all (RFC 2918)
//	                          ▼          │
//	                        damaged ─────┘
type adjIn struct {
	// immutable
	config   *NeighborConfig
	own      uint32
	routerID netip.Addr
	watched  *watchList
	times    *viewTimes
	metrics  viewMetrics
	wake     func()

	mu sync.Mutex
	// guarded by mu
	session inSession
	echoes  map[int]time.Time // of watched prefixes that the router has been sent; zero: still announced, else until when it may still be told
}

// inSession is what one session has told.
type inSession struct {
	families    [numFamilies]inFamily
	established bool
	begun       time.Time // when the router began to tell
	repeats     bool      // it was asked to tell all anew: End-of-RIB no longer says that it has
	asked       time.Time // when it was
	damaged     bool      // an UPDATE could not be read to its end: what it announced or withdrew is not known
	paths       map[pathKey]heldPath
	counts      map[int]int  // of paths by watched prefix
	overflowed  map[int]bool // watched prefixes with more paths than are kept
	shown       map[int]bool // watched prefixes of which a path of our AS was told, or of a beacon any: the router does not keep them from us
}

type inFamily struct {
	agreed, addPath, ended bool // ended: End-of-RIB has come
}

type pathKey struct {
	prefix int
	id     uint32
}

// heldPath is a path with what is known of who announced it.
type heldPath struct {
	Path
	origin   origin
	upstream uint32 // of originOurs; 0: announced by another edge for certain
}

func (a *adjIn) watches() bool { return a != nil && a.config.View != ViewOff }

// begin starts a session, whose OPENs have been exchanged.
func (a *adjIn) begin(families [numFamilies]inFamily) {
	if a == nil {
		return
	}
	a.change(func() {
		a.session = newInSession()
		a.session.families = families
	})
}

func newInSession() inSession {
	s := inSession{shown: map[int]bool{}}
	s.forget()
	return s
}

// forget drops the paths. That the router shows them stays known.
func (s *inSession) forget() {
	s.paths, s.counts, s.overflowed = map[pathKey]heldPath{}, map[int]int{}, map[int]bool{}
}

// establish is when the router begins to tell.
func (a *adjIn) establish(now time.Time) {
	if a == nil {
		return
	}
	a.change(func() { a.session.established, a.session.begun = true, now })
}

// finish ends the session, if there is one: nothing that it told holds any more. What the router was told it may keep for the hold time.
func (a *adjIn) finish(now time.Time) {
	if a == nil {
		return
	}
	a.change(func() {
		a.session = newInSession()
		for i, until := range a.echoes {
			if until.IsZero() {
				a.echoes[i] = now.Add(a.lingers())
			}
		}
	})
}

// lingers is how long after a lost session others may still be told what the router had from us.
func (a *adjIn) lingers() time.Duration { return a.config.HoldTime + a.times.settle }

// sent notes what the router has been told.
func (a *adjIn) sent(announced, withdrawn []netip.Prefix, now time.Time) {
	if a == nil {
		return
	}
	a.change(func() {
		for i, w := range a.watched.prefixes {
			if _, there := a.echoes[i]; there && slices.Contains(withdrawn, w.prefix) {
				a.echoes[i] = now.Add(a.times.settle)
			}
			if slices.Contains(announced, w.prefix) {
				a.echoes[i] = time.Time{}
			}
		}
	})
}

// endOfRIB notes that the router has told all that it had of a family (RFC 4724 section 2).
func (a *adjIn) endOfRIB(f int) {
	if a.watches() {
		a.change(func() { a.session.families[f].ended = true })
	}
}

// heard notes what an UPDATE says of watched prefixes. err is the scan's.
func (a *adjIn) heard(s *scanner, err error, now time.Time) {
	if err == nil && len(s.found) == 0 {
		return // nearly always
	}
	var told heldPath
	readable := true
	if s.announces() {
		told, readable = a.read(s, now)
	}
	if err != nil || !readable {
		a.metrics.malformed.Inc()
	}
	ours := told.origin == originOurs || slices.Contains(told.ASPath, a.own)
	a.mu.Lock()
	changed := false
	for _, f := range s.found {
		told.ID = f.id
		if w := a.watched.prefixes[f.prefix]; f.announced && (ours || told.origin != originUnclear && w.foreign()) {
			a.session.shown[f.prefix] = true
		}
		key := pathKey{f.prefix, f.id}
		switch {
		case !f.announced:
			changed = a.session.remove(key) || changed
		case a.session.counts[f.prefix] >= maxPaths && !a.session.has(key):
			a.metrics.overflow.Inc()
			changed = changed || !a.session.overflowed[f.prefix]
			a.session.overflowed[f.prefix] = true
		default:
			changed = a.session.add(key, told) || changed
		}
	}
	if err != nil {
		changed = true
		a.session.damage()
	}
	a.mu.Unlock()
	if changed {
		a.wake()
	}
}

// skipped notes an UPDATE that is longer than BGP allows, and was not read.
func (a *adjIn) skipped() {
	a.metrics.malformed.Inc()
	a.change(a.session.damage)
}

// damage drops all that was told: a withdrawal may have been in what could not be read.
func (s *inSession) damage() {
	s.damaged = true
	s.forget()
}

// askAnew says whether the router is to be asked to tell all anew, which repairs the view, and takes it as done.
func (a *adjIn) askAnew(now time.Time) bool {
	a.mu.Lock()
	s := &a.session
	ask := s.damaged && (s.asked.IsZero() || now.Sub(s.asked) >= a.times.refresh)
	if ask {
		s.damaged, s.repeats, s.asked, s.begun = false, true, now, now
		s.forget()
	}
	a.mu.Unlock()
	if ask {
		a.wake()
	}
	return ask
}

// read decodes the path of the UPDATE scanned last; ok is false when it is malformed.
func (a *adjIn) read(s *scanner, now time.Time) (p heldPath, ok bool) {
	numbers, set, pathOK := s.asPath()
	graceful, communitiesOK := s.gracefulShutdown()
	p.ASPath = slices.Clone(numbers[:min(len(numbers), maxASPath)])
	p.Since, p.GracefulShutdown = now, graceful
	if !pathOK || !communitiesOK {
		return p, false // of unclear origin
	}
	if !set {
		p.origin, p.upstream = originOf(numbers, a.config.ASN, a.own)
	}
	if a.config.ASN == a.own && !slices.ContainsFunc(numbers, func(n uint32) bool { return n != a.own }) {
		p.origin, p.upstream = a.reflected(s.attributes.originator)
	}
	return p, true
}

// reflected is who announced a path within our own AS: a route reflector says so with ORIGINATOR_ID (RFC 4456 section 8). Without it the path
// is the neighbor's own.
func (a *adjIn) reflected(originator []byte) (origin, uint32) {
	switch id, ok := netip.AddrFromSlice(originator); {
	case !ok || !id.Is4():
		return originNone, 0
	case id == a.routerID:
		return originOurs, a.own
	}
	return originOurs, 0
}

func (s *inSession) has(k pathKey) bool { _, ok := s.paths[k]; return ok }

// add puts a path in its place, and says whether that is a change.
func (s *inSession) add(k pathKey, p heldPath) bool {
	old, there := s.paths[k]
	if there && old.same(p) {
		return false
	}
	if !there {
		s.counts[k.prefix]++
	}
	s.paths[k] = p
	return true
}

func (s *inSession) remove(k pathKey) bool {
	if !s.has(k) {
		return false
	}
	delete(s.paths, k)
	s.counts[k.prefix]--
	return true
}

func (p heldPath) same(q heldPath) bool {
	return p.origin == q.origin && p.upstream == q.upstream && p.GracefulShutdown == q.GracefulShutdown && slices.Equal(p.ASPath, q.ASPath)
}

// change changes something under the lock, and wakes the view.
func (a *adjIn) change(f func()) {
	a.mu.Lock()
	f()
	a.mu.Unlock()
	a.wake()
}
