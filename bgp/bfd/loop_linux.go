package bfd

import (
	"time"

	"golang.org/x/sys/unix"
)

const (
	// idle is the longest wait. The lease is asked as often.
	idle = 100 * time.Millisecond
	// shortest is the shortest wait, so that no mistake about what is due makes the thread spin.
	shortest = 200 * time.Microsecond
	// reopenAfter is between attempts to have sockets.
	reopenAfter = time.Second
	// movedAfter is how long a session is down before its sockets are made anew, in case the kernel would choose another address now.
	movedAfter = 10 * time.Second
	// lingerTime is how long the end of a session may take.
	lingerTime = time.Second
	// batch is how many packets of one socket are taken at a time, and restAfterBatch the pause after a full one: more than that all
	// sessions together can't have, and a flood must not take the processor from the requests.
	batch          = 64
	restAfterBatch = 5 * time.Millisecond
	faultLogEvery  = time.Minute
	unheardAfter   = 10 * time.Second // since the start, before the log says so
)

// loop is the thread of all sessions.
type loop struct {
	e         *Engine
	listeners []*listener
	polled    []unix.PollFd // the waker's, then the listeners'
	in        inbox
	out       [packetSize]byte
	resting   bool // no socket is read until the next round
	shutAt    time.Time
}

func newLoop(e *Engine) *loop {
	l := &loop{e: e, polled: make([]unix.PollFd, 1, maxPeers+1)}
	l.in.init()
	l.setPolled()
	return l
}

// run goes around until the engine stops and the routers know.
func (l *loop) run() {
	p := raise()
	l.e.priority.Store(int32(p))
	l.e.post(event{priority: p})
	defer l.close()
	now := time.Now()
	for {
		wait := l.step(now)
		if l.ended(now) {
			return
		}
		l.wait(wait)
		now = time.Now()
		// What has come goes first: after a stall of this process the packets that prove the router alive are in the socket.
		l.receive(now)
	}
}

// step does for all sessions what is due, and says how long nothing will be.
func (l *loop) step(now time.Time) time.Duration {
	stopping := l.e.stopping.Load()
	alive := l.e.alive == nil || l.e.alive()
	l.e.held.Store(!alive)
	if stopping && l.shutAt.IsZero() {
		l.shutAt = now
	}
	next := now.Add(idle)
	for _, s := range l.e.sessions {
		before, yours, held := s.machine.state, s.machine.yours, s.machine.held
		switch {
		case stopping:
			s.machine.shut(now)
		case alive:
			s.machine.release()
		default:
			s.machine.hold(now)
		}
		detection := s.machine.detectionTime() // a loss forgets it
		s.machine.advance(now)
		s.dirty = s.dirty || s.machine.yours != yours || s.machine.held != held
		l.note(s, before, detection)
		l.keepSockets(s, now)
		if !s.warned && !s.heardEver && s.sockets.fd >= 0 && now.Sub(s.machine.since) >= unheardAfter {
			s.warned = true
			l.e.post(event{session: s, unheard: true})
		}
		l.send(s, now)
		if at := s.machine.next(); !at.IsZero() && at.Before(next) {
			next = at
		}
		if s.dirty {
			s.show()
		}
	}
	return next.Sub(now)
}

// note passes on what has become of a session.
func (l *loop) note(s *Session, before State, detection time.Duration) {
	m := &s.machine
	if m.state == before {
		return
	}
	s.metrics.transitions[m.state].Inc()
	s.metrics.failures.Set(m.failures)
	s.show()
	s.tell()
	l.e.post(event{session: s, from: before, to: m.state, diag: m.diag, remoteAdmin: m.remote == AdminDown, held: m.held, used: s.used.Load(), detection: detection})
}

