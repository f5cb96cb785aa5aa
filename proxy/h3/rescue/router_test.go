package rescue

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// router is a client's way to the anycast address: all it sends goes to the edge of the moment.
type router struct {
	udp     *net.UDPConn
	anycast netip.Addr
	ports   []uint16
	to      atomic.Int32
	from    [3]atomic.Int64 // datagrams of each edge to the client
	lose    atomic.Bool     // what the client sends
	strict  atomic.Bool     // of the edges, only the one that the client's packets go to reaches it
	seen    atomic.Pointer[[]byte]
}

func newRouter(t *testing.T, f family, nodes []*node) *router {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(f.client)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	r := &router{udp: udp, anycast: netip.MustParseAddr(f.anycast)}
	for _, n := range nodes {
		r.ports = append(r.ports, n.port)
	}
	return r
}

func (r *router) address() *net.UDPAddr { return &net.UDPAddr{IP: r.anycast.AsSlice(), Port: 443} }

func (r *router) WriteTo(b []byte, _ net.Addr) (int, error) {
	if b[0]&0x80 == 0 {
		c := append([]byte(nil), b...)
		r.seen.Store(&c)
	}
	if r.lose.Load() {
		return len(b), nil
	}
	return r.udp.WriteToUDPAddrPort(b, netip.AddrPortFrom(r.anycast, r.ports[r.to.Load()]))
}

func (r *router) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(b)
		if err != nil {
			return 0, nil, err
		}
		if from.Addr().Unmap() != r.anycast {
			continue // a client takes nothing that is not from where it writes to
		}
		filtered := false
		for i, p := range r.ports {
			if p == from.Port() {
				r.from[i].Add(1)
				filtered = r.strict.Load() && int(r.to.Load()) != i
			}
		}
		if filtered {
			continue
		}
		return n, r.address(), nil
	}
}

func (r *router) Close() error { return r.udp.Close() }

func (r *router) LocalAddr() net.Addr { return r.udp.LocalAddr() }

func (r *router) SetDeadline(t time.Time) error { return r.udp.SetDeadline(t) }

func (r *router) SetReadDeadline(t time.Time) error { return r.udp.SetReadDeadline(t) }

func (r *router) SetWriteDeadline(t time.Time) error { return r.udp.SetWriteDeadline(t) }

// dial connects a client.
func (r *router) dial(t *testing.T) *quic.Conn {
	t.Helper()
	tr := &quic.Transport{Conn: r, ConnectionIDLength: 4}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	qc, err := tr.Dial(ctx, r.address(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"test"}}, &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		qc.CloseWithError(0, "")
		tr.Close()
	})
	return qc
}

// ask sends a request, the last octet of it after between, and checks the answer.
func ask(t *testing.T, r *router, qc *quic.Conn, body string, between func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := qc.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(s, body[:len(body)-1]); err != nil {
		t.Fatal(err)
	}
	if between != nil {
		between()
	}
	if _, err := io.WriteString(s, body[len(body)-1:]); err != nil {
		t.Fatal(err)
	}
	s.Close()
	b, err := io.ReadAll(s)
	if want := fmt.Sprintf("%v %s", r.udp.LocalAddr(), body); err != nil || string(b) != want {
		t.Fatalf("the answer is %.60q, %v; want %.60q", b, err, want)
	}
}
