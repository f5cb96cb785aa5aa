package bfd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"
)

const patience = 20 * time.Second

// loopback is an address that no other test has.
func loopback() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(64 + rand.IntN(64)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))})
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

type testEngine struct {
	*Engine
	t    *testing.T
	log  *logBuffer
	set  *metrics.Set
	stop func()
}

func newEngine(t *testing.T, alive func() bool, peers ...Peer) *testEngine {
	t.Helper()
	e := &testEngine{t: t, log: &logBuffer{}, set: metrics.NewSet()}
	var err error
	e.Engine, err = New(Options{Peers: peers, Alive: alive, Log: slog.New(slog.NewTextHandler(e.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Set: e.set})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func startEngine(t *testing.T, alive func() bool, peers ...Peer) *testEngine {
	t.Helper()
	e := newEngine(t, alive, peers...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	e.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("Run: %v", err)
				}
			case <-time.After(patience):
				t.Error("Run did not return")
			}
		})
	}
	t.Cleanup(e.stop)
	return e
}

func (e *testEngine) want(what string, cond func() bool) {
	e.t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			e.t.Fatalf("wanted %s within %s; %+v", what, patience, e.Session(0).Status())
		}
	}
}

func (e *testEngine) metric(name string) string {
	var b bytes.Buffer
	e.set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func quick() Config {
	c := usual()
	c.Interval = 50 * time.Millisecond
	return c
}

func peerOf(local, remote netip.Addr, c Config) Peer {
	return Peer{Name: remote.String(), Address: remote, Local: local, Config: c}
}

// TestEnginesMeet goes once through a session's life between two engines.
func TestEnginesMeet(t *testing.T) {
	t.Parallel()
	for _, multihop := range []bool{false, true} {
		t.Run(fmt.Sprintf("multihop %v", multihop), func(t *testing.T) {
			a, b := loopback(), loopback()
			toB, toA := peerOf(a, b, quick()), peerOf(b, a, quick())
			toB.Multihop, toA.Multihop = multihop, multihop
			left, right := startEngine(t, nil, toB), startEngine(t, nil, toA)
			left.want("both up", func() bool { return left.Session(0).Up() && right.Session(0).Up() })
			left.want("the intervals agreed on", func() bool {
				st := left.Session(0).Status()
				return st.DetectionTime == Duration(150*time.Millisecond) && st.TransmitInterval == Duration(50*time.Millisecond) && st.RemoteState == Up
			})
			if st := left.Session(0).Status(); st.LocalAddress != a || st.Detail != "" || st.Transitions == 0 || st.PacketsIn == 0 || st.PacketsOut == 0 {
				t.Errorf("status %+v", st)
			}
			if got := left.metric(fmt.Sprintf(`nearcast_bfd_up{neighbor="%s"}`, b)); got != "1" {
				t.Errorf("nearcast_bfd_up is %q", got)
			}
			if left.metric(fmt.Sprintf(`nearcast_bfd_transmit_lateness_seconds_count{neighbor="%s"}`, b)) == "" {
				t.Error("no histogram of lateness")
			}
			right.stop()
			left.want("the end", func() bool { return !left.Session(0).Up() })
			st := left.Session(0).Status()
			if st.RemoteState != AdminDown || st.Failures != 0 || st.RemoteDiagnostic != AdministrativelyDown || st.Detail != "the neighbor has shut BFD down" {
				t.Errorf("a clean stop of the other side: %+v", st)
			}
			left.want("log lines", func() bool { return left.log.has("BFD session up") && left.log.has("shut down by the neighbor") })
		})
	}
}

// TestKernelsChoice: without a local address the session has the one that the way to the neighbor has.
func TestKernelsChoice(t *testing.T) {
	t.Parallel()
	b := loopback()
	local := netip.MustParseAddr("127.0.0.1")
	right := startEngine(t, nil, peerOf(b, local, quick()))
	left := startEngine(t, nil, peerOf(netip.Addr{}, b, quick()))
	left.want("both up", func() bool { return left.Session(0).Up() && right.Session(0).Up() })
	if got := left.Session(0).Status().LocalAddress; got != local {
		t.Errorf("local address %s", got)
	}
}

// TestLeaseRunsOut: the neighbor is told at once, by a packet and not by silence.
func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	a, b := loopback(), loopback()
	slowly := usual()
	slowly.Interval, slowly.Multiplier = 10*time.Second, 20 // silence would take 200 s
	var alive atomic.Bool
	alive.Store(true)
	left := startEngine(t, alive.Load, peerOf(a, b, slowly))
	right := startEngine(t, nil, peerOf(b, a, slowly))
	left.want("both up", func() bool { return left.Session(0).Up() && right.Session(0).Up() })
	alive.Store(false)
	right.want("down", func() bool { return !right.Session(0).Up() })
	if st := right.Session(0).Status(); st.RemoteDiagnostic != ForwardingPlaneReset || st.Failures != 1 {
		t.Errorf("the neighbor has %+v", st)
	}
	if st := left.Session(0).Status(); st.Failures != 0 || st.Detail != "held down: this edge does not serve" || left.metric("nearcast_bfd_held") != "1" {
		t.Errorf("here %+v", st)
	}
}

