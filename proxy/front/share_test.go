package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"

	"nearcast/fleet/keys"
	"nearcast/proxy/front/ech"
)

const (
	secretA = "correct horse battery staple, thirty-two octets"
	secretB = "another secret that is not the same as the first"
)

// shared is an edge of a fleet.
type shared struct {
	*edge
	ring atomic.Pointer[keys.Ring]
}

// load is what the reload of the secret file comes to.
func (s *shared) load(t *testing.T, secrets ...string) {
	t.Helper()
	ring, err := keys.New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	s.ring.Store(ring)
}

// startShared runs an edge that takes 0-RTT and has these secrets.
func startShared(t *testing.T, tlsCfg TLSConfig, secrets ...string) *shared {
	t.Helper()
	s := new(shared)
	s.load(t, secrets...)
	tlsCfg.EarlyData = true
	if tlsCfg.Certificates == nil {
		tlsCfg.Certificates = []CertificateConfig{writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")}
	}
	s.edge = startInFleet(t, Fleet{Keys: s.ring.Load}, text(200, "hello"), testLimits(), tlsCfg, []ListenConfig{{Address: "127.0.0.1:0", TLS: true}})
	return s
}

// sessions is a cache that says when a ticket has come.
type sessions struct {
	tls.ClientSessionCache
	once sync.Once
	came chan struct{}
}

func newSessions() *sessions {
	return &sessions{ClientSessionCache: tls.NewLRUClientSessionCache(4), came: make(chan struct{})}
}

func (s *sessions) Put(key string, state *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, state)
	if state != nil {
		s.once.Do(func() { close(s.came) })
	}
}

// visited is how an edge received a client.
type visited struct {
	resumed, early, ech bool
	err                 error
}

// visitor is a client that visits edges with what it learned at others.
type visitor struct {
	name  string
	visit func(t *testing.T, e *edge, cfg *tls.Config, early bool) visited
}

var visitors = []visitor{{"TCP", visitTCP}, {"QUIC", visitQUIC}}

