package rescue

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/rescue/tunnel"
)

const (
	farewells     = 3 // greetings that say that we are gone, should some get lost
	farewellPause = 5 * time.Millisecond
)

// Run talks with the others until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	defer h.gauges()()
	h.chooseFrom()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { h.mournAll(ctx) })
	var nextGreeting, nextSecond time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-h.wake:
		}
		now := h.now()
		if !now.Before(nextGreeting) {
			h.greet(now)
			nextGreeting = now.Add(h.interval)
		}
		if !now.Before(nextSecond) {
			h.second(now)
			nextSecond = now.Add(time.Second)
		}
		death := h.judge(now)
		timer.Reset(earlier(nextGreeting, death).Sub(h.now()))
	}
}

// chooseFrom has greetings and tunnels sent from our unicast address, where it is one of this host's: left alone, the kernel might choose another, which
// the others' firewalls don't let in.
func (h *Hub) chooseFrom() {
	if err := bindable(h.cfg.Self.Address); err != nil {
		h.log.Warn("the edge's own address is not one of this host's: other edges must expect its QUIC tunnel from another", "address", h.cfg.Self.Address, "error", err)
		return
	}
	h.from.Store(&control{local: h.cfg.Self.Address.Unmap()})
}

// bindable returns why nothing can be sent from an address here.
func bindable(a netip.Addr) error {
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err == nil {
		c.Close()
	}
	return err
}

func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// SetState says what this edge is about from now on, which every peer is told at once. With Gone it takes some milliseconds, for it is said more than once.
func (h *Hub) SetState(s State) {
	if State(h.state.Swap(uint32(s))) == s {
		return
	}
	h.greet(h.now())
	if s != Gone {
		return
	}
	for range farewells - 1 {
		time.Sleep(farewellPause)
		h.greet(h.now())
	}
}

// greet sends each peer what its link wants to say, and tries out our anycast addresses as sources.
func (h *Hub) greet(now time.Time) {
	l := h.anyLane()
	if l == nil {
		return
	}
	say := tunnel.Hello{State: uint8(h.state.Load()), Instance: h.cfg.Instance, Parameters: h.cfg.Parameters}
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for _, p := range h.peers {
		for _, d := range p.link.Tick(now, say) {
			h.put(b, l, d, p, h.fromFor(p))
		}
		for _, s := range *h.sources.Load() {
			if !p.near && s.addr.Is4() == p.edge.Address.Unmap().Is4() {
				if d := p.link.Probe(now, s.addr); d != nil {
					h.put(b, l, d, p, control{local: s.addr})
				}
			}
		}
	}
	b.send(l.conn) // that some are too large for the path is what a link wants to know
	for _, s := range *h.sources.Load() {
		s.check(h.peers, h.announced(s.addr), 3*h.interval, now)
	}
}

// put adds what a link has made to a batch.
func (h *Hub) put(b *batch, l *lane, data []byte, p *peer, from control) {
	if !b.room(1) {
		b.send(l.conn)
	}
	b.add(data, p.addr, from)
}

func (h *Hub) anyLane() *lane {
	for _, l := range h.lanes {
		if l != nil {
			return l
		}
	}
	return nil
}

// greeted looks whether a greeting says anything new.
func (h *Hub) greeted(p *peer, hello *tunnel.Hello) {
	v := p.view.Load()
	if v.reach != up || v.state != State(hello.State) || v.instance != hello.Instance {
		h.poke()
	}
}

// poke has Run look at the peers.
func (h *Hub) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// judge takes what the links say of the peers, and returns when the next may be dead, if nothing is heard of it until then. Only Run calls it.
func (h *Hub) judge(now time.Time) (next time.Time) {
	stood := now.Sub(h.judged) > h.interval+h.cfg.DeadAfter/4
	h.judged = now
	for _, p := range h.peers {
		old, said := p.view.Load(), p.link.Peer(now)
		v := old.next(said, h.cfg.DeadAfter, now, stood)
		if v.reach == dead && old.reach == up && v.deaf.IsZero() && v.state != Gone {
			if h.spare(p, now) {
				next = earlier(now.Add(spareStep), next)
				continue
			}
		} else {
			p.spared = time.Time{}
		}
		if *v != *old {
			p.view.Store(v)
			h.told(p, old, v)
		}
		if v.reach != dead { // deafness shows with the next greeting
			due := later(said.LastHeard, h.started).Add(h.cfg.DeadAfter + time.Millisecond)
			if due.After(now) {
				next = earlier(due, next)
			}
		}
		if said.Up {
			h.compare(p, &said.Hello, now)
		}
	}
	return next
}