// TestLogIsBounded, whatever a neighbor makes a session do.
func TestLogIsBounded(t *testing.T) {
	e := newEngine(t, nil, peerOf(loopback(), loopback(), usual()))
	defer e.Close()
	for range 10 * linesPerMinute {
		e.write(event{session: e.sessions[0], from: Up, to: Down, used: true})
	}
	if lines := strings.Count(e.log.b.String(), "BFD session lost"); lines == 0 || lines > 2*linesPerMinute {
		t.Errorf("%d lines", lines)
	}
	if e.metrics.unlogged.Get() == 0 {
		t.Error("what was not logged is not counted")
	}
}

// TestUnusedSessionEndsQuietly: routers end their BFD session with the BGP session, also when that was closed from here on purpose.
func TestUnusedSessionEndsQuietly(t *testing.T) {
	a, b := loopback(), loopback()
	e, l := stepped(t, peerOf(a, b, usual()))
	near := newPeerSocket(t, b, a, 255)
	now := time.Now()
	for _, used := range []bool{true, false} {
		e.sessions[0].Use(used)
		steppedUp(t, l, near, now)
		now = now.Add(10 * time.Second)
		l.step(now)
		for len(e.events) > 0 {
			e.write(<-e.events)
		}
		if e.log.has("level=WARN") != used {
			t.Errorf("used %v: %s", used, e.log.b.String())
		}
		e.log.b.Reset()
	}
}

// TestEveryMetricHasAText, and every text a metric.
func TestEveryMetricHasAText(t *testing.T) {
	e := newEngine(t, nil, peerOf(loopback(), loopback(), usual()))
	defer e.Close()
	var b bytes.Buffer
	e.set.WritePrometheus(&b)
	seen := map[string]bool{}
	for line := range strings.Lines(b.String()) {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			name = strings.TrimSuffix(name, part)
		}
		seen[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no text", name)
		}
	}
	for name := range MetricHelp {
		if !seen[name] {
			t.Errorf("%s is explained, but is no metric", name)
		}
	}
}

// peerSocket is a neighbor made of sockets.
type peerSocket struct {
	t    *testing.T
	conn *net.UDPConn // source port of its packets
	to   netip.AddrPort
}

