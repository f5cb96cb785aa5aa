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
	"nearcast/proxy/h3/rescue"
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
			qc, err := quic.DialAddrEarly(patient(t), at.addr(), k.config(), nil)
			if err != nil {
				t.Fatal(err)
			}
			str, err := qc.OpenStreamSync(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = str.Write(request("GET"))
			_ = str.Close()
			_ = str.SetReadDeadline(time.Now().Add(patience))
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

// TestEarlyDataIsGoodBetweenEdgesWithTheSameParameters: what the digest has, a client's early data does depend on.
func TestEarlyDataIsGoodBetweenEdgesWithTheSameParameters(t *testing.T) {
	base := Config{TLS: shared(t), EarlyData: true, MaxStreams: 100}
	from := start(t, ok, base)
	k := &keepFirst{session: newSession()}
	k.visit(t, from)
	for _, c := range []struct {
		why    string
		change func(*Config)
	}{
		{"nothing", func(*Config) {}},
		{"timeouts", func(c *Config) {
			c.IdleTimeout, c.HandshakeTimeout, c.HeaderTimeout = time.Minute, time.Minute, time.Minute
		}},
		{"smaller header sections", func(c *Config) { c.MaxHeader = 1 << 16 }},
		{"fewer streams", func(c *Config) { c.MaxStreams = 50 }},
		{"no early data", func(c *Config) { c.EarlyData = false }},
	} {
		cfg := base
		c.change(&cfg)
		at := start(t, ok, cfg)
		qc, err := quic.DialAddrEarly(patient(t), at.addr(), k.config(), nil)
		if err != nil {
			t.Fatal(err)
		}
		<-qc.HandshakeComplete()
		same := Parameters(cfg) == Parameters(base)
		if used := qc.ConnectionState().Used0RTT; used != same {
			t.Errorf("%s: early data taken: %t, the same digest: %t", c.why, used, same)
		}
		_ = qc.CloseWithError(codeNoError, "")
	}
}

// TestTicketsWithoutANote: whether their settings were ours is not known.
func TestTicketsWithoutANote(t *testing.T) {
	for _, extra := range [][][]byte{nil, {{}}, {notePrefix}, {append(notePrefix[:len(notePrefix):len(notePrefix)], make([]byte, 15)...)}, {[]byte("quic-go1...")}} {
		if n, ok := findNote(extra); ok {
			t.Errorf("%q: %v", extra, n)
		}
	}
	want := note{time.Unix(12, 34), 56}
	if n, ok := findNote([][]byte{[]byte("quic-go1"), want.append(nil)}); !ok || n != want {
		t.Errorf("%v %t", n, ok)
	}
	session := &tls.SessionState{EarlyData: true}
	cfg := &tls.Config{UnwrapSession: func([]byte, tls.ConnectionState) (*tls.SessionState, error) { return session, nil }}
	var ticket replay.Ticket
	(&noter{replay: replay.New(replay.Config{})}).read(cfg, &ticket)
	if s, err := cfg.UnwrapSession([]byte("x"), tls.ConnectionState{}); err != nil || s.EarlyData {
		t.Errorf("early data is allowed, %v", err)
	}
}

// FuzzNote: whatever a ticket holds, a note is what was written.
func FuzzNote(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(note{time.Unix(1, 2), 3}.append(nil))
	f.Add([]byte("nearcast-note1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := findNote([][]byte{b})
		if ok && string(n.append(nil)) != string(b) {
			t.Errorf("%q is taken for %v", b, n)
		}
	})
}

func TestParameters(t *testing.T) {
	p := Config{EarlyData: true, MaxStreams: 7, MaxHeader: 8}.parameters()
	seen := map[[8]byte]string{p.digest(): "itself"}
	for what, change := range map[string]func(*parameters){
		"early data":       func(p *parameters) { p.earlyData = false },
		"stream window":    func(p *parameters) { p.streamWindow-- },
		"conn window":      func(p *parameters) { p.connWindow-- },
		"streams":          func(p *parameters) { p.streams-- },
		"uni streams":      func(p *parameters) { p.uniStreams-- },
		"header section":   func(p *parameters) { p.header-- },
		"two, swapped":     func(p *parameters) { p.streams, p.header = p.header, p.streams },
		"windows, swapped": func(p *parameters) { p.streamWindow, p.connWindow = p.connWindow, p.streamWindow },
	} {
		q := p
		change(&q)
		if other, ok := seen[q.digest()]; ok {
			t.Errorf("%s makes no difference to %s", what, other)
		}
		seen[q.digest()] = what
	}
	want := Parameters(Config{MaxStreams: 100})
	for what, cfg := range map[string]Config{
		"the default said":    {MaxStreams: 100, MaxHeader: 1 << 20},
		"timeouts":            {MaxStreams: 100, IdleTimeout: 1, HandshakeTimeout: 1, HeaderTimeout: 1},
		"keys":                {MaxStreams: 100, TLS: &tls.Config{}},
		"the replay register": {MaxStreams: 100, Replay: replay.New(replay.Config{})},
	} {
		if Parameters(cfg) != want {
			t.Errorf("%s changes the digest", what)
		}
	}
	given := &Fleet{Rescue: &rescue.Config{MaxRate: 5}}
	if c := (Config{MaxStreams: 100, Fleet: given}).withParameters(); c.Fleet.Rescue.Parameters != want || c.Fleet.Rescue.MaxRate != 5 || given.Rescue.Parameters == want {
		t.Errorf("the hub is told %+v", c.Fleet.Rescue)
	}
	for what, cfg := range map[string]Config{"streams": {MaxStreams: 101}, "early data": {MaxStreams: 100, EarlyData: true}, "header": {MaxStreams: 100, MaxHeader: 1 << 16}} {
		if Parameters(cfg) == want {
			t.Errorf("%s does not change the digest", what)
		}
	}
}