// send puts out what a session has to say.
func (l *loop) send(s *Session, now time.Time) {
	for {
		p, late, ok := s.machine.output(now)
		if !ok {
			return
		}
		if s.sockets.fd < 0 {
			continue // it was due all the same
		}
		p.encode(&l.out)
		if _, err := unix.Write(s.sockets.fd, l.out[:]); err != nil {
			s.metrics.sendErrors.Inc()
			s.sockets.failed = s.sockets.failed || lasting(err)
			continue
		}
		s.metrics.out.Inc()
		if !p.final {
			s.metrics.late.add(late)
		}
	}
}

// keepSockets gives a session that has none its sockets, and new ones to a session whose are of no use.
func (l *loop) keepSockets(s *Session, now time.Time) {
	k := &s.sockets
	if l.e.stopping.Load() || now.Before(k.nextTry) {
		return
	}
	if k.fd >= 0 && s.machine.state == Down && (k.failed || !s.peer.Local.IsValid() && s.machine.yours == 0 && now.Sub(k.openedAt) >= movedAfter) {
		l.closeSockets(s)
	}
	if k.fd >= 0 {
		return
	}
	had := k.local
	k.nextTry = now.Add(reopenAfter)
	err := l.openSockets(s)
	switch {
	case err == nil:
		k.openedAt, k.fault = now, fault{}
		if k.local != had {
			s.show()
		}
	case now.Sub(k.toldAt) >= faultLogEvery:
		k.toldAt, k.fault = now, *err
		s.show()
		l.e.post(event{session: s, fault: *err})
	default:
		k.fault = *err
		s.show()
	}
}

// wait sleeps until something has come or d is over.
func (l *loop) wait(d time.Duration) {
	d = max(d, shortest)
	n := len(l.polled)
	if l.resting {
		d, n = min(d, restAfterBatch), 1
	}
	for i := range l.polled {
		l.polled[i].Revents = 0
	}
	t := unix.NsecToTimespec(int64(d))
	_, _ = unix.Ppoll(l.polled[:n], &t, nil) // interrupted, it is a wait that was shorter
}

// receive takes what has come.
func (l *loop) receive(now time.Time) {
	rested := l.resting
	l.resting = false
	if l.polled[0].Revents != 0 {
		l.e.wake.drain()
	}
	for i, r := range l.listeners {
		if !rested && l.polled[i+1].Revents == 0 {
			continue
		}
		n := 0
		for n < batch && l.in.read(r.fd) {
			n++
			l.take(r, now)
		}
		if n == batch {
			l.resting = true
			l.e.metrics.pauses.Inc()
		}
	}
}

// take gives a packet to its session: by the sender's address, which must be the neighbor's, and then by the discriminator (RFC 5880
// section 6.8.6). No two neighbors of one socket have the same address.
func (l *loop) take(r *listener, now time.Time) {
	s := r.find(&l.in)
	if s == nil {
		l.e.metrics.unknown.Inc()
		return
	}
	d := dropTTL
	if least := s.peer.leastTTL(); least == 0 || l.in.ttl() >= least {
		var p packet
		if p, d = decode(l.in.payload()); d == kept {
			before := s.machine.state
			was := s.machine.transmitInterval()
			known := s.machine.detectionTime()
			if d = s.machine.receive(now, p); d == kept {
				s.metrics.in.Inc()
				first := !s.heardEver
				s.heardEver = true
				l.note(s, before, known)
				if first || was != s.machine.transmitInterval() || known != s.machine.detectionTime() {
					s.show()
				}
				return
			}
		}
	}
	s.metrics.dropped[d].Inc()
}

// ended says whether everybody knows that the sessions are shut, or has had the time to.
func (l *loop) ended(now time.Time) bool {
	if l.shutAt.IsZero() {
		return false
	}
	for _, s := range l.e.sessions {
		m := &s.machine
		told := s.sockets.fd < 0 || m.yours == 0 || m.remote != Up && m.remote != Init
		if !told && now.Sub(l.shutAt) < min(lingerTime, m.detectionTime()) {
			return false
		}
	}
	return true
}

func (l *loop) close() {
	for _, s := range l.e.sessions {
		l.closeSockets(s)
	}
	l.e.priority.Store(int32(priorityNone))
}
