package h3

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// gate is a client's socket that can be kept from reading.
type gate struct {
	net.PacketConn
	open chan struct{} // closed: reads pass
}

func (g *gate) ReadFrom(p []byte) (int, net.Addr, error) {
	n, a, err := g.PacketConn.ReadFrom(p)
	<-g.open
	return n, a, err
}

// session is a cache that says when a ticket has come.
type session struct {
	tls.ClientSessionCache
	once sync.Once
	came chan struct{}
}

func (s *session) Put(key string, st *tls.ClientSessionState) {
	s.ClientSessionCache.Put(key, st)
	if st != nil {
		s.once.Do(func() { close(s.came) })
	}
}

func newSession() *session {
	return &session{ClientSessionCache: tls.NewLRUClientSessionCache(4), came: make(chan struct{})}
}

func (s *session) config() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "example.test", NextProtos: []string{"h3"}, ClientSessionCache: s}
}

// TestEarlyData: a request in 0-RTT is served before the handshake is complete, and says that it may be a replay.
func TestEarlyData(t *testing.T) {
	type seen struct{ early, resumed bool }
	got := make(chan seen, 10)
	r := start(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		got <- seen{r.TLS.EarlyData, r.TLS.Resumed}
		_ = w.WriteHeader(204, nil, -1)
	}), Config{EarlyData: true})
	s := newSession()
	qc, err := quic.DialAddr(patient(t), r.addr(), s.config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, qc, request("GET")); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != (seen{}) {
		t.Errorf("the first connection: %+v", g)
	}
	select {
	case <-s.came:
	case <-time.After(patience):
		t.Fatal("no session ticket")
	}
	_ = qc.CloseWithError(codeNoError, "")

	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{PacketConn: udp, open: make(chan struct{})}
	tr := &quic.Transport{Conn: g}
	defer func() { tr.Close(); udp.Close() }()
	qc, err = tr.DialEarly(patient(t), r.udp().LocalAddr(), s.config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET"))
	_ = str.Close()
	select {
	case g := <-got: // the client has heard nothing yet
		if g != (seen{true, true}) {
			t.Errorf("in 0-RTT: %+v", g)
		}
	case <-time.After(patience):
		t.Fatal("0-RTT was not served")
	}
	if n := r.counts.accepted.Load(); n != 1 {
		t.Errorf("%d handshakes are said to be complete", n)
	}
	close(g.open)
	_ = str.SetReadDeadline(time.Now().Add(patience))
	if b, err := io.ReadAll(str); err != nil || parseResponse(t, b).fields.Get(":status") != "204" {
		t.Errorf("its answer: %v", err)
	}
	<-qc.HandshakeComplete()
	if _, err := ask(t, qc, request("GET")); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g != (seen{false, true}) {
		t.Errorf("after the handshake: %+v", g)
	}
	eventually(t, "the handshake is reported", func() bool { return r.counts.accepted.Load() == 2 })
	_ = qc.CloseWithError(codeNoError, "")
}

// TestNoEarlyData: without the switch a 0-RTT attempt becomes an ordinary resumption.
func TestNoEarlyData(t *testing.T) {
	got := make(chan message.TLS, 2)
	r := start(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		got <- *r.TLS
		_ = w.WriteHeader(204, nil, -1)
	}), Config{})
	s := newSession()
	for i := range 2 {
		qc, err := quic.DialAddrEarly(patient(t), r.addr(), s.config(), nil)
		if err != nil {
			t.Fatal(err)
		}
		<-qc.HandshakeComplete()
		if _, err := ask(t, qc, request("GET")); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g.EarlyData || g.Resumed != (i == 1) || qc.ConnectionState().Used0RTT {
			t.Errorf("connection %d: %+v", i, g)
		}
		<-s.came
		_ = qc.CloseWithError(codeNoError, "")
	}
}

// TestResumptionSurvivesTheRotation: a ticket of yesterday is good today, for a configuration of its own for each client too.
func TestResumptionSurvivesTheRotation(t *testing.T) {
	for _, perClient := range []bool{false, true} {
		now := time.Now()
		from := testTLS(t)
		if perClient {
			own := from.Clone()
			from.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }
		}
		var mu sync.Mutex
		cfg := serverTLS(from, new(Config).tickets(func() time.Time { mu.Lock(); defer mu.Unlock(); return now }))
		s := newSession()
		for i := range 3 {
			mu.Lock()
			now = now.Add(25 * time.Hour)
			mu.Unlock()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				server, err := ln.Accept()
				if err != nil {
					return
				}
				ts := tls.Server(server, cfg.Clone()) // as quic-go does
				_, _ = ts.Write([]byte("x"))
				_ = ts.Close()
			}()
			client, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			tc := tls.Client(client, s.config())
			if _, err := io.ReadAll(tc); err != nil {
				t.Fatal(err)
			}
			st := tc.ConnectionState()
			if st.DidResume != (i > 0) || st.NegotiatedProtocol != "h3" {
				t.Errorf("for each client %t, connection %d: resumed %t, %q", perClient, i, st.DidResume, st.NegotiatedProtocol)
			}
			client.Close()
			ln.Close()
		}
	}
	off := serverTLS(&tls.Config{SessionTicketsDisabled: true}, new(Config).tickets(time.Now))
	if off.WrapSession != nil || off.UnwrapSession != nil || !off.SessionTicketsDisabled {
		t.Error("tickets that are disabled were given keys")
	}
}
