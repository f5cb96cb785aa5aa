package tunnel

import (
	"encoding/binary"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// From one Tick to the next. Hellos that are not proven to be of now may be replayed without end: one of each session is answered, so that
// those of a process long gone don't use up what that of now needs.
const (
	maxAnswers  = 16
	maxUnproven = 16
)

// theirs is what is known of the peer.
type theirs struct {
	process   nonce
	sessions  [2]session // the newest that is proven and the one before
	challenge nonce      // to be echoed
	holds     nonce      // the session of ours that the peer says it holds
	numbers   window     // of hellos
	newest    uint64
	newestAt  time.Duration
	probed    uint64 // latest probe of the path's MTU
	hello     Hello  // the newest; Heard is that of the latest which had it
	sources   []HeardSource
	restarts  uint64
	rtt       time.Duration // 0: unknown
	hears     time.Duration // when we sent the latest hello that the peer has heard
}

// renew is for another process: what it numbers, it numbers anew, beginning with number.
func (t *theirs) renew(process nonce, number uint64) {
	t.process = process
	t.numbers.reset(number - 1)
	t.newest, t.probed, t.sources, t.hears = 0, 0, nil, never
	t.hello = Hello{}
}

// knows reports whether a session is one of those that are proven.
func (t *theirs) knows(id nonce) bool {
	for _, s := range t.sessions {
		if s.trunk != nil && s.id == id {
			return true
		}
	}
	return false
}

// what a hello is besides a hello.
type what struct {
	full   bool       // reports the sources
	ask    bool       // whatever is known, an answer is needed
	source netip.Addr // probe of that source
	size   int        // probe of the path's MTU: so long a datagram
}

// hello makes one.
func (l *Link) hello(at time.Duration, echo nonce, w what) []byte {
	o, t := &l.own, &l.theirs
	o.number++
	m := message{process: o.process, session: o.sessions[0].id, challenge: o.challenge, echo: echo, holds: t.sessions[0].id, hello: *l.said}
	// When nothing fresh comes although both believe to know each other's session, one of them is wrong.
	m.ask = w.ask || t.sessions[0].trunk == nil || t.holds != m.session || !l.up(at)
	m.probe, m.probed = w.size > 0, t.probed
	m.heard, m.held = t.newest, uint32(min(max(at-t.newestAt, 0).Microseconds(), maxHeldMicros))
	m.hello.Number, m.hello.Epoch, m.hello.Source = o.number, o.sessions[0].trunk.epoch, w.source
	if w.full {
		m.hello.Heard = t.sources
	}
	b := l.sealHello(&m, w.size)
	o.sent[o.number%uint64(len(o.sent))] = sentHello{o.number, at, len(b)}
	return b
}

// sealHello makes the datagram, of the length given at least.
func (l *Link) sealHello(m *message, length int) []byte {
	t := l.own.sessions[0].trunk
	b := make([]byte, helloHeaderLen, max(largestHello, length))
	b[0] = Magic
	b[1] = version | typeHello<<typeShift | byte(t.epoch&epochMask)
	binary.BigEndian.PutUint32(b[4:], l.cfg.Self)
	binary.BigEndian.PutUint32(b[8:], l.cfg.Peer)
	if _, err := io.ReadFull(l.cfg.Rand, b[helloNonceAt:]); err != nil {
		panic("tunnel: no random numbers: " + err.Error())
	}
	b = m.append(b)
	if n := length - tagLen - len(b); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	return t.aead.Seal(b[:helloHeaderLen], b[helloNonceAt:helloHeaderLen], b[helloHeaderLen:], b[:helloHeaderLen])
}

// scratch is where hellos are opened: a key that does not fit destroys what is opened in place.
var scratch = sync.Pool{New: func() any { return new(Buffer) }}

// openHello tries the keys that the header names.
func (l *Link) openHello(now time.Time, b []byte) (Opened, error) {
	if len(b) < bareDatagram || b[2] != 0 || b[3] != 0 {
		l.counts.malformed.Add(1)
		return Opened{}, ErrMalformed
	}
	buf := scratch.Get().(*Buffer)
	defer scratch.Put(buf)
	for _, t := range l.opens.Load().trunks[b[1]&epochMask] {
		plain, err := t.aead.Open(buf.b[:0], b[helloNonceAt:helloHeaderLen], b[helloHeaderLen:], b[:helloHeaderLen])
		if err != nil {
			continue
		}
		var m message
		if !m.parse(plain) {
			l.counts.malformed.Add(1)
			return Opened{}, ErrMalformed
		}
		return l.take(l.at(now), &m, t)
	}
	l.counts.forged.Add(1)
	return Opened{}, ErrForged
}

// take takes a hello that is the peer's. Whether it is of now is to be seen: only then does it change anything.
func (l *Link) take(at time.Duration, m *message, t *trunk) (Opened, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.theirs.knows(m.session) {
		if m.echo != l.own.challenge {
			l.counts.unproven.Add(1)
			return Opened{Answer: l.challenge(at, m)}, nil
		}
		l.accept(at, m, t)
	}
	if !l.theirs.numbers.take(m.hello.Number) {
		l.counts.replayed.Add(1)
		return Opened{}, ErrReplayed
	}
	l.hear(at)
	l.counts.hellos.Add(1)
	l.note(at, m)
	return Opened{Hello: &m.hello, Answer: l.answer(at, m)}, nil
}

// answer makes the answer to a hello that asks for one. It is not longer than what it answers.
func (l *Link) answer(at time.Duration, m *message) []byte {
	if !m.ask || l.said == nil || l.answers == maxAnswers {
		return nil
	}
	l.answers++
	l.counts.answers.Add(1)
	return l.hello(at, m.challenge, what{})
}

// challenge makes the answer to one that is not proven to be of now: it proves to the sender that we are, and asks for the same.
func (l *Link) challenge(at time.Duration, m *message) []byte {
	if !m.ask || l.said == nil || len(l.unproven) == maxUnproven || slices.Contains(l.unproven, m.session) {
		return nil
	}
	l.unproven = append(l.unproven, m.session)
	l.counts.answers.Add(1)
	return l.hello(at, m.challenge, what{ask: true})
}

// note takes what a hello says.
func (l *Link) note(at time.Duration, m *message) {
	t := &l.theirs
	if m.probe {
		t.probed = max(t.probed, m.hello.Number)
	}
	if m.hello.Source.IsValid() {
		t.sources = noteSource(t.sources, HeardSource{m.hello.Source, m.hello.Number})
	}
	if m.hello.Number <= t.newest {
		return // overtaken
	}
	t.newest, t.newestAt, t.challenge = m.hello.Number, at, m.challenge
	heard := t.hello.Heard
	t.hello = m.hello
	t.hello.Source = netip.Addr{}
	if m.hello.Heard == nil {
		t.hello.Heard = heard
	}
	l.gone.Store(m.hello.State == Gone)
	if t.holds != m.holds {
		t.holds = m.holds
		l.derive()
	}
	for _, s := range l.own.sessions {
		if s.trunk != nil && s.id == m.holds {
			l.learn(at, m)
			return
		}
	}
}

// noteSource returns a list with h as the latest heard, and room for no more than is reported. The list before may be in use: it stays as it is.
func noteSource(list []HeardSource, h HeardSource) []HeardSource {
	out := make([]HeardSource, 0, MaxHeard)
	for _, o := range list {
		if o.Addr != h.Addr {
			out = append(out, o)
		} else if o.Number > h.Number {
			h.Number = o.Number
		}
	}
	if len(out) == MaxHeard {
		out = append(out[:0], out[1:]...)
	}
	return append(out, h)
}

// learn takes what the peer reports of our hellos. It has heard those of this process, for it holds a session of it.
func (l *Link) learn(at time.Duration, m *message) {
	t, o := &l.theirs, &l.own
	if sent, ok := o.find(m.heard); ok {
		t.hears = max(t.hears, sent.at)
		t.measure(at - sent.at - time.Duration(m.held)*time.Microsecond)
	}
	if sent, ok := o.find(m.probed); ok {
		l.path.acked(sent.number, sent.size, at)
		l.mtu.Store(int64(l.path.confirmed))
	}
	for _, h := range m.hello.Heard {
		if sent, ok := o.find(h.Number); ok {
			o.reach(h.Addr, sent.at)
		}
	}
}

// maxRTT is longer than any path: a sample above it has a standstill of one of us in it.
const maxRTT = 2 * time.Second

// measure takes a sample of the round trip: a shorter one at once, for what is longer had to wait somewhere, and that little by little.
func (t *theirs) measure(sample time.Duration) {
	switch sample = max(sample, time.Microsecond); {
	case sample > maxRTT:
	case t.rtt == 0 || sample < t.rtt:
		t.rtt = sample
	default:
		t.rtt += (sample - t.rtt) / 16
	}
}
