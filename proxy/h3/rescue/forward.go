package rescue

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

// forward is a packet of a connection that is not here.
type forward struct {
	packet  []byte
	client  netip.AddrPort
	addr    *net.UDPAddr // the client's, as the socket gave it
	control control
	id      []byte
	place   cid.Place
	by      *keys.Secret
	owner   *peer
	reason  Reason
	now     time.Time
	ns      int64 // since the hub's start
}

// Foreign takes the datagram of a connection that another edge holds, or an earlier process here: it is sent on, answered with a stateless reset, or
// dropped. id is its destination connection ID, of [cid.Len] octets, and p and by what that says. m is consumed; its buffers are not read after it.
//
// A reset is sent only when the connection is known to be over. While its owner lives, whoever knows the connection ID gets nothing from us that could end
// it (RFC 9000 §21.11); nor is there one for an edge that we do not know, which may live.
func (h *Hub) Foreign(worker uint8, m *ipv4.Message, id []byte, p cid.Place, by *keys.Secret) {
	f := forward{packet: m.Buffers[0][:m.N], id: id, place: p, by: by}
	m.N = 0
	l := h.lane(worker)
	if f.client = addrPort(m.Addr); l == nil || !f.client.IsValid() || len(id) != cid.Len || len(f.packet) == 0 {
		h.drop(dropMalformed)
		return
	}
	f.addr = m.Addr.(*net.UDPAddr)
	f.now = h.now()
	f.ns = h.since(f.now)
	if f.control = parseControl(m.OOB[:m.NN]); !f.control.local.IsValid() {
		f.control.local = l.local
	}
	if p.Edge == h.cfg.Self.Number {
		if p.Instance == h.cfg.Instance {
			h.drop(dropMalformed) // it is at home, and lives
			return
		}
		h.end(l, &f, replaced)
		return
	}
	f.owner = h.numbers[p.Edge]
	if f.owner == nil {
		h.drop(dropUnknownEdge)
		return
	}
	v := f.owner.view.Load()
	if why := v.over(p.Instance); why != alive {
		h.end(l, &f, why)
		return
	}
	f.reason = f.owner.reason(v)
	h.sendOn(l, &f)
}

// sendOn seals a packet for its owner. What bounds it comes first, since it costs least.
func (h *Hub) sendOn(l *lane, f *forward) {
	switch {
	case !allowOf(h.clients, rateKey(f.client.Addr()), f.ns):
		h.drop(dropClientRate)
		return
	case !f.owner.out.allow(f.ns):
		h.drop(dropRate)
		return
	case !f.control.local.IsValid():
		h.drop(dropMalformed)
		return
	}
	c := tunnel.Client{Remote: f.client, Local: netip.AddrPortFrom(f.control.local, h.port), ECN: f.control.ecn}
	l.mu.Lock()
	ok := h.seal(&l.batch, l, f.owner, tunnel.Forward, f.place.Worker, c, f.packet, f.now)
	l.mu.Unlock()
	if !ok {
		h.drop(dropLinkDown)
		return
	}
	f.owner.metrics.forwarded[f.reason].Inc()
	f.owner.last.Store(f.ns)
	h.note(f)
}

// seal adds a packet to the batch as one datagram for the peer, or two. false: the peer is not there. Whoever calls it has the batch to itself.
func (h *Hub) seal(b *batch, l *lane, p *peer, kind tunnel.Kind, worker uint8, c tunnel.Client, packet []byte, now time.Time) bool {
	if !b.room(2) {
		h.send(b, l)
	}
	pair, from := b.pair(), h.fromFor(p)
	n := p.link.Seal(now, kind, worker, c, packet, pair)
	for i := range n {
		b.add(pair[i].Bytes(), p.addr, from)
	}
	return n > 0
}

