package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/evil"
)

// speaker is a minimal edge, so that what the routers accept is known apart from what the real edge does.
type speaker struct {
	region   Region
	password string
	ttl      int
}

// tcpMD5Sig is struct tcp_md5sig of <linux/tcp.h>.
type tcpMD5Sig struct {
	address   [128]byte
	flags     uint8
	prefixlen uint8
	keylen    uint16
	ifindex   int32
	key       [80]byte
}

func md5Signature(peer netip.Addr, key string) *tcpMD5Sig {
	s := &tcpMD5Sig{keylen: uint16(len(key))}
	*(*uint16)(unsafe.Pointer(&s.address)) = unix.AF_INET
	copy(s.address[4:], peer.AsSlice())
	copy(s.key[:], key)
	return s
}

// dial establishes a session and announces both prefixes.
func (s speaker) dial(ctx context.Context) (net.Conn, error) {
	router4, _, own4, own6 := s.region.First().addresses()
	control := func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, s.ttl); err != nil || s.password == "" {
				return
			}
			key := md5Signature(router4, s.password)
			raw := unsafe.String((*byte)(unsafe.Pointer(key)), int(unsafe.Sizeof(*key)))
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, raw)
		})
		if cerr != nil {
			return cerr
		}
		return err
	}
	var conn net.Conn
	err := Namespace(Edge, s.region.First().Name()).Do(func() (err error) {
		d := net.Dialer{Control: control, Timeout: 2 * time.Second}
		d.SetMultipathTCP(false)
		conn, err = d.DialContext(ctx, "tcp4", router4.String()+":179")
		return err
	})
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if err := evil.Establish(conn, evil.Identity{ASN: edgeASN, RouterID: own4}, 90); err != nil {
		conn.Close()
		return nil, err
	}
	origin, asPath := []byte{0x40, 1, 1, 0}, []byte{0x40, 2, 6, 2, 1, 0, 0, 0xfb, 0xf4}
	v4 := evil.Update(nil, slices.Concat(origin, asPath, []byte{0x40, 3, 4}, own4.AsSlice()), []byte{24, 192, 0, 2})
	reach := slices.Concat([]byte{0, 2, 1, 16}, own6.AsSlice(), []byte{0, 48, 0x20, 1, 0x0d, 0xb8, 0, 0x53})
	v6 := evil.Update(nil, slices.Concat(origin, asPath, []byte{0x80, 14, byte(len(reach))}, reach), nil)
	if _, err := conn.Write(slices.Concat(v4, v6)); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// Both daemons take a secured session with the right key and hop limit, and no other; the routes then follow the shortest delay, and
// are gone the moment the session is.
func TestSessionsAndRoutes(t *testing.T) {
	l := upOrSkip(t, Options{NoEdges: true})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, r := range regions {
		if r.Secured {
			for _, wrong := range []speaker{{r, "another-key", 255}, {r, "", 255}, {r, password, 1}} {
				if conn, err := wrong.dial(ctx); err == nil {
					if s, err := l.Session(ctx, edgeName(r.Name)); err != nil || s.Established {
						t.Errorf("%s took a session of %+v: %+v %v", r.Daemon, wrong, s, err)
					}
					conn.Close()
				}
			}
		}
	}
	conns := map[string]net.Conn{}
	for _, r := range regions {
		right := speaker{r, "", 1}
		if r.Secured {
			right = speaker{r, password, 255}
		}
		err := await(ctx, r.Name+" to take the session", func() (bool, string, error) {
			conn, err := right.dial(ctx)
			conns[r.Name] = conn
			return err == nil, "", err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { conns[r.Name].Close() }()
	}
	for _, r := range regions {
		if err := l.awaitRoutes(ctx, r.Name, "the edge's routes", own, Prefix4, Prefix6); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Session(ctx, edgeName(r.Name)); err != nil || !s.Established {
			t.Errorf("%s: session %+v, %v", r.Name, s, err)
		}
		_, _, edge4, edge6 := r.First().addresses()
		for p, hop := range map[netip.Prefix]netip.Addr{Prefix4: edge4, Prefix6: edge6} {
			route, err := l.Route(ctx, r.Name, p)
			if best, ok := route.Best(); err != nil || !ok || best.NextHop != hop {
				t.Errorf("%s holds %s %s, want via %s: %v", r.Name, p, route, hop, err)
			}
		}
	}
	// One after the other goes away. Each time the routes of everyone left lead to the nearest that is still there.
	for i, gone := range []string{"fra", "tyo"} {
		conns[gone].Close()
		alive := map[string]bool{"nyc": true, "tyo": i == 0}
		for _, r := range regions {
			want := r.Name
			if !alive[want] {
				want = firstAlive(nearest(r.Name), alive)
			}
			for _, p := range []netip.Prefix{Prefix4, Prefix6} {
				err := l.awaitRoutes(ctx, r.Name, fmt.Sprintf("a route to %s without %s", want, gone), leadsTo(r.Name, want), p)
				if err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func firstAlive(names []string, alive map[string]bool) string {
	return names[slices.IndexFunc(names, func(n string) bool { return alive[n] })]
}
