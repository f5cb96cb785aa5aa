package h3

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue"
	"nearcast/proxy/message"
)

const patience = 30 * time.Second

var (
	_ quic.OOBCapablePacketConn = (*generation)(nil)
	_ interface {
		ReadBatch([]ipv4.Message, int) (int, error)
	} = (*generation)(nil) // what quic-go looks for
)

type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

var ok = handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) { _ = w.WriteHeader(200, nil, 0) })

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// counts are the events of a server.
type counts struct{ admitted, failed, accepted, closed atomic.Int64 }

func (c *counts) events() Events {
	return Events{
		Admit:           func(netip.AddrPort) bool { c.admitted.Add(1); return true },
		HandshakeFailed: func(error) { c.failed.Add(1) },
		Accepted:        func() { c.accepted.Add(1) },
		Closed:          func(netip.AddrPort) { c.closed.Add(1) },
	}
}

type running struct {
	*Server
	counts counts
	cancel context.CancelFunc
	ended  chan error
}

func start(t testing.TB, h message.Handler, cfg Config) *running {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, []*net.UDPConn{udp}, h, cfg)
}

func startOn(t testing.TB, sockets []*net.UDPConn, h message.Handler, cfg Config) *running {
	t.Helper()
	var err error
	r := &running{ended: make(chan error, 1)}
	if cfg.TLS == nil {
		cfg.TLS = testTLS(t)
	}
	if cfg.Events.Admit == nil {
		cfg.Events = r.counts.events()
	}
	if r.Server, err = Listen(sockets, cfg); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.ended <- r.Serve(ctx, h) }()
	t.Cleanup(func() {
		r.cancel()
		select {
		case <-r.ended:
		case <-time.After(patience):
			t.Error("Serve did not return after its context ended")
		}
		if a, c := r.counts.admitted.Load(), r.counts.closed.Load(); a != c {
			t.Errorf("%d connections were admitted, %d closed", a, c)
		}
	})
	return r
}

func (r *running) udp() *net.UDPConn { return r.sockets[0].udp }

func (r *running) addr() string { return r.udp().LocalAddr().String() }

// dial opens a bare QUIC connection that speaks no HTTP by itself.
func (r *running) dial(t testing.TB) *quic.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	qc, err := quic.DialAddr(ctx, r.addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}},
		&quic.Config{MaxIdleTimeout: 2 * patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = qc.CloseWithError(0x100, "") })
	return qc
}

// get sends one request on a connection of its own, from where the edge asks itself.
func (r *running) get(t *testing.T) (*http.Response, error) {
	t.Helper()
	return r.getFrom(t, net.IPv4(127, 0, 0, 1))
}

// elsewhere is an address of this machine that no edge asks itself from.
var elsewhere = net.IPv4(127, 0, 0, 2)

func (r *running) getFrom(t *testing.T, client net.IP) (*http.Response, error) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: client})
	if err != nil {
		t.Fatal(err)
	}
	below := &quic.Transport{Conn: udp}
	defer func() { below.Close(); udp.Close() }()
	tr := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	tr.Dial = func(ctx context.Context, _ string, tlsCfg *tls.Config, cfg *quic.Config) (*quic.Conn, error) {
		return below.DialEarly(ctx, r.udp().LocalAddr(), tlsCfg, cfg)
	}
	defer tr.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://"+r.addr()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

// testFleet is that of edge 513, with those secrets.
func testFleet(t testing.TB, secrets ...string) *Fleet {
	t.Helper()
	ring, err := keys.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	f := &Fleet{Keys: func() *keys.Ring { return ring }}
	f.Rescue = &rescue.Config{Self: rescue.Edge{Number: 513, Address: netip.MustParseAddr("127.0.0.1")}, Instance: 7, Keys: f.Keys, DeadAfter: time.Second}
	return f
}

