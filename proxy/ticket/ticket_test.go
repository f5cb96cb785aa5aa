package ticket

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

const (
	secretA = "correct horse battery staple, thirty-two octets"
	secretB = "another secret that is not the same as the first"
)

// edge is a TLS server with a box, secrets and a clock of its own.
type edge struct {
	cfg  *tls.Config
	ring *keys.Ring
	now  time.Time
}

func newEdge(t testing.TB, transport Transport, secrets ...string) *edge {
	e := &edge{now: keys.Epoch(20000).Start().Add(12 * time.Hour), cfg: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}}
	e.load(t, secrets...)
	Shared(func() *keys.Ring { return e.ring }, transport, func() time.Time { return e.now }).Use(e.cfg)
	return e
}

// load is what the reload of a secret file comes to.
func (e *edge) load(t testing.TB, secrets ...string) {
	t.Helper()
	var err error
	if e.ring, err = keys.New(secrets); err != nil {
		t.Fatal(err)
	}
}

var certificate = func() func(t testing.TB) tls.Certificate {
	var once sync.Once
	var made tls.Certificate
	return func(t testing.TB) tls.Certificate {
		once.Do(func() {
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.test"}, NotAfter: time.Now().Add(time.Hour)}
			der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
			if err != nil {
				t.Fatal(err)
			}
			made = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
		})
		return made
	}
}()

// visit connects to an edge and reports whether the session was resumed. The server's configuration is a clone, as a QUIC server makes it.
func visit(t testing.TB, e *edge, sessions tls.ClientSessionCache, version uint16) bool {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	defer work.Wait()
	defer l.Close()
	work.Go(func() {
		server, err := l.Accept()
		if err != nil {
			return
		}
		defer server.Close()
		s := tls.Server(server, e.cfg.Clone())
		_, _ = s.Write([]byte("x"))
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, server)
	})
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: "example.test", ClientSessionCache: sessions, MaxVersion: version})
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().DidResume
}

// TestSharedTickets: a client with a ticket of one edge comes to another.
func TestSharedTickets(t *testing.T) {
	day := 24 * time.Hour
	of := func(transport Transport, secrets ...string) func() *edge {
		return func() *edge { return newEdge(t, transport, secrets...) }
	}
	for _, c := range []struct {
		name   string
		from   func() *edge
		change func(to *edge)
		to     func() *edge
		want   bool
	}{
		{"the same secret", of(TCP, secretA), nil, of(TCP, secretA), true},
		{"another secret", of(TCP, secretA), nil, of(TCP, secretB), false},
		{"another transport", of(TCP, secretA), nil, of(QUIC, secretA), false},
		{"a secret that is on its way in", of(TCP, secretA), nil, of(TCP, secretB, secretA), true},
		{"a secret that the first edge only accepts", of(TCP, secretA, secretB), nil, of(TCP, secretB), false},
		{"the next day", of(TCP, secretA), func(to *edge) { to.now = to.now.Add(day) }, of(TCP, secretA), true},
		{"seven days later", of(TCP, secretA), func(to *edge) { to.now = to.now.Add(7 * day) }, of(TCP, secretA), true},
		{"eight days later", of(TCP, secretA), func(to *edge) { to.now = to.now.Add(8 * day) }, of(TCP, secretA), false},
		{"a clock that is behind", of(TCP, secretA), func(to *edge) { to.now = to.now.Add(-day) }, of(TCP, secretA), true},
		{"a clock that is far behind", of(TCP, secretA), func(to *edge) { to.now = to.now.Add(-2 * day) }, of(TCP, secretA), false},
		{"a secret moved to the first line", of(TCP, secretA, secretB), func(to *edge) { to.load(t, secretB, secretA) }, of(TCP, secretA, secretB), true},
		{"a secret taken out", of(TCP, secretA), func(to *edge) { to.load(t, secretB) }, of(TCP, secretA, secretB), false},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			from, to := c.from(), c.to()
			if visit(t, to, tls.NewLRUClientSessionCache(1), version) { // which makes the keys, before anything changes
				t.Errorf("%s: a first connection was resumed", c.name)
			}
			sessions := tls.NewLRUClientSessionCache(1)
			visit(t, from, sessions, version)
			if c.change != nil {
				c.change(to)
			}
			want := c.want && version == tls.VersionTLS13
			if got := visit(t, to, sessions, version); got != want {
				t.Errorf("%s, TLS %#x: resumed %t", c.name, version, got)
			}
		}
	}
}

