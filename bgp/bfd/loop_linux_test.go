package bfd

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
		if got := findTTL(bytes.Clone(data)); got != -1 && len(data) < unix.SizeofCmsghdr+4 {
			t.Errorf("%d out of % x", got, data)
		}
	})
}
