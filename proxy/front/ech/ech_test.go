package ech

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"nearcast/fleet/keys"
)

const (
	secretA = "correct horse battery staple, thirty-two octets"
	secretB = "another secret that is not the same as the first"
	public  = "edge.example.com"
	hidden  = "secret.example.com"
)

var start = period(740).start().Start() // of a period

func ring(t testing.TB, secrets ...string) *keys.Ring {
	t.Helper()
	r, err := keys.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// server is an edge's TLS.
type server struct {
	ring *keys.Ring
	now  time.Time
	cfg  *tls.Config
	pool *x509.CertPool
}

func newServer(t testing.TB, secrets ...string) *server {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{public, hidden}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{ring: ring(t, secrets...), now: start, pool: x509.NewCertPool()}
	s.pool.AddCert(leaf)
	k := New(func() *keys.Ring { return s.ring }, public, func() time.Time { return s.now })
	s.cfg = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, GetEncryptedClientHelloKeys: k.Get}
	return s
}

// visit connects with an ECHConfigList and returns what the client saw, and the name that the server saw.
func (s *server) visit(t testing.TB, list []byte) (tls.ConnectionState, string, error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	var name string
	work.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		ts := tls.Server(c, s.cfg)
		if ts.Handshake() == nil {
			name = ts.ConnectionState().ServerName
			_, _ = ts.Write([]byte("x"))
			_ = ts.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, c)
	})
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tc := tls.Client(c, &tls.Config{RootCAs: s.pool, ServerName: hidden, EncryptedClientHelloConfigList: list})
	_, err = io.ReadAll(tc)
	state := tc.ConnectionState()
	c.Close()
	l.Close()
	work.Wait()
	return state, name, err
}

func publish(t testing.TB, now time.Time, secrets ...string) []byte {
	t.Helper()
	b, err := List(ring(t, secrets...), public, now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestListIsPinned: edges of two versions must encode the same octets.
func TestListIsPinned(t *testing.T) {
	const want = "0047fe0d00438c00200020a6e252151943e4a64b0af360be6a60f34e77c667e519c15cd7f07f4f7cb33652000800010001000100034010656467652e6578616d706c652e636f6d0000"
	got := publish(t, start.Add(time.Hour), secretA)
	if hex.EncodeToString(got) != want {
		t.Errorf("%x", got)
	}
	if !bytes.Equal(got, publish(t, start.Add(Period-1), secretA, secretB)) {
		t.Error("the list changes within a period, or with the second secret")
	}
}

func TestConfigIDs(t *testing.T) {
	r := ring(t, secretA, secretB)
	for p := period(700); p < 760; p++ {
		seen := map[uint8]bool{}
		for _, s := range r.All() {
			for _, at := range []period{p - 1, p, p + 1} {
				id := configID(s, at)
				if seen[id] {
					t.Errorf("period %d: the number %d is there twice", p, id)
				}
				seen[id] = true
			}
		}
	}
}

func TestValidity(t *testing.T) {
	for _, at := range []time.Duration{0, time.Hour, Period - 1} {
		from, until := Validity(start.Add(at))
		if !from.Equal(start) || until.Sub(from) != 28*24*time.Hour {
			t.Errorf("%s after the start: from %s until %s", at, from, until)
		}
	}
}

// TestAccepted: what an edge takes of what was published, by whom and when.
func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		name    string
		list    []byte
		secrets []string
		at      time.Duration // after start
		want    bool
	}{
		{"published by itself", publish(t, start, secretA), []string{secretA}, 0, true},
		{"a key's last moment as the current one", publish(t, start, secretA), []string{secretA}, Period - 1, true},
		{"a key's last moment", publish(t, start, secretA), []string{secretA}, 2*Period - 1, true},
		{"a key that is too old", publish(t, start, secretA), []string{secretA}, 2 * Period, false},
		{"published ahead", publish(t, start.Add(Period), secretA), []string{secretA}, 0, true},
		{"published two periods ahead", publish(t, start.Add(2*Period), secretA), []string{secretA}, 0, false},
		{"the second secret's", publish(t, start, secretA), []string{secretB, secretA}, 0, true},
		{"the second secret's of the last period", publish(t, start, secretA), []string{secretB, secretA}, Period, true},
		{"another secret's", publish(t, start, secretA), []string{secretB}, 0, false},
	} {
		s := newServer(t, c.secrets...)
		s.now = start.Add(c.at)
		state, name, err := s.visit(t, c.list)
		if c.want {
			if err != nil || !state.ECHAccepted || name != hidden {
				t.Errorf("%s: accepted %t, name %q, error %v", c.name, state.ECHAccepted, name, err)
			}
			continue
		}
		var rejected *tls.ECHRejectionError
		if !errors.As(err, &rejected) {
			t.Errorf("%s: accepted %t, error %v", c.name, state.ECHAccepted, err)
			continue
		}
		// What the client is sent instead is what is published now, and works.
		if now := publish(t, s.now, c.secrets...); !bytes.Equal(rejected.RetryConfigList, now) {
			t.Errorf("%s: to retry with %x, want %x", c.name, rejected.RetryConfigList, now)
		}
		if state, name, err := s.visit(t, rejected.RetryConfigList); err != nil || !state.ECHAccepted || name != hidden {
			t.Errorf("%s, again: accepted %t, name %q, error %v", c.name, state.ECHAccepted, name, err)
		}
	}
}