func newPeerSocket(t *testing.T, from, to netip.Addr, ttl int) *peerSocket {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, rc syscall.RawConn) error {
		var err error
		cerr := rc.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, ttl) })
		if cerr != nil {
			return cerr
		}
		return err
	}}
	c, err := lc.ListenPacket(t.Context(), "udp4", netip.AddrPortFrom(from, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &peerSocket{t, c.(*net.UDPConn), netip.AddrPortFrom(to, portSingleHop)}
}

func (p *peerSocket) send(b []byte) {
	if _, err := p.conn.WriteToUDPAddrPort(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// TestWhatIsNotTaken: a TTL below 255 (RFC 5881 section 5), strangers, nonsense. Each is counted, and the session does not move.
func TestWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	a, b, other := loopback(), loopback(), loopback()
	e := startEngine(t, nil, peerOf(a, b, usual()))
	e.want("sockets", func() bool { return e.Session(0).Status().LocalAddress == a })
	var down [packetSize]byte
	packet{state: Down, multiplier: 3, mine: theirs, desiredMinTx: slow, requiredMinRx: interval}.encode(&down)
	newPeerSocket(t, b, a, 254).send(down[:])
	newPeerSocket(t, other, a, 255).send(down[:])
	near := newPeerSocket(t, b, a, 255)
	near.send(down[:20])
	near.send(bytes.Repeat([]byte{0x21}, 1400))
	foreign := good
	near.send(foreign[:])
	authenticated := down
	authenticated[1] |= 4
	near.send(authenticated[:])
	want := map[string]uint64{"ttl": 1, "malformed": 2, "discriminator": 1, "authentication": 1}
	e.want("all counted", func() bool {
		return fmt.Sprint(e.Session(0).Status().Dropped) == fmt.Sprint(want) && e.metric("nearcast_bfd_unknown_packets_total") == "1"
	})
	if st := e.Session(0).Status(); st.State != Down || st.PacketsIn != 0 || st.Detail != "no packets from the neighbor yet" {
		t.Errorf("status %+v", st)
	}
	near.send(down[:])
	e.want("the session to begin", func() bool { return e.Session(0).Status().State == Init })
}

// TestMultihopTTL: over several hops any TTL will do, unless the operator says otherwise.
func TestMultihopTTL(t *testing.T) {
	t.Parallel()
	for least, want := range map[int]bool{0: true, 60: true, 61: false} {
		a, b := loopback(), loopback()
		p := peerOf(a, b, usual())
		p.Multihop, p.Config.MinimumTTL = true, least
		e := startEngine(t, nil, p)
		e.want("sockets", func() bool { return e.Session(0).Status().LocalAddress == a })
		s := newPeerSocket(t, b, a, 60)
		s.to = netip.AddrPortFrom(a, portMultihop)
		var down [packetSize]byte
		packet{state: Down, multiplier: 3, mine: theirs, desiredMinTx: slow, requiredMinRx: interval}.encode(&down)
		s.send(down[:])
		e.want("it to be taken or dropped", func() bool { st := e.Session(0).Status(); return st.PacketsIn+st.Dropped["ttl"] == 1 })
		if got := e.Session(0).Status().PacketsIn == 1; got != want {
			t.Errorf("minimum_ttl %d, TTL 60: taken %v", least, got)
		}
	}
}

// TestOneSocketForManySessions: two neighbors of one local address, and each gets its own.
func TestOneSocketForManySessions(t *testing.T) {
	t.Parallel()
	a, b, c := loopback(), loopback(), loopback()
	e := startEngine(t, nil, peerOf(a, b, quick()), peerOf(a, c, quick()))
	first, second := startEngine(t, nil, peerOf(b, a, quick())), startEngine(t, nil, peerOf(c, a, quick()))
	e.want("both up", func() bool { return e.Session(0).Up() && e.Session(1).Up() })
	first.stop()
	e.want("the first to be shut", func() bool { return !e.Session(0).Up() })
	if !e.Session(1).Up() || !second.Session(0).Up() {
		t.Error("the second went with it")
	}
}

// TestPortTaken: another BFD program is named, and when it is gone the session comes up by itself.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	a, b := loopback(), loopback()
	other, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, portSingleHop)))
	if err != nil {
		t.Fatal(err)
	}
	e := startEngine(t, nil, peerOf(a, b, quick()))
	e.want("the fault in the status and the log", func() bool {
		return strings.Contains(e.Session(0).Status().Detail, "is taken, by another BFD program") && e.log.has("is taken, by another BFD program")
	})
	other.Close()
	startEngine(t, nil, peerOf(b, a, quick()))
	e.want("up", func() bool { return e.Session(0).Up() })
}
