package h3

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/replay"
	"nearcast/proxy/message"
)

// executions counts requests at the handler.
type executions struct{ early, settled atomic.Int64 }

func (e *executions) Serve(_ context.Context, w message.ResponseWriter, r *message.Request) {
	if r.TLS.EarlyData {
		e.early.Add(1)
	} else {
		e.settled.Add(1)
	}
	_ = w.WriteHeader(204, nil, -1)
}

// shared is a configuration whose tickets every server with it reads.
func shared(t *testing.T) *tls.Config {
	cfg := testTLS(t)
	//lint:ignore SA1019 as another way of having tickets
	cfg.SessionTicketKey = [32]byte{1}
	return cfg
}

// keepFirst is a session cache that gives out its first ticket again and again.
type keepFirst struct {
	*session
	once sync.Once
}

func (k *keepFirst) Put(key string, st *tls.ClientSessionState) {
	if st != nil {
		k.once.Do(func() { k.session.Put(key, st) })
	}
}

func (k *keepFirst) config() *tls.Config {
	c := k.session.config()
	c.ClientSessionCache = k
	return c
}

// visit gets a ticket from r.
func (k *keepFirst) visit(t *testing.T, r *running) {
	t.Helper()
	qc, err := quic.DialAddr(patient(t), r.addr(), k.config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, qc, request("GET")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-k.came:
	case <-time.After(patience):
		t.Fatal("no session ticket")
	}
	_ = qc.CloseWithError(codeNoError, "")
}

// flight is a client's socket that records what is sent, and keeps what comes from the client.
type flight struct {
	net.PacketConn
	mu   sync.Mutex
	sent [][]byte
}

func (f *flight) WriteTo(p []byte, to net.Addr) (int, error) {
	f.mu.Lock()
	f.sent = append(f.sent, append([]byte(nil), p...))
	f.mu.Unlock()
	return f.PacketConn.WriteTo(p, to)
}

func (f *flight) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := f.PacketConn.ReadFrom(p)
		if err != nil {
			return n, from, err
		}
	}
}

// record sends a request in early data to r and returns its datagrams, as one who listens on the way has them. The client never hears an answer.
func (k *keepFirst) record(t *testing.T, r *running, served func() bool) [][]byte {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f := &flight{PacketConn: udp}
	tr := &quic.Transport{Conn: f}
	defer func() { tr.Close(); udp.Close() }()
	qc, err := tr.DialEarly(patient(t), r.udp().LocalAddr(), k.config(), nil)
	if err != nil {
		t.Fatal(err)
	}
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("GET"))
	_ = str.Close()
	eventually(t, "the request was served in early data", served)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// again sends the datagrams to r from another address until r begins a connection for them.
func again(t *testing.T, r *running, flight [][]byte) {
	t.Helper()
	udp, err := net.DialUDP("udp", nil, r.udp().LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	before := r.counts.admitted.Load()
	eventually(t, "the flight is taken again", func() bool { // not while the first connection's IDs are known
		for _, b := range flight {
			_, _ = udp.Write(b)
		}
		return r.counts.admitted.Load() > before
	})
}

// TestAReplayIsNotExecuted: a first flight that is sent again is acted on once at each edge.
func TestAReplayIsNotExecuted(t *testing.T) {
	own := testTLS(t)
	each := own.Clone()
	each.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return own.Clone(), nil }
	for why, cfg := range map[string]Config{
		"tickets of a fleet":                  {TLS: own, Fleet: testFleet(t, "secret")},
		"a configuration for each connection": {TLS: each, Fleet: testFleet(t, "secret")},
		"tickets of the caller's":             {TLS: shared(t)},
	} {
		t.Run(why, func(t *testing.T) { t.Parallel(); replays(t, cfg) })
	}
}

// replays sends the first flight of a client again to the edge that it was for, and twice to another.
func replays(t *testing.T, cfg Config) {
	cfg.EarlyData, cfg.HandshakeTimeout = true, time.Second
	var a, b executions
	first := cfg
	first.Replay = replay.New(replay.Config{})
	at := start(t, &a, first)
	second := cfg
	second.Replay = replay.New(replay.Config{})
	other := start(t, &b, second)

	k := &keepFirst{session: newSession()}
	k.visit(t, at)
	flight := k.record(t, at, func() bool { return a.early.Load() == 1 })

	again(t, at, flight)
	at.quiet(t)
	if early, settled := a.early.Load(), a.settled.Load(); early != 1 || settled != 1 { // the request, and the visit before
		t.Errorf("the first edge served %d requests in early data, and %d others", early, settled)
	}
	for range 2 {
		again(t, other, flight)
		other.quiet(t)
	}
	if early, settled := b.early.Load(), b.settled.Load(); early != 1 || settled != 0 { // it has not seen the first
		t.Errorf("the other edge served %d requests in early data, and %d others", early, settled)
	}
}

// quiet waits until no connection is left, handshakes that have to time out among them.
func (r *running) quiet(t *testing.T) {
	t.Helper()
	eventually(t, "all connections have ended", func() bool { return r.counts.admitted.Load() == r.counts.closed.Load() })
}

// TestAReplayIsExecutedWithoutARegister shows what the register is for.
func TestAReplayIsExecutedWithoutARegister(t *testing.T) {
	var e executions
	r := start(t, &e, Config{TLS: shared(t), EarlyData: true, HandshakeTimeout: time.Second})
	k := &keepFirst{session: newSession()}
	k.visit(t, r)
	flight := k.record(t, r, func() bool { return e.early.Load() == 1 })
	again(t, r, flight)
	r.quiet(t)
	if early := e.early.Load(); early != 2 {
		t.Errorf("executed %d times", early)
	}
}

// TestWhoUsesATicketTwiceWaits: an honest client's request is answered, when its handshake is complete; so is one with a ticket that is too old.
func TestWhoUsesATicketTwiceWaits(t *testing.T) {
	for _, c := range []struct {
		why    string
		from   *replay.Register // of the edge that the ticket is from
		at     *replay.Register
		visits []int64 // requests in early data after each
	}{
		{"used twice", replay.New(replay.Config{}), replay.New(replay.Config{}), []int64{1, 1}},
		{"too old", replay.New(replay.Config{}), replay.New(replay.Config{MaxAge: 1}), []int64{0}},
		{"older than the process", replay.New(replay.Config{}), replay.New(replay.Config{Since: time.Now()}), []int64{0}},
		{"a register on one side alone", nil, replay.New(replay.Config{}), []int64{1, 1}},
	} {
		var e executions
		cfg := Config{TLS: shared(t), EarlyData: true}
		cfg.Replay = c.from
		from := start(t, &executions{}, cfg)
		cfg.Replay = c.at
		at := start(t, &e, cfg)
		k := &keepFirst{session: newSession()}
		k.visit(t, from)
		for i, early := range c.visits {
			qc, str, open := k.earlyRequest(t, at, "GET")
			open()
			if b, err := io.ReadAll(str); err != nil || parseResponse(t, b).fields.Get(":status") != "204" {
				t.Errorf("%s: %v", c.why, err)
			}
			if !qc.ConnectionState().Used0RTT {
				t.Errorf("%s: early data was refused", c.why)
			}
			if n := e.early.Load() + e.settled.Load(); n != int64(i+1) || e.early.Load() > early {
				t.Errorf("%s: %d requests, %d in early data, want %d", c.why, n, e.early.Load(), early)
			}
			_ = qc.CloseWithError(codeNoError, "")
		}
	}
}
