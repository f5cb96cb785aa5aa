package rescue

import (
	"net/netip"
	"slices"
	"time"
)

// What goes directly to a client whose packets come by way of another edge may vanish without a word: a router that takes in our packets checks, for
// instance, whether the way back to their source is the one that they came by. The client knows, and goes on sending; and QUIC here knows that nothing is
// acknowledged. So connections are looked at while nothing has been seen to arrive.
const (
	trialLimit  = 3 * time.Second        // after which a trial without a result begins anew: what was sent then was not worth an acknowledgement
	trialSettle = 100 * time.Millisecond // at least, and two round trips: until then what is acknowledged may have gone another way
	trialWait   = 200 * time.Millisecond // at least, and a round trip: for an acknowledgement
	trialSent   = 4                      // packets without which silence says nothing
	maxTrials   = 256                    // at once
	stuckLife   = 30 * time.Second       // for which a client is answered through the tunnel that got nothing directly,
	blockFirst  = 30 * time.Second       // and all others, at first,
	blockMost   = 10 * time.Minute       // at last
	arrivedLife = 10 * time.Second       // for so long an acknowledgement stands for other clients
)

// Sample is what QUIC knows of a connection.
type Sample struct {
	Path     Path
	Sent     uint64        // packets
	Received uint64        // packets
	RTT      time.Duration // the latest sample, which changes with each acknowledgement
	Smoothed time.Duration
}

// Tried returns the clients that are to be looked at: those that packets go to directly, while it is not known whether those arrive. Nil mostly.
func (h *Hub) Tried() (tried map[Path]struct{}) {
	if h.cfg.Reply != ReplyAuto || h.homes.count.Load() == 0 {
		return nil
	}
	now := h.now()
	ns := h.since(now)
	if sources := *h.sources.Load(); len(sources) < maxSources && !slices.ContainsFunc(sources, func(s *source) bool { return s.unsure(now) }) {
		return nil // each client's is one of them
	}
	for i := range h.homes.parts {
		s := &h.homes.parts[i]
		s.mu.Lock()
		for k, v := range s.m {
			if ns-v.last > int64(trialLimit) || ns < v.stuck || !h.doubts(k, now) {
				continue
			}
			if tried == nil {
				tried = map[Path]struct{}{}
			}
			if tried[k] = struct{}{}; len(tried) == maxTrials {
				break
			}
		}
		s.mu.Unlock()
		if len(tried) == maxTrials {
			break
		}
	}
	return tried
}

// doubts reports whether packets to the client go directly, and nobody knows whether they arrive.
func (h *Hub) doubts(k Path, now time.Time) bool {
	s := h.source(k.Local, false)
	if s == nil {
		return h.announced(k.Local)
	}
	return s.unsure(now) && h.direct(k, now)
}

// unsure reports whether packets are sent from the address, and nothing was seen to arrive lately.
func (s *source) unsure(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.arrived) >= arrivedLife && !now.Before(s.blocked)
}

// Trials are the connections that are being looked at. They are for one goroutine.
type Trials struct {
	hub *Hub
	now map[any]*trial
}

// NewTrials looks for what does not arrive.
func (h *Hub) NewTrials() *Trials { return &Trials{hub: h} }

// trial is a connection of which we want to see something acknowledged.
type trial struct {
	began    time.Time
	settled  time.Time // zero: not yet
	sent     uint64    // when it began
	received uint64
	rtt      time.Duration // when it had settled
}

// verdict is what came out of a trial.
type verdict uint8

const (
	pending  verdict = iota
	arrives          //
	perhaps          // nothing was acknowledged, but no more was sent than what acknowledges the client's packets, and is not acknowledged itself
	vanishes         // nothing was acknowledged, and the client says nothing
	says             // nothing was acknowledged, and the client goes on talking
)

// Look takes what is known now of the connections of the clients that Tried returned; the keys tell connections apart.
func (t *Trials) Look(now time.Time, seen map[any]Sample) {
	if len(seen) == 0 && len(t.now) == 0 {
		return
	}
	next := make(map[any]*trial, len(seen))
	for c, s := range seen {
		v := t.now[c]
		if v == nil {
			v = &trial{began: now, sent: s.Sent, received: s.Received}
		}
		switch got := v.judge(&s, now); got {
		case pending:
			next[c] = v
		case arrives:
			t.hub.arrive(s.Path, now)
		default:
			t.hub.vanish(s.Path, got, now)
		}
	}
	t.now = next
}

// judge looks whether something was acknowledged: then there is another sample of the round trip.
func (t *trial) judge(s *Sample, now time.Time) verdict {
	switch trip := min(s.Smoothed, time.Second); {
	case t.settled.IsZero():
		if now.Sub(t.began) >= max(trialSettle, 2*trip) {
			t.settled, t.rtt = now, s.RTT
		}
	case s.RTT != t.rtt && s.RTT != 0: // 0 is another path of the client's
		return arrives
	case now.Sub(t.settled) >= max(trialWait, trip) && s.Sent-t.sent >= trialSent:
		switch received := s.Received - t.received; {
		case received == 0:
			return vanishes
		case s.Sent-t.sent > received:
			return says
		}
		return perhaps
	case now.Sub(t.began) > trialLimit:
		*t = trial{began: now, sent: s.Sent, received: s.Received}
	}
	return pending
}

// arrive notes that a client gets what is sent directly.
func (h *Hub) arrive(k Path, now time.Time) {
	if s := h.source(k.Local, false); s != nil {
		s.mu.Lock()
		s.arrived, s.blocked, s.block = now, time.Time{}, 0
		s.mu.Unlock()
	}
}

// vanish has the client answered through the tunnel, and if that is sure, and nobody else gets what is sent directly, all.
func (h *Hub) vanish(k Path, why verdict, now time.Time) {
	s := h.homes.lock(k)
	if v := s.m[k]; v != nil {
		v.stuck = h.since(now.Add(stuckLife))
	}
	s.mu.Unlock()
	if why == perhaps {
		return
	}
	h.metrics.vanished.Inc()
	if src := h.source(k.Local, false); src != nil {
		if d := src.vanish(k.Client, why == says, now); d > 0 {
			h.log.Warn("a client does not get what is sent to it directly from the anycast address, as where a network checks sources: clients that come by other edges are answered through those",
				"address", k.Local, "port", h.port, "for", d)
		}
	}
}

// vanish returns for how long the source is not used for anybody; 0: it works for others, or may. A client that says nothing any more may be gone itself,
// two of them are hardly.
func (s *source) vanish(client netip.AddrPort, talks bool, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.arrived) < arrivedLife || now.Before(s.blocked) {
		return 0
	}
	if alone := s.lost == client || now.Sub(s.lostAt) >= arrivedLife; alone && !talks {
		s.lost, s.lostAt = client, now
		return 0
	}
	s.block = min(max(2*s.block, blockFirst), blockMost)
	s.blocked, s.tries = now.Add(s.block), netip.AddrPort{}
	return s.block
}

// remembers reports whether it would be a loss to forget the source.
func (s *source) remembers(ns int64, start time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return start.Add(time.Duration(ns)).Before(s.blocked)
}
