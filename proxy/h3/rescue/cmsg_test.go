package rescue

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

func TestControl(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []control{{}, {local: v4}, {local: v4, ecn: 1}, {local: v6}, {local: v6, ecn: 3}} {
		b := appendControl(nil, c)
		if got := parseControl(b); got != c {
			t.Errorf("%+v is read as %+v", c, got)
		}
		if len(b) > maxControl {
			t.Errorf("%+v takes %d octets, for which there is no room", c, len(b))
		}
	}
	// What QUIC gives to the socket: its address by way of x/net, then the size of segments and ECN.
	segment := binary.NativeEndian.AppendUint16(nil, 1200)
	for _, c := range []struct {
		oob  []byte
		want control
	}{
		{(&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1).To4()}).Marshal(), control{local: v4, segment: 1200}},
		{(&ipv6.ControlMessage{Src: v6.AsSlice()}).Marshal(), control{local: v6, segment: 1200}},
	} {
		if got := parseControl(appendMessage(c.oob, unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment)); got != c.want {
			t.Errorf("what QUIC sends is read as %+v, want %+v", got, c.want)
		}
	}
	mapped := netip.AddrFrom16(v4.As16()).As16()
	info := append(mapped[:], 0, 0, 0, 0)
	if got := parseControl(appendMessage(nil, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, info)); got.local != v4 {
		t.Errorf("a mapped address is read as %v", got.local)
	}
}

// What the hub says of a tunnelled datagram is what the kernel would have said, had the datagram come by itself: octet for octet but for the interface.
func TestControlIsTheKernels(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			udp := listen(t, f, 0)
			defer udp.Close()
			raw, _ := udp.SyscallConn()
			raw.Control(func(fd uintptr) {
				for _, o := range [][2]int{{unix.IPPROTO_IP, unix.IP_RECVTOS}, {unix.IPPROTO_IP, unix.IP_PKTINFO}, {unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS}, {unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO}} {
					unix.SetsockoptInt(int(fd), o[0], o[1], 1)
				}
			})
			client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(f.client)})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			anycast := netip.MustParseAddr(f.anycast)
			ecn := appendControl(nil, control{local: netip.MustParseAddr(f.client), ecn: 2})
			if _, _, err := client.WriteMsgUDPAddrPort([]byte("x"), ecn, netip.AddrPortFrom(anycast, uint16(udp.LocalAddr().(*net.UDPAddr).Port))); err != nil {
				t.Fatal(err)
			}
			udp.SetReadDeadline(time.Now().Add(10 * time.Second))
			m := []ipv4.Message{{Buffers: [][]byte{make([]byte, 10)}, OOB: make([]byte, 128)}}
			if _, err := ipv4.NewPacketConn(udp).ReadBatch(m, 0); err != nil {
				t.Fatal(err)
			}
			want := control{local: anycast, ecn: 2}
			if got := parseControl(m[0].OOB[:m[0].NN]); got != want {
				t.Errorf("the kernel's control messages are read as %+v", got)
			}
			from := addrPort(client.LocalAddr())
			if got, want := udpAddr(from, isSix(udp)), m[0].Addr.(*net.UDPAddr); len(got.IP) != len(want.IP) || got.String() != want.String() {
				t.Errorf("the address is %#v, the socket gives %#v", got, want)
			}
			if isSix(udp) != f.six {
				t.Errorf("the socket's family is not known")
			}
		})
	}
}

func FuzzControl(f *testing.F) {
	f.Add(appendControl(nil, control{local: netip.MustParseAddr("192.0.2.1"), ecn: 1}))
	f.Add(appendControl(nil, control{local: netip.MustParseAddr("2001:db8::1"), ecn: 1}))
	f.Add(appendMessage(nil, unix.IPPROTO_UDP, unix.UDP_SEGMENT, []byte{1, 2}))
	f.Add(appendMessage(nil, unix.IPPROTO_IP, unix.IP_TOS, nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseControl(b)
		if c.ecn > 3 || c.segment < 0 || c.local.Is4In6() {
			t.Errorf("%x is read as %+v", b, c)
		}
		if d := parseControl(appendControl(nil, control{local: c.local, ecn: c.ecn})); c.local.IsValid() && (d.local != c.local || d.ecn != c.ecn) {
			t.Errorf("%+v is written and read as %+v", c, d)
		}
	})
}
