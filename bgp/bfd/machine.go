package bfd

import (
	"math/rand/v2"
	"time"
)

// slow is the least interval of sending while a session is not up, RFC 5880 section 6.8.3.
const slow = time.Second

// machine is one session as RFC 5880 section 6.8 has it. It knows no clock and no socket, and belongs to one goroutine.
//
//	       ┌── Down received ──▶ Init ──── Init or Up received ──▶ Up
//	Down ──┤                                                       ▲
//	       └── Init received ─────────────────────────────────────┘
//	any ── detection time expired, Down (in Up) or AdminDown received, hold ──▶ Down
//	any ── shut ──▶ AdminDown
type machine struct {
	// immutable
	interval   time.Duration // both desired and required, once up
	multiplier uint8
	passive    bool
	distant    bool   // over several hops
	mine       uint32 // bfd.LocalDiscr
	rand       *rand.Rand

	// bfd.* of section 6.8.1
	state            State
	diag             Diagnostic
	remote           State
	yours            uint32 // bfd.RemoteDiscr, 0: nobody is known
	remoteMinRx      time.Duration
	remoteDemand     bool
	remoteMinTx      time.Duration // the last Desired Min TX received
	remoteMultiplier uint8
	remoteDiag       Diagnostic

	polling bool // a Poll Sequence is under way, section 6.5
	answer  bool // a Poll waits for its Final
	urgent  bool // something new must be told before the next packet is due
	held    bool // see hold
	heard   time.Time
	sentAt  time.Time // the last packet but Finals, zero: none
	due     time.Time // the next packet
	since   time.Time // of state

	failures    uint64 // how many times it was lost but for administrative reasons
	transitions uint64
}

func newMachine(c Config, distant bool, mine uint32, r *rand.Rand, now time.Time) machine {
	m := machine{distant: distant, interval: c.Interval, multiplier: uint8(c.Multiplier), passive: c.Passive, mine: mine, rand: r, state: Down, since: now, due: now}
	m.forget()
	return m
}

// forget drops what is known of the other side.
func (m *machine) forget() {
	m.yours, m.remote, m.remoteDemand = 0, Down, false
	m.remoteMinRx, m.remoteMinTx, m.remoteMultiplier = time.Microsecond, 0, 0 // section 6.8.1
}

// desiredMinTx is bfd.DesiredMinTxInterval, section 6.8.3.
func (m *machine) desiredMinTx() time.Duration {
	if m.state != Up {
		return max(m.interval, slow)
	}
	return m.interval
}

// transmitInterval is without jitter, section 6.8.7.
func (m *machine) transmitInterval() time.Duration { return max(m.desiredMinTx(), m.remoteMinRx) }

// detectionTime is how long silence may last, section 6.8.4. Zero: nobody has been heard.
func (m *machine) detectionTime() time.Duration {
	return time.Duration(m.remoteMultiplier) * max(m.interval, m.remoteMinTx)
}

// jittered takes up to a quarter off an interval, and at least a tenth where one lost packet would be a failure, section 6.8.7.
func (m *machine) jittered(d time.Duration) time.Duration {
	least := time.Duration(0)
	if m.multiplier == 1 {
		least = d / 10
	}
	return d - least - time.Duration(m.rand.Int64N(int64(d/4-least)+1))
}

// set moves to a state.
func (m *machine) set(now time.Time, to State, why Diagnostic) {
	if m.state == to {
		return
	}
	if to == Up {
		m.polling = m.interval < slow // section 6.8.3: what changes Desired Min TX begins a Poll Sequence
	} else {
		m.polling = false // what has changed is told to the next session anew
	}
	m.state, m.diag, m.since = to, why, now
	m.transitions++
	m.urgent = true
}

