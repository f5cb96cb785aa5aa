package h3

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/replay"
	"nearcast/proxy/h3/rescue"
)

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
