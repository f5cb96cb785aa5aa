package front

import (
	"net"
	"net/netip"

	"nearcast/proxy/message"
)

// minEarly is how many connections may always be in their beginning, however few there may be in all.
const minEarly = 64

// maxEarly is how many connections may be in their beginning: before the end of a PROXY protocol header, a TLS handshake, or the first
// bytes of a request. It is half of all, so that clients that never get further leave room for those that did.
func (f *Front) maxEarly() int64 { return int64(max(f.limits.MaxConnections/2, minEarly)) }

// welcome counts a new TCP connection in; nil when it is one too many.
func (f *Front) welcome(l *tcpListener, c net.Conn) *guest {
	client := message.AddrPort(c.RemoteAddr()).Addr()
	g := &guest{conn: c, counts: client, named: l.named(client), early: true}
	if g.named {
		g.counts = netip.Addr{}
	}
	if f.early.Add(1) > f.maxEarly() {
		f.early.Add(-1)
		l.m.refused[refusedEarly].Inc()
		return nil
	}
	if !f.admit(l.m, g.counts, l.tls != nil) {
		f.early.Add(-1)
		return nil
	}
	return g
}

// named reports whether the peer is a load balancer whose connections begin with a PROXY protocol header.
func (l *tcpListener) named(peer netip.Addr) bool {
	for _, p := range l.info.Proxies {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}

// settle is called when the connection begins to speak HTTP.
func (f *Front) settle(g *guest) {
	if g.early {
		g.early = false
		f.early.Add(-1)
	}
}

// farewell ends what welcome began.
func (f *Front) farewell(m *listenerMetrics, g *guest) {
	f.settle(g)
	f.release(m, g.counts)
}

// admit counts a connection in, unless there are as many as there may be, in all or of the address.
func (f *Front) admit(m *listenerMetrics, addr netip.Addr, handshake bool) bool {
	if n := f.open.Add(1); f.limits.MaxConnections > 0 && n > int64(f.limits.MaxConnections) {
		f.open.Add(-1)
		m.refused[refusedLimit].Inc()
		return false
	}
	if !f.admitAddress(m, addr, handshake) {
		f.open.Add(-1)
		return false
	}
	m.open.Inc()
	return true
}

// admitAddress counts a connection of addr in, unless it has as many as it may have or begins handshakes too fast.
func (f *Front) admitAddress(m *listenerMetrics, addr netip.Addr, handshake bool) bool {
	v, forgot := f.addresses.admit(addr, handshake)
	if forgot {
		f.m.forgotten.Inc()
	}
	switch v {
	case tooManyConns:
		m.refused[refusedAddress].Inc()
	case tooManyHandshakes:
		m.refused[refusedHandshakes].Inc()
	case tableFull:
		m.refused[refusedTable].Inc()
	}
	return v == admitted
}

func (f *Front) release(m *listenerMetrics, addr netip.Addr) {
	f.addresses.release(addr)
	m.open.Dec()
	f.open.Add(-1)
}