// TestConnectionIDsAreOurs looks at the wire: a client must be given IDs that say where its connection lives.
func TestConnectionIDsAreOurs(t *testing.T) {
	fleet := testFleet(t, "a")
	r := start(t, ok, Config{Fleet: fleet})
	client, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{PacketConn: client}
	tr := &quic.Transport{Conn: rec}
	defer func() { tr.Close(); client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	qc, err := tr.Dial(ctx, r.udp().LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = qc.CloseWithError(0, "")
	id := rec.serverCID()
	want := cid.Place{Edge: 513, Instance: 7, Generation: uint16(keys.At(time.Now()))}
	if p, _, ok := cid.NewCodec(fleet.Keys, time.Now()).Decode(id); !ok || p != want {
		t.Errorf("the server's connection ID % x says %+v, %t; want %+v", id, p, ok, want)
	}
}

// recorder keeps the first long-header packet that a client reads. It is a plain PacketConn, so it sees them all.
type recorder struct {
	net.PacketConn
	mu    sync.Mutex
	first []byte
}

func (r *recorder) ReadFrom(p []byte) (int, net.Addr, error) {
	n, a, err := r.PacketConn.ReadFrom(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > 0 && r.first == nil {
		r.first = bytes.Clone(p[:n])
	}
	return n, a, err
}

// serverCID is the source connection ID of the recorded packet (RFC 9000 §17.2).
func (r *recorder) serverCID() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.first[5:]
	b = b[1+int(b[0]):]
	return b[1 : 1+int(b[0])]
}

// TestSocketKeepsOffloads: quic-go must not fall back to the slow path because the socket is a type of ours.
func TestSocketKeepsOffloads(t *testing.T) {
	r := start(t, ok, Config{})
	r.dial(t)
	var gso, all int
	eventually(t, "the connection is served", func() bool {
		gso, all = 0, 0
		r.each(func(c *conn) {
			all++
			if c.qc.ConnectionState().GSO {
				gso++
			}
		})
		return all == 1
	})
	plain, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	raw, _ := plain.SyscallConn()
	var kernel error
	_ = raw.Control(func(fd uintptr) { _, kernel = unix.GetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT) })
	if kernel == nil && gso != 1 {
		t.Error("the kernel has GSO, and the connection does not use it")
	}
}

func TestInterfaceIsNotPinned(t *testing.T) {
	v4 := (&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1), IfIndex: 7}).Marshal()
	v6 := func(ip string) []byte {
		b := make([]byte, unix.CmsgSpace(20))
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(20)))
		binary.NativeEndian.PutUint32(b[8:], unix.IPPROTO_IPV6)
		binary.NativeEndian.PutUint32(b[12:], unix.IPV6_PKTINFO)
		copy(b[16:], net.ParseIP(ip).To16())
		binary.NativeEndian.PutUint32(b[32:], 7)
		return b
	}
	index := func(oob []byte, at int) uint32 { return binary.NativeEndian.Uint32(oob[at:]) }
	unpinInterface(v4)
	if i := index(v4, 16); i != 0 {
		t.Errorf("IPv4: interface %d stays", i)
	}
	global, local := v6("2001:db8::1"), v6("fe80::1")
	unpinInterface(global)
	unpinInterface(local)
	if index(global, 32) != 0 || index(local, 32) != 7 {
		t.Errorf("IPv6: global address with interface %d, link-local with %d; want 0 and 7", index(global, 32), index(local, 32))
	}
	if !bytes.Equal(global[16:32], net.ParseIP("2001:db8::1")) {
		t.Error("the address was changed")
	}
	two := append(bytes.Clone(v6("2001:db8::1")), v6("2001:db8::2")...)
	unpinInterface(two)
	if index(two, 32) != 0 || index(two, 40+32) != 0 {
		t.Error("only the first message was looked at")
	}
}

func FuzzUnpinInterface(f *testing.F) {
	f.Add((&ipv4.ControlMessage{Src: net.IPv4(192, 0, 2, 1), IfIndex: 7}).Marshal())
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, oob []byte) { unpinInterface(oob) })
}

func TestIdleConnectionIsClosedWithNoError(t *testing.T) {
	r := start(t, ok, Config{IdleTimeout: 300 * time.Millisecond})
	tests := map[string]func(qc *quic.Conn){
		"says nothing":              func(*quic.Conn) {},
		"half a header section":     func(qc *quic.Conn) { str, _ := qc.OpenStream(); _, _ = str.Write([]byte{0x01, 0x40}) },
		"keeps the QUIC layer busy": func(qc *quic.Conn) { go pester(qc) },
	}
	for name, act := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			qc := r.dial(t)
			act(qc)
			select {
			case <-qc.Context().Done():
			case <-time.After(patience):
				t.Fatal("still open")
			}
			var app *quic.ApplicationError
			var idle *quic.IdleTimeoutError
			err := context.Cause(qc.Context())
			if !(errors.As(err, &app) && app.ErrorCode == 0x100) && !errors.As(err, &idle) {
				t.Errorf("closed with %v, want H3_NO_ERROR or silence", err)
			}
		})
	}
}

// pester sends something on a stream type that means nothing (RFC 9114 §6.2.3) until the connection ends.
func pester(qc *quic.Conn) {
	str, err := qc.OpenUniStream()
	for err == nil {
		_, err = str.Write([]byte{0x21})
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRefusedByTheOwner(t *testing.T) {
	r := start(t, ok, Config{Events: Events{Admit: func(netip.AddrPort) bool { return false }}})
	_, err := r.get(t)
	var te *quic.TransportError
	if !errors.As(err, &te) || te.ErrorCode != quic.ConnectionRefused {
		t.Errorf("got %v, want CONNECTION_REFUSED", err)
	}
}

func TestFailedHandshakeIsReported(t *testing.T) {
	r := start(t, ok, Config{})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if qc, err := quic.DialAddr(ctx, r.addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"other"}}, nil); err == nil {
		_ = qc.CloseWithError(0, "")
		t.Error("an unknown application protocol was accepted")
	}
	eventually(t, "the failure is reported", func() bool { return r.counts.failed.Load() == 1 && r.counts.closed.Load() == 1 })
	if _, err := r.get(t); err != nil {
		t.Error(err)
	}
	if n := r.guard.HalfOpen(); n != 0 {
		t.Errorf("%d handshakes are counted as in progress", n)
	}
}

