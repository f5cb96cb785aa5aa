package rescue

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxSources = 8                // anycast addresses that are tried out as a source
	sourceLife = 60 * time.Second // for so long after the last packet of a rescued client
)

// source is an anycast address of ours as the source of what we send. Where the network checks sources, packets that have it may not get out
// while its route is not ours. Whether they do is tried out: a greeting is sent from it to each edge of another region, which says what it heard.
type source struct {
	addr netip.Addr
	used atomic.Int64 // by a rescued client, since the hub's start
	none atomic.Bool  // it is no address of this host's: the kernel would refuse it, and QUIC end the connection

	mu        sync.Mutex
	announced bool
	changed   time.Time      // when that changed: what was heard of earlier greetings says nothing about now
	fresh     time.Time      // until then the network is known to let it out
	failing   bool           // a peer heard it and does not any more
	blocked   time.Time      // until then it is known that clients do not get what has it
	block     time.Duration  // the length of the latest such time, if nothing was seen to arrive since: then one client at a time tries
	arrived   time.Time      // when something was seen to arrive last
	lost      netip.AddrPort // a client that got nothing and says nothing,
	lostAt    time.Time      // since then
	tries     netip.AddrPort // who tries,
	triesTill time.Time      // for so long
}

// direct reports whether packets from the address to the client are to go directly.
func (s *source) direct(client netip.AddrPort, announced bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(announced, now)
	if s.none.Load() || now.Before(s.blocked) || announced && s.failing || !announced && !now.Before(s.fresh) {
		return false
	}
	if s.block == 0 || s.tries == client {
		return true
	}
	if now.Before(s.triesTill) {
		return false
	}
	s.tries, s.triesTill = client, now.Add(trialLimit)
	return true
}

func (s *source) turn(announced bool, now time.Time) {
	if s.announced != announced {
		s.announced, s.changed, s.fresh, s.failing = announced, now, time.Time{}, false
		s.blocked, s.block, s.arrived = time.Time{}, 0, time.Time{}
	}
}

// check takes what the peers have heard. One in our own region, behind the same routers, says nothing about the way out. window is for how long a
// greeting counts from its way there and back.
func (s *source) check(peers []*peer, announced bool, window time.Duration, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(announced, now)
	lost := false
	for _, p := range peers {
		sent, ok := p.link.Reached(s.addr)
		if p.near || !ok || !sent.After(s.changed) {
			continue
		}
		if until := sent.Add(window + p.link.Peer(now).RTT); until.After(now) {
			s.fresh = later(s.fresh, until)
		} else if p.view.Load().reach == up {
			lost = true
		}
	}
	s.failing = lost && !now.Before(s.fresh)
}

// announced asks whether we announce the address.
func (h *Hub) announced(a netip.Addr) bool { return h.cfg.Announced == nil || h.cfg.Announced(a) }

// source returns what is known of the address; with create, it is tried out from now on.
func (h *Hub) source(a netip.Addr, create bool) *source {
	l := h.sources.Load()
	for _, s := range *l {
		if s.addr == a {
			return s
		}
	}
	if !create {
		return nil
	}
	return h.newSource(a)
}

func (h *Hub) newSource(a netip.Addr) *source {
	h.sourceMu.Lock()
	defer h.sourceMu.Unlock()
	l := *h.sources.Load()
	for _, s := range l {
		if s.addr == a {
			return s
		}
	}
	if len(l) >= maxSources {
		h.metrics.sourceFull.Inc()
		return nil
	}
	s := &source{addr: a, announced: h.announced(a), changed: h.now()}
	s.none.Store(bindable(a) != nil)
	longer := append(l[:len(l):len(l)], s)
	h.sources.Store(&longer)
	return s
}

// tidySources forgets addresses that no rescued client uses any more.
func (h *Hub) tidySources(ns int64) {
	h.sourceMu.Lock()
	defer h.sourceMu.Unlock()
	l := *h.sources.Load()
	var keep []*source
	for _, s := range l {
		s.none.Store(bindable(s.addr) != nil)
		if ns-s.used.Load() <= int64(sourceLife) || s.remembers(ns, h.started) {
			keep = append(keep, s)
		}
	}
	if len(keep) < len(l) {
		h.sources.Store(&keep)
	}
}