func visitTCP(t *testing.T, e *edge, cfg *tls.Config, _ bool) visited {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", e.addr(0), cfg)
	if err != nil {
		return visited{err: err}
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	_, _ = c.Write([]byte("GET / HTTP/1.1\r\nHost: example.test\r\n\r\n"))
	if _, err := c.Read(make([]byte, 1)); err != nil { // after the ticket
		return visited{err: err}
	}
	st := c.ConnectionState()
	return visited{resumed: st.DidResume, ech: st.ECHAccepted}
}

func visitQUIC(t *testing.T, e *edge, cfg *tls.Config, early bool) visited {
	t.Helper()
	cfg = cfg.Clone()
	cfg.NextProtos = []string{"h3"}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dial := quic.DialAddr
	if early {
		dial = quic.DialAddrEarly
	}
	qc, err := dial(ctx, e.addr(0), cfg, nil)
	if err != nil {
		return visited{err: err}
	}
	defer func() { _ = qc.CloseWithError(0, "") }()
	select {
	case <-qc.HandshakeComplete():
	case <-qc.Context().Done():
		return visited{err: context.Cause(qc.Context())}
	}
	if s, ok := cfg.ClientSessionCache.(*sessions); ok {
		select {
		case <-s.came:
		case <-ctx.Done():
			t.Fatal("no session ticket")
		}
	}
	st := qc.ConnectionState()
	return visited{resumed: st.TLS.DidResume, early: st.Used0RTT, ech: st.TLS.ECHAccepted}
}

// TestResumptionAcrossEdges: a client comes with a ticket of another edge.
func TestResumptionAcrossEdges(t *testing.T) {
	first, same, other := startShared(t, TLSConfig{}, secretA), startShared(t, TLSConfig{}, secretA), startShared(t, TLSConfig{}, secretB)
	for _, v := range visitors {
		t.Run(v.name, func(t *testing.T) {
			come := func(s *sessions, e *shared) visited {
				cfg := insecure.Clone()
				cfg.ClientSessionCache = s
				got := v.visit(t, e.edge, cfg, true)
				if got.err != nil {
					t.Fatal(got.err)
				}
				return got
			}
			s, early := newSessions(), v.name == "QUIC"
			if got := come(s, first); got != (visited{}) {
				t.Errorf("the first visit: %+v", got)
			}
			if got := come(s, same); got != (visited{resumed: true, early: early}) {
				t.Errorf("at an edge with the same secret: %+v", got)
			}
			if got := come(s, other); got != (visited{}) {
				t.Errorf("at an edge with another secret: %+v", got)
			}
			// A secret is put in as the second, then moved to the first line: no restart, and no ticket lost.
			s = newSessions()
			come(s, first)
			other.load(t, secretB, secretA)
			if got := come(s, other); !got.resumed || got.early != early {
				t.Errorf("at an edge that has the secret since just now: %+v", got)
			}
			s = newSessions()
			come(s, other)
			if got := come(s, first); got.resumed {
				t.Errorf("the second secret has made a ticket: %+v", got)
			}
			other.load(t, secretA, secretB)
			s = newSessions()
			come(s, other)
			if got := come(s, first); !got.resumed || got.early != early {
				t.Errorf("the secret in the first line made no ticket: %+v", got)
			}
			other.load(t, secretB)
		})
	}
}

const publicName = "edge.example.test"

// echClient is a client that has an ECHConfigList and asks for example.test.
func echClient(pool *x509.CertPool, list []byte) *tls.Config {
	return &tls.Config{RootCAs: pool, ServerName: "example.test", EncryptedClientHelloConfigList: list}
}

func echList(t *testing.T, now time.Time, secret string) []byte {
	t.Helper()
	ring, err := keys.New([]string{secret})
	if err != nil {
		t.Fatal(err)
	}
	list, err := ech.List(ring, publicName, now)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// poolOf trusts a pair's certificate.
func poolOf(t *testing.T, pairs ...CertificateConfig) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	for _, p := range pairs {
		data, err := os.ReadFile(p.CertFile)
		if err != nil || !pool.AppendCertsFromPEM(data) {
			t.Fatalf("%s: %v", p.CertFile, err)
		}
	}
	return pool
}

// TestECHAcrossEdges: what was published for the fleet is good at each edge, over TCP and QUIC; who has an outdated key is told the new one.
func TestECHAcrossEdges(t *testing.T) {
	dir, later := t.TempDir(), time.Now().Add(90*24*time.Hour)
	site, public := writePair(t, dir, "site", later, "example.test"), writePair(t, dir, "public", later, publicName)
	cfg := TLSConfig{ECH: &ECHConfig{PublicName: publicName}, Certificates: []CertificateConfig{site, public}}
	pool := poolOf(t, site, public)
	current, outdated := echList(t, time.Now(), secretA), echList(t, time.Now().Add(-3*ech.Period), secretA)
	edges := []*shared{startShared(t, cfg, secretA), startShared(t, cfg, secretB, secretA)}
	for _, v := range visitors {
		for i, e := range edges {
			if got := v.visit(t, e.edge, echClient(pool, current), false); got != (visited{ech: true}) {
				t.Errorf("%s, edge %d: %+v", v.name, i, got)
			}
			got := v.visit(t, e.edge, echClient(pool, outdated), false)
			var rejected *tls.ECHRejectionError
			if !errors.As(got.err, &rejected) || len(rejected.RetryConfigList) == 0 {
				t.Errorf("%s, edge %d, outdated: %+v", v.name, i, got)
				continue
			}
			if got := v.visit(t, e.edge, echClient(pool, rejected.RetryConfigList), false); got != (visited{ech: true}) {
				t.Errorf("%s, edge %d, with the new key: %+v", v.name, i, got)
			}
			if got := v.visit(t, e.edge, echClient(pool, nil), false); got != (visited{}) {
				t.Errorf("%s, edge %d, without: %+v", v.name, i, got)
			}
		}
	}
	for i, e := range edges {
		eventually(t, "the handshakes are counted", func() bool {
			got := e.metric("nearcast_tls_ech_handshakes_total")
			return got == `nearcast_tls_ech_handshakes_total{result="accepted"} 4`+"\n"+`nearcast_tls_ech_handshakes_total{result="outdated"} 2`
		})
		e.load(t, secretB)
		for _, v := range visitors {
			if got := v.visit(t, e.edge, echClient(pool, current), false); got.err == nil {
				t.Errorf("%s, edge %d: the key of a secret that was taken out: %+v", v.name, i, got)
			}
			if got := v.visit(t, e.edge, echClient(pool, echList(t, time.Now(), secretB)), false); got != (visited{ech: true}) {
				t.Errorf("%s, edge %d, after the reload: %+v", v.name, i, got)
			}
		}
	}
}

// TestECHResumes: the ticket of a connection with ECH is good at another edge, with ECH.
func TestECHResumes(t *testing.T) {
	dir, later := t.TempDir(), time.Now().Add(90*24*time.Hour)
	site := writePair(t, dir, "site", later, "example.test", publicName)
	cfg := TLSConfig{ECH: &ECHConfig{PublicName: publicName}, Certificates: []CertificateConfig{site}}
	edges := []*shared{startShared(t, cfg, secretA), startShared(t, cfg, secretA)}
	for _, v := range visitors {
		client := echClient(poolOf(t, site), echList(t, time.Now(), secretA))
		client.ClientSessionCache = newSessions()
		for i, e := range edges {
			want := visited{resumed: i == 1, early: i == 1 && v.name == "QUIC", ech: true}
			if got := v.visit(t, e.edge, client, true); got != want {
				t.Errorf("%s, edge %d: %+v", v.name, i, got)
			}
		}
	}
}

// TestECHNeeds: a certificate for the public name, and a fleet.
func TestECHNeeds(t *testing.T) {
	dir := t.TempDir()
	site := writePair(t, dir, "site", time.Now().Add(time.Hour), "example.test", "*.example.net")
	listen := []ListenConfig{{Address: "127.0.0.1:0", TLS: true}}
	for name, want := range map[string]string{
		publicName:         "tls.ech.public_name is edge.example.test, but none of tls.certificates is for it",
		"edge.example.net": "tls.ech needs a fleet",
	} {
		cfg := TLSConfig{ECH: &ECHConfig{PublicName: name}, Certificates: []CertificateConfig{site}}
		_, err := Open(listen, cfg, testLimits(), nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(listen, cfg); (err == nil) != (name != publicName) {
			t.Errorf("%s, checked: %v", name, err)
		}
	}
}

// TestPublicNameIsLost: a changed certificate that no longer has the public name is served, and said.
func TestPublicNameIsLost(t *testing.T) {
	var log bytes.Buffer
	dir, later := t.TempDir(), time.Now().Add(90*24*time.Hour)
	pair := writePair(t, dir, "site", later, "example.test", publicName)
	cfg := TLSConfig{ECH: &ECHConfig{PublicName: publicName}, Certificates: []CertificateConfig{pair}}
	s, err := loadCertificates(cfg, time.Now(), slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, dir, "site", later, "example.test")
	s.look(time.Now())
	if got := log.String(); !strings.Contains(got, "leaves Encrypted Client Hello without its public name") || !strings.Contains(got, publicName) {
		t.Errorf("the log: %s", got)
	}
	if names := s.serves(t, publicName).Leaf.DNSNames; len(names) != 1 {
		t.Errorf("what is served has the names %q", names)
	}
}