// TestReload: the secrets change, and the very next client is met with the new keys.
func TestReload(t *testing.T) {
	s := newServer(t, secretA)
	if _, _, err := s.visit(t, publish(t, start, secretB)); err == nil {
		t.Fatal("a key of a secret that is not there was accepted")
	}
	s.ring = ring(t, secretB, secretA)
	for _, secret := range []string{secretA, secretB} {
		if state, _, err := s.visit(t, publish(t, start, secret)); err != nil || !state.ECHAccepted {
			t.Errorf("accepted %t, error %v", state.ECHAccepted, err)
		}
	}
}

// TestWithout: a client that has no ECHConfigList is served as ever, over TLS 1.2 too.
func TestWithout(t *testing.T) {
	s := newServer(t, secretA)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s.cfg.MaxVersion = version
		if state, name, err := s.visit(t, nil); err != nil || state.ECHAccepted || name != hidden || state.Version != version {
			t.Errorf("TLS %#x: %q, error %v", version, name, err)
		}
	}
}

func TestKeysAreKept(t *testing.T) {
	s := newServer(t, secretA, secretB)
	for name, want := range map[string]int{public: 6, strings.ToUpper(public): 6, hidden: 0, "": 0} {
		hello := &tls.ClientHelloInfo{ServerName: name}
		if got, err := s.cfg.GetEncryptedClientHelloKeys(hello); err != nil || got == nil || len(got) != want {
			t.Errorf("%q: %d keys, error %v", name, len(got), err)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = s.cfg.GetEncryptedClientHelloKeys(hello) }); n != 0 {
			t.Errorf("%q: %v allocations", name, n)
		}
	}
}

// TestAnotherPublicName: a client with a record of a name that was given up is told, by a certificate for that name, to come without ECH.
func TestAnotherPublicName(t *testing.T) {
	s := newServer(t, secretA)
	list, err := List(ring(t, secretA), hidden, start)
	if err != nil {
		t.Fatal(err)
	}
	var rejected *tls.ECHRejectionError
	if _, _, err := s.visit(t, list); !errors.As(err, &rejected) || len(rejected.RetryConfigList) != 0 {
		t.Errorf("error %v", err)
	}
}

func TestPublicName(t *testing.T) {
	for _, s := range []string{public, "a.b", "xn--bcher-kva.example", "localhost", "1.example", "a-b.c0", strings.Repeat("a.", 126) + "a"} {
		if err := CheckPublicName(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"", ".", "a.", ".a", "a..b", "Edge.example", "*.example", "a_b.example", "-a.b", "a-.b", "192.0.2.1", "a.1", "a.0x1f",
		"a b", "bücher.example", "[::1]", strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a"} {
		if CheckPublicName(s) == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

// BenchmarkHandshake is what the server does more for a client with a current key, with one of the period before, and with a key that nobody has.
func BenchmarkHandshake(b *testing.B) {
	for _, c := range []struct {
		name string
		list []byte
	}{{"without", nil}, {"current", publish(b, start, secretA)}, {"previous", publish(b, start.Add(-Period), secretA)}, {"unknown", publish(b, start, secretB)}} {
		b.Run(c.name, func(b *testing.B) {
			s := newServer(b, secretA)
			for b.Loop() {
				_, _, _ = s.visit(b, c.list)
			}
		})
	}
}
