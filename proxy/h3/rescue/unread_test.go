package rescue

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/rescue/tunnel"
)

// TestUnread: while a datagram lies in our socket that nobody has read, it may be the one that a silent peer has sent in time.
func TestUnread(t *testing.T) {
	ring, err := keys.New([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	h := New(Config{Self: Edge{Number: 1, Region: "a", Address: netip.MustParseAddr("127.0.0.1")}, Peers: []Edge{{Number: 2, Region: "b", Address: netip.MustParseAddr("127.0.0.2")}},
		Keys: func() *keys.Ring { return ring }, DeadAfter: 300 * time.Millisecond}, 443)
	h.Add(3, udp)
	now, p := time.Now(), h.peers[0]
	p.view.Store(&view{reach: up, heard: true, since: now})
	late := h.started.Add(2 * time.Second)
	for at := h.started; !at.After(late); at = at.Add(h.interval) { // we did not stand still
		p.link.Tick(at, tunnel.Hello{})
		h.judged = at
	}
	if h.unread() {
		t.Fatal("an empty socket")
	}
	if _, err := udp.WriteTo([]byte("greetings"), udp.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	if !h.unread() {
		t.Fatal("nothing is seen of the datagram")
	}
	if next := h.judge(late); p.view.Load().reach != up || next.Sub(late) > spareStep {
		t.Errorf("it is %v before we have read, and looked at again after %v", p.view.Load().reach, next.Sub(late))
	}
	p.spared = late.Add(-h.cfg.DeadAfter / 2)
	if h.judge(late); p.view.Load().reach != dead {
		t.Error("a socket that is never empty keeps the dead alive")
	}
	p.view.Store(&view{reach: up, heard: true, since: now})
	p.spared = time.Time{}
	if _, err := udp.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if h.judge(late); p.view.Load().reach != dead {
		t.Error("we have read everything, and it lives")
	}
}
