package fleet

import (
	"fmt"
	"time"
)

// answered is the peer after a valid answer.
func (p *Peer) answered(now time.Time, rtt time.Duration, r *Report) *Peer {
	next := *p
	next.enter(Heard, now)
	next.Edge, next.Report, next.HeardAt, next.RTT = r.Edge, r, now, rtt
	next.Outcome, next.Err, next.Failures = OutcomeAnswered, nil, 0
	return &next
}

// own is the peer once its address is known to be this process's.
func (p *Peer) own(now time.Time) *Peer {
	next := *p
	next.enter(Self, now)
	next.Edge, next.Report, next.HeardAt, next.RTT = "", nil, time.Time{}, 0
	next.Outcome, next.Err, next.Failures = OutcomeSelf, nil, 0
	return &next
}

// failed is the peer after a question without a valid answer. That alone changes no state, but of an address that was our own:
// where it leads now is open.
func (p *Peer) failed(now time.Time, outcome Outcome, err error) *Peer {
	next := *p
	if p.State == Self {
		next.enter(Unknown, now)
	}
	next.Outcome, next.Err = outcome, err
	next.Failures++
	return &next
}

// at is the peer as time goes by: p itself while nothing changes. asking is since when this process has asked without standing still: what
// was not asked for can't be missed.
func (p *Peer) at(now, asking time.Time, silentAfter time.Duration) *Peer {
	if p.State != Heard && p.State != Unknown || now.Sub(p.base()) < silentAfter {
		return p
	}
	state := Silent
	if now.Sub(asking) < silentAfter {
		state = Unknown
	}
	if state == p.State {
		return p
	}
	next := *p
	next.enter(state, now)
	next.RTT = 0
	if state == Silent && next.Failures == 0 { // the question is still under way
		next.Outcome, next.Err = OutcomeTimeout, &Error{OutcomeTimeout, fmt.Errorf("no answer for %s", silentAfter)}
	}
	return &next
}

// base is from when silence is counted.
func (p *Peer) base() time.Time {
	if p.State == Heard {
		return p.HeardAt
	}
	return p.Since
}

func (p *Peer) enter(s State, now time.Time) {
	if p.State != s {
		p.State, p.Since = s, now
	}
}
