package tunnel

import (
	"time"

	"nearcast/fleet/keys"
)

// maxSealed is how many datagrams are sealed in a session: 2^30 of them leave an attacker of AES-GCM an advantage of 2^-56.
const maxSealed = 1 << 30

// refresh takes up the secrets and the epoch of now, begins a session of ours when the newest is not with the first secret's key of the epoch,
// and ends those whose key is not accepted any more.
func (l *Link) refresh(now time.Time) {
	ring, epoch := l.cfg.Keys(), keys.At(now)
	o := l.opens.Load()
	if o == nil || o.ring != ring || o.epoch != epoch {
		o = newOpens(ring, epoch, l.cfg.Peer, l.cfg.Self)
		l.opens.Store(o)
		l.own.trunk = newTrunk(ring.First(), epoch, l.cfg.Self, l.cfg.Peer)
		if t := l.theirs.sessions[0].trunk; t != nil && !o.has(t) {
			// Should the secret come back, then not these sessions with windows that have forgotten what was opened.
			l.own.sessions, l.own.challenge = [2]session{}, l.draw()
			l.forget()
		} else if t := l.theirs.sessions[1].trunk; t != nil && !o.has(t) {
			l.theirs.sessions[1] = session{}
			l.derive()
		}
	}
	newest := l.own.sessions[0].trunk
	if newest != nil && newest.key == l.own.trunk.key && l.sequence.Load()-l.own.first < maxSealed {
		return
	}
	at := l.at(now)
	if l.theirs.holds != l.own.sessions[1].id || l.own.sessions[1].trunk == nil {
		l.begin(at)
	} else if !l.up(at) || at-l.own.since > 2*(l.cfg.DeadAfter+l.theirs.rtt) {
		// The peer still holds the one before the newest, and had time to take the newest: it can't, and the one before must stay readable.
		l.own.sessions[0] = l.own.sessions[1]
		l.pairs[0] = l.pairs[1]
		l.begin(at)
	}
}

// begin makes a new session of ours. The one before it stays for what is on its way, and until the peer holds the new one.
func (l *Link) begin(at time.Duration) {
	l.own.sessions[1], l.pairs[1] = l.own.sessions[0], l.pairs[0]
	l.own.sessions[0], l.pairs[0] = session{l.draw(), l.own.trunk}, [2]*pair{}
	l.own.since, l.own.first = at, l.sequence.Load()
	l.derive()
}

// accept makes a session of the peer's its newest, after proof that it is of now.
func (l *Link) accept(at time.Duration, m *message, t *trunk) {
	if m.process != l.theirs.process {
		// Another process: nothing of the one before is of use any more. A new session of ours makes sure that no pair of sessions comes
		// about twice, whatever processes of the peer come and go.
		if l.theirs.process != (nonce{}) {
			l.theirs.restarts++
			l.forget()
			l.begin(at)
		}
		l.theirs.renew(m.process, m.hello.Number)
	}
	l.theirs.sessions[1] = l.theirs.sessions[0]
	l.theirs.sessions[0] = session{m.session, t}
	for i := range l.pairs {
		l.pairs[i][1], l.pairs[i][0] = l.pairs[i][0], nil
	}
	l.own.challenge = l.draw() // what echoes the one before proves nothing any more
	l.counts.sessions.Add(1)
	l.derive()
}

// forget ends the sessions of the peer.
func (l *Link) forget() {
	l.theirs.sessions = [2]session{}
	l.theirs.challenge, l.theirs.holds = nonce{}, nonce{}
	l.derive()
}

// derive makes the pairs that are missing, drops those that have lost a side, and tells Seal and Open.
func (l *Link) derive() {
	r := new(receivers)
	var sender *pair
	for i, ours := range l.own.sessions {
		for j, theirs := range l.theirs.sessions {
			p := &l.pairs[i][j]
			switch {
			case ours.trunk == nil || theirs.trunk == nil:
				*p = nil
				continue
			case *p == nil:
				*p = newPair(ours, theirs)
			}
			r.pairs[r.n] = *p
			r.n++
			if j == 0 && ours.id == l.theirs.holds {
				sender = *p
			}
		}
	}
	l.receivers.Store(r)
	l.sender.Store(sender)
}