// told logs what has become of a peer, and has its clients told.
func (h *Hub) told(p *peer, old, v *view) {
	if level, news := v.news(old); news != "" && p.chatter.allow(h.now()) {
		log := p.logger(h)
		if v.heard {
			log = log.With("state", v.state)
		}
		log.Log(context.Background(), level, news, "dead_after", h.cfg.DeadAfter)
	}
	if v.reach == dead || v.past != old.past || v.state == Gone {
		select {
		case h.deaths <- struct{}{}:
		default:
		}
	}
}

// logger is for what is said of the peer. "edge" is this one, in every line.
func (p *peer) logger(h *Hub) *slog.Logger {
	return h.log.With("peer", p.edge.Address, "region", p.edge.Region, "port", h.port)
}

// compare warns of what should be the same on both edges.
func (h *Hub) compare(p *peer, hello *tunnel.Hello, now time.Time) {
	log := p.logger(h)
	if differ := hello.Parameters != h.cfg.Parameters; p.parametersDiffer.Swap(differ) != differ && differ {
		log.Warn("another edge has other limits for HTTP/3: a client that comes from there begins with requests that are refused, and loses a round trip; " +
			"give all edges the same limits.max_streams, limits.max_header_size and tls.early_data, and the same version")
	}
	off := int64(hello.Epoch) - int64(keys.At(now))
	near := now.Sub(keys.At(now).Start()) < keys.Length/24 || keys.At(now).Start().Add(keys.Length).Sub(now) < keys.Length/24
	differ := off < -1 || off > 1 || off != 0 && !near
	if p.clockDiffers.Swap(differ) != differ && differ {
		log.Warn("another edge's clock is on another day, and the fleet's keys with it: set both clocks", "days", off)
	}
}

// second keeps tables small.
func (h *Hub) second(now time.Time) {
	ns := h.since(now)
	h.flows.sweep(func(f *flow) bool { return ns-f.last > int64(flowLife) })
	h.homes.sweep(func(v *home) bool { return ns-v.last > int64(homeLife) })
	h.tidySources(ns)
	h.moves.second(now)
	for _, p := range h.peers {
		if n := p.chatter.rest(now); n > 0 {
			p.logger(h).Warn("another edge's QUIC listener comes and goes; does the path to it lose packets, or one of the two stand still?",
				"changes", n, "reach", p.view.Load().reach, "dead_after", h.cfg.DeadAfter)
		}
	}
}

// mournAll tells the clients of edges that died, a few at a time.
func (h *Hub) mournAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.deaths:
		}
		for _, p := range h.peers {
			if v := p.view.Load(); v.reach == dead || v.state == Gone || v.past != [4]uint64{} {
				h.mournOne(ctx, p)
			}
		}
	}
}

// mournOne looks at the peer before each burst, for it may be back by then.
func (h *Hub) mournOne(ctx context.Context, p *peer) {
	l := h.anyLane()
	if l == nil {
		return
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	var told []obituary
	for i := 0; i < shards; {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		now, v, more := h.now(), p.view.Load(), true
		for told = told[:0]; i < shards && len(told) < mournBurst; {
			if told, more = h.mourn(&h.flows.parts[i], p, v, mournBurst, h.since(now), now, told); !more {
				i++
			}
		}
		h.tell(l, told, v, now)
		pause.Reset(mournPause)
	}
}

// tell sends resets.
func (h *Hub) tell(l *lane, told []obituary, v *view, now time.Time) {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	for i := range told {
		o := &told[i]
		var room [maxReset]byte
		reset := resetFor(&room, o.size, o.id, o.place, o.by, now)
		if reset == nil {
			continue
		}
		if !b.room(1) {
			h.send(b, l)
		}
		b.copy(reset, o.to, control{local: o.local})
		h.metrics.resets[v.over(o.place.Instance)].Inc()
	}
	h.send(b, l)
}