// Tunnelled takes such a datagram. true: m has become the datagram of a client of ours, with its addresses and ECN. It is never to be sent on again.
func (h *Hub) Tunnelled(worker uint8, m *ipv4.Message) bool {
	b := m.Buffers[0][:m.N]
	m.N = 0
	l := h.lane(worker)
	from, to, ok := tunnel.Peek(b)
	if l == nil || !ok {
		h.drop(dropMalformed)
		return false
	}
	p := h.numbers[from]
	if p == nil || to != h.cfg.Self.Number {
		h.drop(dropUnknownEdge)
		return false
	}
	now := h.now()
	o, err := p.link.Open(now, b)
	if err != nil {
		h.drop(dropOf(err))
		return false
	}
	if len(o.Answer) > 0 {
		h.answer(l, p, o.Answer)
	}
	switch o.Kind {
	case tunnel.Forward:
		return h.welcome(l, p, m, &o, h.since(now))
	case tunnel.Return:
		h.giveBack(l, p, &o, h.since(now))
	}
	if o.Hello != nil {
		h.greeted(p, o.Hello)
	}
	return false
}

// welcome makes m the datagram that a peer has sent on.
func (h *Hub) welcome(l *lane, p *peer, m *ipv4.Message, o *tunnel.Opened, ns int64) bool {
	c := o.Client
	local := c.Local.Addr()
	if !c.Remote.IsValid() || !local.IsValid() || c.Remote.Addr().Is4() != local.Is4() {
		h.drop(dropMalformed)
		return false
	}
	if len(o.Packet) > len(m.Buffers[0]) || maxControl > len(m.OOB) {
		h.drop(dropTooLarge)
		return false
	}
	m.N = copy(m.Buffers[0], o.Packet)
	m.NN = len(appendControl(m.OOB[:0], control{local: local, ecn: c.ECN}))
	id, _ := cid.Destination(m.Buffers[0][:m.N])
	m.Addr = h.remember(l, p, c, id, ns)
	p.metrics.received.Inc()
	p.last.Store(ns)
	return true
}

// giveBack sends a client what its connection's edge has for it: only if the client has sent packets for that edge through us lately, so that
// nobody's edge can use ours to send anybody anything.
func (h *Hub) giveBack(l *lane, p *peer, o *tunnel.Opened, ns int64) {
	addr := h.flowOf(o.Client, p, ns)
	if addr == nil {
		h.drop(dropNotForwarded)
		return
	}
	if !p.back.allow(ns) {
		h.drop(dropRate)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !h.copied(l, o.Packet, addr, control{local: o.Client.Local.Addr(), ecn: o.Client.ECN}) {
		h.drop(dropTooLarge)
		return
	}
	p.metrics.returned.Inc()
	p.last.Store(ns)
}

// answer sends a peer what its link wants to say. It goes to the address that we know, not to where the datagram came from.
func (h *Hub) answer(l *lane, p *peer, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !h.copied(l, data, p.addr, h.fromFor(p)) {
		h.drop(dropTooLarge)
	}
}

// copied adds a copy of data to what the lane, which is locked, sends at Flush. false: it does not fit.
func (h *Hub) copied(l *lane, data []byte, to *net.UDPAddr, c control) bool {
	b := &l.batch
	if !b.room(1) {
		h.send(b, l)
	}
	return b.copy(data, to, c)
}

// Flush sends what Tunnelled and Foreign have left to be sent since the last call. Call it after each batch.
func (h *Hub) Flush(worker uint8) {
	l := h.lane(worker)
	if l == nil {
		return
	}
	l.mu.Lock()
	if l.batch.n > 0 {
		h.send(&l.batch, l)
	}
	l.mu.Unlock()
}

// send sends a batch from the lane's socket.
func (h *Hub) send(b *batch, l *lane) {
	if n := b.send(l.conn); n > 0 {
		h.metrics.dropped[dropSend].Add(n)
	}
}

// end answers a packet of a connection that is over.
func (h *Hub) end(l *lane, f *forward, why cause) {
	switch {
	case f.packet[0]&0x80 != 0 || !f.control.local.IsValid():
		h.drop(dropNoReset) // it has no reset token yet, or there is no saying where from
		return
	case !h.resets.allow(f.ns):
		h.drop(dropResetRate)
		return
	}
	var b [maxReset]byte
	reset := resetFor(&b, len(f.packet), [cid.Len]byte(f.id), f.place, f.by, f.now)
	if reset == nil {
		h.drop(dropNoReset)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.copied(l, reset, f.addr, control{local: f.control.local}) {
		h.metrics.resets[why].Inc()
	}
}

// rateKey is whose packets count together: an IPv4 address, or an IPv6 network of 64 bits, of which one client may have all.
func rateKey(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