// TestOlderTicketsAreOfOwnKeys: they are good where they were made, and nothing that is made of the secret reads them.
func TestOlderTicketsAreOfOwnKeys(t *testing.T) {
	e := newEdge(t, TCP, secretA)
	sessions := tls.NewLRUClientSessionCache(1)
	for i := range 3 {
		if got := visit(t, e, sessions, tls.VersionTLS12); got != (i > 0) {
			t.Errorf("connection %d: resumed %t", i, got)
		}
		e.now = e.now.Add(24 * time.Hour)
		e.load(t, []string{secretB, secretA}[i%2])
	}
}

// TestNewTicketsAreOfTheFirstSecret: after a reload, with the very next connection.
func TestNewTicketsAreOfTheFirstSecret(t *testing.T) {
	a, b := newEdge(t, TCP, secretA, secretB), newEdge(t, TCP, secretB)
	sessions := tls.NewLRUClientSessionCache(1)
	visit(t, a, sessions, tls.VersionTLS13)
	if visit(t, b, sessions, tls.VersionTLS13) {
		t.Error("a ticket is of the second secret")
	}
	a.load(t, secretB, secretA)
	sessions = tls.NewLRUClientSessionCache(1)
	visit(t, a, sessions, tls.VersionTLS13)
	if !visit(t, b, sessions, tls.VersionTLS13) {
		t.Error("after the reload a ticket is not of the first secret")
	}
}

// TestRotationUnderLoad is for the race detector: the ring and the day change while tickets are made.
func TestRotationUnderLoad(t *testing.T) {
	var mu sync.Mutex
	e := newEdge(t, QUIC, secretA)
	box := Shared(func() *keys.Ring { mu.Lock(); defer mu.Unlock(); return e.ring }, QUIC, func() time.Time { mu.Lock(); defer mu.Unlock(); return e.now })
	box.Use(e.cfg)
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			sessions := tls.NewLRUClientSessionCache(1)
			for range 20 {
				visit(t, e, sessions, tls.VersionTLS13)
			}
		})
	}
	for i := range 20 {
		mu.Lock()
		e.now = e.now.Add(24 * time.Hour)
		e.load(t, []string{secretA, secretB}[i%2])
		mu.Unlock()
	}
	work.Wait()
}

func FuzzUnwrap(f *testing.F) {
	e := newEdge(f, TCP, secretA)
	sealed, err := e.cfg.WrapSession(tls.ConnectionState{Version: tls.VersionTLS13}, new(tls.SessionState))
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{nil, {0}, make([]byte, 48), sealed, sealed[1:], append(sealed[:len(sealed):len(sealed)], 0)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := e.cfg.UnwrapSession(b, tls.ConnectionState{Version: tls.VersionTLS13}); err != nil || s != nil && string(b) != string(sealed) {
			t.Errorf("%x: session %v, error %v", b, s, err)
		}
	})
}

// BenchmarkForeignTicket is what a ticket of unknown keys costs, which anybody can make.
func BenchmarkForeignTicket(b *testing.B) {
	for _, secrets := range [][]string{{secretA}, {secretA, secretB}} {
		b.Run(map[int]string{1: "one secret", 2: "two secrets"}[len(secrets)], func(b *testing.B) {
			e, foreign := newEdge(b, TCP, secrets...), make([]byte, 200)
			for b.Loop() {
				_, _ = e.cfg.UnwrapSession(foreign, tls.ConnectionState{Version: tls.VersionTLS13})
			}
		})
	}
}