// receive takes a packet that is for this session, section 6.8.6.
func (m *machine) receive(now time.Time, p packet) drop {
	switch {
	case p.yours != 0 && p.yours != m.mine:
		return dropDiscriminator
	case p.yours == 0 && m.distant && m.state == Up:
		// Over several hops anyone may have sent it who can forge an address, and it would take the session down. A router that has begun anew
		// does not send what keeps the session up, so the detection time says the same.
		return dropDiscriminator
	}
	if m.state == AdminDown {
		m.remote = p.state
		return kept
	}
	before := m.transmitInterval()
	m.heard = now
	m.yours, m.remote, m.remoteDiag, m.remoteDemand = p.mine, p.state, p.diag, p.demand
	m.remoteMinRx, m.remoteMinTx, m.remoteMultiplier = p.requiredMinRx, p.desiredMinTx, p.multiplier
	if p.final {
		m.polling = false
	}
	m.follow(now)
	m.answer = m.answer || p.poll
	if after := m.transmitInterval(); after != before {
		m.due = later(now, m.sentAt.Add(m.jittered(after)))
	}
	return kept
}

// follow is the state machine of section 6.8.6.
func (m *machine) follow(now time.Time) {
	if m.remote == AdminDown {
		if m.state != Down {
			m.set(now, Down, NeighborSignaledDown)
		}
		return
	}
	switch {
	case m.held:
		// Section 6.8.15 put it down, and there it stays.
	case m.state == Down && m.remote == Down:
		m.set(now, Init, m.diag)
	case m.state == Down && m.remote == Init, m.state == Init && m.remote != Down:
		m.set(now, Up, NoDiagnostic)
	case m.state == Up && m.remote == Down:
		m.failures++
		m.set(now, Down, NeighborSignaledDown)
	}
}

// hold keeps the session down until release. The other side hears of it at once and can't hold on to this one: Down with Forwarding
// Plane Reset is what section 6.8.15 has for "do not rely any more on what was forwarded here". Path Down would go with AdminDown (section
// 6.8.16), which is no failure and leaves the routes where they are.
func (m *machine) hold(now time.Time) {
	if m.held || m.state == AdminDown {
		return
	}
	m.held = true
	m.set(now, Down, ForwardingPlaneReset)
}

func (m *machine) release() { m.held = false }

// shut is for good, section 6.8.16.
func (m *machine) shut(now time.Time) { m.set(now, AdminDown, AdministrativelyDown) }

// advance applies what time has brought: the detection time, section 6.8.4.
func (m *machine) advance(now time.Time) {
	if m.yours == 0 || m.state == AdminDown || now.Sub(m.heard) < m.detectionTime() {
		return
	}
	if m.state == Up {
		m.failures++
	}
	if m.state != Down {
		m.set(now, Down, DetectionTimeExpired)
	}
	m.forget()
}

// quiet says whether no packet may be sent but a Final, section 6.8.7.
func (m *machine) quiet() bool {
	switch {
	case m.passive && m.yours == 0:
		return true
	case m.remoteDemand && m.state == Up && m.remote == Up && !m.polling:
		return true
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// next is when advance and output are to be asked again, at the latest.
func (m *machine) next() time.Time {
	var next time.Time
	if m.yours != 0 && m.state != AdminDown {
		next = m.heard.Add(m.detectionTime())
	}
	if !m.quiet() && m.remoteMinRx != 0 && (next.IsZero() || m.due.Before(next)) {
		next = m.due
	}
	return next
}

// output is the packet that must go out now, if there is one, and how late it is. It is to be asked until there is none.
func (m *machine) output(now time.Time) (p packet, late time.Duration, ok bool) {
	switch {
	case m.answer: // section 6.8.7: at once, whatever the intervals
		m.answer = false
		p = m.packet()
		p.poll, p.final = false, true
		return p, 0, true
	case m.quiet():
		m.urgent = false
		return packet{}, 0, false
	case m.urgent:
	case m.remoteMinRx == 0 || now.Before(m.due): // section 6.8.7: with a Required Min RX of zero nothing periodic
		return packet{}, 0, false
	default:
		late = now.Sub(m.due)
	}
	m.urgent = false
	m.sentAt, m.due = now, now.Add(m.jittered(m.transmitInterval()))
	return m.packet(), late, true
}

func (m *machine) packet() packet {
	return packet{
		diag: m.diag, state: m.state, poll: m.polling, multiplier: m.multiplier, mine: m.mine, yours: m.yours,
		desiredMinTx: m.desiredMinTx(), requiredMinRx: m.interval,
	}
}
