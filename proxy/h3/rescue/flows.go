package rescue

import (
	"net"
	"net/netip"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

const (
	maxFlows   = 64 << 10
	flowLife   = 60 * time.Second // for so long after its last packet the owner may answer through us
	mournLife  = 30 * time.Second // for so long after its last packet the client is told that the owner died
	mournBurst = 512              // resets at once when an owner died,
	mournPause = 10 * time.Millisecond
)

// flowKey names the packets of a client for the connections that one edge holds.
type flowKey struct {
	client netip.AddrPort
	local  netip.Addr // where it sends to
	owner  uint8      // index in peers
}

// flow is what is known of them. Its shard's lock guards it.
type flow struct {
	addr *net.UDPAddr // the client's
	move *move
	last int64 // since the hub's start, nanoseconds

	// of the latest packet with a short header
	id    [cid.Len]byte
	place cid.Place
	by    *keys.Secret
	size  int // octets, of the largest; 0: there was none
}

// note remembers a packet of the client that has been sent on.
func (h *Hub) note(f *forward) {
	k := flowKey{f.client, f.control.local, f.owner.index}
	s := h.flows.lock(k)
	v := s.m[k]
	fresh := v == nil
	if fresh {
		v = &flow{addr: f.addr}
		h.flows.add(s, k, v)
	}
	v.last = f.ns
	if f.packet[0]&0x80 == 0 {
		v.id, v.place, v.by = [cid.Len]byte(f.id), f.place, f.by
		v.size = max(v.size, len(f.packet))
	}
	mv := v.move
	s.mu.Unlock()
	if fresh {
		mv = h.moves.seen(f.client.Addr(), f.owner, f.reason, f.now)
		s := h.flows.lock(k)
		v.move = mv
		s.mu.Unlock()
	}
	if mv != nil {
		mv.packets.Add(1)
	}
}

// flowOf returns where to send what owner wants to have sent to client; nil when the client has not sent it anything through us lately.
func (h *Hub) flowOf(c tunnel.Client, owner *peer, ns int64) *net.UDPAddr {
	k := flowKey{c.Remote, c.Local.Addr(), owner.index}
	s := h.flows.lock(k)
	defer s.mu.Unlock()
	v := s.m[k]
	if v == nil || ns-v.last > int64(flowLife) {
		return nil
	}
	return v.addr
}

// mourn takes out of one shard up to n of the flows that a dead owner had, and appends a reset for each that is recent enough to be of use.
// more: there were more.
func (h *Hub) mourn(s *shard[flowKey, flow], owner *peer, v *view, n int, ns int64, now time.Time, out []obituary) (_ []obituary, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, f := range s.m {
		if k.owner != owner.index || f.size == 0 || v.over(f.place.Instance) == alive {
			continue
		}
		if len(out) >= n {
			return out, true
		}
		if ns-f.last <= int64(mournLife) {
			out = append(out, obituary{to: f.addr, local: k.local, id: f.id, place: f.place, by: f.by, size: f.size})
		}
		h.flows.remove(s, k)
	}
	return out, false
}

// obituary is what a client has to be told.
type obituary struct {
	to    *net.UDPAddr
	local netip.Addr
	id    [cid.Len]byte
	place cid.Place
	by    *keys.Secret
	size  int
}
