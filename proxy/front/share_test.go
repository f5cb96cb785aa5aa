package front

import (
	"context"
	"crypto/tls"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/fleet/keys"
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
