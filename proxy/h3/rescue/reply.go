package rescue

import (
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

const (
	maxHomes = 64 << 10
	homeLife = 30 * time.Second // after the last packet that another edge sent on
)

// Path is a client of ours and the address that it writes to: to each of them its packets may take another way.
type Path struct {
	Client netip.AddrPort
	Local  netip.Addr
}

// PathOf is that of a QUIC connection's addresses.
func PathOf(client, local net.Addr) Path { return Path{addrPort(client), addrPort(local).Addr()} }

// home is a client of ours whose packets reach another edge. Its shard's lock guards it.
type home struct {
	addr  *net.UDPAddr // as our socket would give it; shared, never changed
	local netip.Addr   // where it writes to, as via has it
	via   *peer
	id    [cid.Len]byte // that the latest packet went to
	last  int64         // since the hub's start
	since int64         // when its packets began to come by way of the region of via; since the hub's start
	stuck int64         // until then it does not get what is sent directly; since the hub's start
}

// remember notes that a peer has sent on a client's packet to a connection ID, and returns the client's address.
func (h *Hub) remember(l *lane, p *peer, c tunnel.Client, id []byte, ns int64) *net.UDPAddr {
	k := l.pathOf(c.Remote, c.Local.Addr())
	if s := h.source(k.Local, h.cfg.Reply == ReplyAuto); s != nil {
		s.used.Store(ns)
	}
	s := h.homes.lock(k)
	defer s.mu.Unlock()
	v := s.m[k]
	if v == nil {
		v = &home{addr: udpAddr(c.Remote, l.six)}
		h.homes.add(s, k, v)
	}
	if v.via == nil || v.via.edge.Region != p.edge.Region {
		v.since = ns
	}
	v.local, v.via, v.last = c.Local.Addr(), p, ns
	copy(v.id[:], id)
	return v.addr
}

// Home notes that a client's packet to a connection ID, of which m has the addresses, came here by itself, so that what goes to it may go the same way.
// The ID must be that of the latest which came the other way: a spoofed packet to some other connection says nothing. It costs next to nothing while no
// packets of clients of ours are sent on by other edges.
func (h *Hub) Home(worker uint8, m *ipv4.Message, id []byte) {
	if h.homes.count.Load() == 0 {
		return
	}
	client := addrPort(m.Addr)
	if h.away.lacks(client) {
		return
	}
	k := h.lane(worker).pathOf(client, parseControl(m.OOB[:m.NN]).local)
	s := h.homes.lock(k)
	if v := s.m[k]; v != nil && string(v.id[:]) == string(id) {
		h.homes.remove(s, k)
	}
	s.mu.Unlock()
}

// pathOf is what a packet of the lane's with these addresses belongs to. A socket that is bound to an address has no other.
func (l *lane) pathOf(client netip.AddrPort, local netip.Addr) Path {
	if l != nil && l.local.IsValid() {
		local = l.local
	}
	return Path{client, local}
}

// Away is for how long all packets of a client of ours have come by way of one other region; 0 when they have not.
func (h *Hub) Away(k Path) time.Duration {
	if h.homes.count.Load() == 0 || h.away.lacks(k.Client) {
		return 0
	}
	s := h.homes.lock(k)
	defer s.mu.Unlock()
	v := s.m[k]
	if v == nil || v.via.edge.Region == h.cfg.Self.Region {
		return 0
	}
	return time.Duration(v.last - v.since)
}

// Write sends what QUIC wants to send to a client, when that has to go through the tunnel; ok is false when it has not, and the socket must.
// With UDP_SEGMENT in oob, b is several datagrams. Safe for concurrent use.
func (h *Hub) Write(worker uint8, b, oob []byte, to *net.UDPAddr) (n, oobn int, err error, ok bool) {
	if h.cfg.Reply == ReplyDirect || h.homes.count.Load() == 0 {
		return 0, 0, nil, false
	}
	client := addrPort(to)
	if h.away.lacks(client) {
		return 0, 0, nil, false
	}
	l, c := h.lane(worker), parseControl(oob)
	k := l.pathOf(client, c.local)
	s := h.homes.lock(k)
	v := s.m[k]
	if v == nil {
		s.mu.Unlock()
		return 0, 0, nil, false
	}
	via, local, last, stuck := v.via, v.local, v.last, v.stuck
	s.mu.Unlock()
	now := h.now()
	ns := h.since(now)
	if l == nil || ns-last > int64(homeLife) || via.view.Load().reach != up || h.cfg.Reply == ReplyAuto && ns >= stuck && h.direct(k, now) {
		return 0, 0, nil, false
	}
	if !h.throughTunnel(l, worker, via, k.Client, local, b, c, now) {
		return 0, 0, nil, false
	}
	via.last.Store(ns)
	return len(b), len(oob), nil, true
}

// direct reports whether packets to the client are to go from here.
func (h *Hub) direct(k Path, now time.Time) bool {
	announced := h.announced(k.Local)
	if s := h.source(k.Local, true); s != nil {
		return s.direct(k.Client, announced, now)
	}
	return announced
}

// throughTunnel sends b, segment for segment, to the edge that the client's packets come from. false: nothing was sent.
func (h *Hub) throughTunnel(l *lane, worker uint8, via *peer, client netip.AddrPort, local netip.Addr, b []byte, c control, now time.Time) bool {
	size := c.segment
	if size <= 0 || size > len(b) {
		size = len(b)
	}
	through := batches.Get().(*batch)
	defer batches.Put(through)
	from := tunnel.Client{Remote: client, Local: netip.AddrPortFrom(local, h.port), ECN: c.ecn}
	sent := 0
	for len(b) > 0 {
		n := min(size, len(b))
		if h.seal(through, l, via, tunnel.Return, worker, from, b[:n], now) {
			sent++
		} else if sent == 0 {
			return false
		} else {
			h.drop(dropLinkDown)
		}
		b = b[n:]
	}
	h.send(through, l)
	via.metrics.returnedOut.Add(sent)
	return true
}