// TestManyHandshakesMustProveTheirAddress: above the threshold the server asks for a Retry, and honest clients still get in.
func TestManyHandshakesMustProveTheirAddress(t *testing.T) {
	r := start(t, ok, Config{})
	if r.sockets[0].current().tr.VerifySourceAddress(nil) {
		t.Error("asked for a Retry at rest")
	}
	press(r.Server, retryAbove)
	if !r.sockets[0].current().tr.VerifySourceAddress(nil) {
		t.Error("asked for none under load")
	}
	if resp, err := r.getFrom(t, elsewhere); err != nil || resp.StatusCode != 200 {
		t.Errorf("an honest client got %v, %v", resp, err)
	}
	press(r.Server, -retryAbove)
}

// TestSocketDeath: Serve must return and say why, not wait for packets that never come.
func TestSocketDeath(t *testing.T) {
	r := start(t, ok, Config{})
	if _, err := r.get(t); err != nil {
		t.Fatal(err)
	}
	r.udp().Close()
	select {
	case err := <-r.ended:
		if err == nil {
			t.Error("Serve said that all is well")
		}
		r.ended <- err
	case <-time.After(patience):
		t.Fatal("Serve still waits")
	}
}

func TestDrainDoesNotCutTheTail(t *testing.T) {
	const size = 4 << 20
	began, open := make(chan struct{}), make(chan struct{})
	r := start(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		close(began)
		<-open
		_ = w.WriteHeader(200, nil, size)
		_, _ = w.Write(make([]byte, size)) // returns long before the client has it
	}), Config{})
	got := make(chan error, 1)
	go func() {
		_, err := r.get(t)
		got <- err
	}()
	<-began
	r.Drain()
	r.StopAccepting()
	close(open)
	if err := <-got; err != nil {
		t.Errorf("the response in flight: %v", err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.ended <- err
	case <-time.After(patience):
		t.Fatal("Serve did not return after the last connection")
	}
}

// TestDrainClosesAClientThatStays: not every client understands GOAWAY.
func TestDrainClosesAClientThatStays(t *testing.T) {
	r := start(t, ok, Config{})
	qc := r.dial(t)
	eventually(t, "the connection is served", func() bool {
		n := 0
		r.each(func(c *conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.open {
				n++
			}
		})
		return n == 1
	})
	r.Drain()
	select {
	case <-qc.Context().Done():
	case <-time.After(patience):
		t.Fatal("still open")
	}
	var app *quic.ApplicationError
	if err := context.Cause(qc.Context()); !errors.As(err, &app) || app.ErrorCode != 0x100 {
		t.Errorf("closed with %v, want H3_NO_ERROR", err)
	}
}

func TestQuiet(t *testing.T) {
	const rtt = 100 * time.Millisecond
	type step struct {
		after  time.Duration
		active int
		sent   uint64
		want   bool
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"silence long enough", []step{{0, 0, 1, false}, {700 * time.Millisecond, 0, 1, false}, {100 * time.Millisecond, 0, 1, true}}},
		{"a packet begins it anew", []step{{0, 0, 1, false}, {700 * time.Millisecond, 0, 2, false}, {700 * time.Millisecond, 0, 2, false}, {100 * time.Millisecond, 0, 2, true}}},
		{"a request in flight is no silence", []step{{0, 1, 1, false}, {time.Hour, 1, 1, false}, {0, 0, 1, false}, {800 * time.Millisecond, 0, 1, true}}},
		{"a client that never falls silent", []step{{0, 0, 1, false}, {2 * time.Second, 0, 2, false}, {2 * time.Second, 0, 3, false}, {time.Second, 0, 4, true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var q quiet
			now := time.Unix(1000, 0)
			for i, s := range tt.steps {
				now = now.Add(s.after)
				if got := q.observe(now, s.active, quic.ConnectionStats{PacketsSent: s.sent, SmoothedRTT: rtt}); got != s.want {
					t.Errorf("step %d: %t, want %t", i, got, s.want)
				}
			}
		})
	}
}

func TestSmallBuffersAreSaid(t *testing.T) {
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	_ = udp.SetReadBuffer(8 << 10)
	var b strings.Builder
	s := &Server{sockets: []*socket{{udp: udp}}, log: slog.New(slog.NewTextHandler(&b, nil))}
	s.checkBuffers()
	if !strings.Contains(b.String(), "net.core.rmem_max") {
		t.Errorf("logged %q, want what to do", b.String())
	}
}
