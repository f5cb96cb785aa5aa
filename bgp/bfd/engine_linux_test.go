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

// stepped is an engine whose thread is the test, with a time of its own.
func stepped(t *testing.T, peers ...Peer) (*testEngine, *loop) {
	e := newEngine(t, nil, peers...)
	l := newLoop(e.Engine)
	t.Cleanup(func() {
		l.close()
		e.Close()
	})
	return e, l
}

// steppedUp brings the first session up.
func steppedUp(t *testing.T, l *loop, near *peerSocket, now time.Time) {
	t.Helper()
	l.step(now)
	s := l.e.sessions[0]
	for _, st := range []State{Down, Init, Up} {
		p := from(st)
		p.yours, p.final = s.machine.mine, true
		var b [packetSize]byte
		p.encode(&b)
		near.send(b[:])
		awaitPackets(t, l, s.sockets.listener.fd)
		l.receive(now)
		l.step(now)
	}
	if s.machine.state != Up {
		t.Fatalf("%s", s.machine.state)
	}
}

// awaitPackets waits until a socket has something.
func awaitPackets(t *testing.T, l *loop, fd int) {
	t.Helper()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds())); n != 1 || err != nil {
		t.Fatalf("nothing has come: %v", err)
	}
	l.wait(0)
}

// TestStallOfThisProcessIsNoFailure: what the neighbor has sent meanwhile is looked at before the clock.
func TestStallOfThisProcessIsNoFailure(t *testing.T) {
	a, b := loopback(), loopback()
	_, l := stepped(t, peerOf(a, b, usual()))
	near := newPeerSocket(t, b, a, 255)
	now := time.Now()
	steppedUp(t, l, near, now)
	m := &l.e.sessions[0].machine
	p := from(Up)
	p.yours = m.mine
	var up [packetSize]byte
	p.encode(&up)
	near.send(up[:])
	awaitPackets(t, l, l.e.sessions[0].sockets.listener.fd)
	now = now.Add(10 * time.Second)
	l.receive(now)
	l.step(now)
	if m.state != Up {
		t.Errorf("%s, %s after a stall", m.state, m.diag)
	}
	now = now.Add(10 * time.Second) // and nothing has come in that time
	l.wait(0)
	l.receive(now)
	l.step(now)
	if m.state != Down || l.e.sessions[0].Failures() != 1 {
		t.Errorf("%s after silence", m.state)
	}
}

// TestFloodIsBounded: a batch at a time, then a pause, and the pause is counted.
func TestFloodIsBounded(t *testing.T) {
	a, b := loopback(), loopback()
	e, l := stepped(t, peerOf(a, b, usual()))
	now := time.Now()
	l.step(now)
	flood := newPeerSocket(t, loopback(), a, 255)
	for range batch + 10 {
		flood.send(good[:])
	}
	awaitPackets(t, l, e.sessions[0].sockets.listener.fd)
	l.receive(now)
	if got := e.metrics.unknown.Get(); got != batch || !l.resting || e.metrics.pauses.Get() != 1 {
		t.Errorf("%d packets at once, resting %v, %d pauses", got, l.resting, e.metrics.pauses.Get())
	}
	l.wait(time.Second)
	l.receive(now)
	if got := e.metrics.unknown.Get(); got != batch+10 || l.resting {
		t.Errorf("%d packets in all, resting %v", got, l.resting)
	}
}

// TestNothingIsAllocated on the way of packets in and out, so that the garbage collector has no claim on the thread.
func TestNothingIsAllocated(t *testing.T) {
	a, b := loopback(), loopback()
	e, l := stepped(t, peerOf(a, b, usual()))
	near := newPeerSocket(t, b, a, 255)
	now := time.Now()
	steppedUp(t, l, near, now)
	s := e.sessions[0]
	p := from(Up)
	p.yours, p.poll = s.machine.mine, true
	var up [packetSize]byte
	p.encode(&up)
	raw, err := near.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: portSingleHop, Addr: a.As4()}
	var allocs float64
	before := s.metrics.out.Get()
	err = raw.Control(func(fd uintptr) {
		allocs = testing.AllocsPerRun(200, func() {
			_ = unix.Sendto(int(fd), up[:], 0, to)
			now = now.Add(interval)
			l.wait(0)
			l.receive(now)
			l.step(now)
		})
	})
	if err != nil || allocs != 0 {
		t.Errorf("%g allocations a round, %v", allocs, err)
	}
	if sent := s.metrics.out.Get() - before; sent < 200 || s.machine.state != Up {
		t.Errorf("%d packets out, %s", sent, s.machine.state)
	}
}

// TestControlMessages of the kernel, and those that it would never write.
func TestControlMessages(t *testing.T) {
	v4 := []byte{20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0}
	if got := findTTL(v4); got != 255 {
		t.Errorf("%d", got)
	}
	other := bytes.Clone(v4)
	other[12] = 9
	if got := findTTL(append(other, v4...)); got != 255 {
		t.Errorf("after another one: %d", got)
	}
	if got := findTTL(other); got != -1 {
		t.Errorf("without one: %d", got)
	}
}

func FuzzControlMessages(f *testing.F) {
	f.Add([]byte{20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 127, 0, 0, 0, 0, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := findTTL(bytes.Clone(data)); got < -1 && len(data) == 0 {
			t.Error(got)
		}
	})
}
