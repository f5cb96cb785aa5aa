package tunnel

import (
	"sync/atomic"
	"time"
)

// Peer is what a link knows of the peer.
type Peer struct {
	Up        bool          // something fresh was heard within DeadAfter, and the peer did not say that it is gone
	Dead      bool          // see [Link.Dead]; before the peer was ever heard it may be neither
	Ready     bool          // it can open what is sealed for it
	HearsUs   bool          // it has reported to have heard what was sent within DeadAfter and a round trip
	Hello     Hello         // the latest, without Source; Heard is from the latest that had it
	RTT       time.Duration // 0: unknown
	MTU       int           // the largest datagram that the path to it carries, in octets of UDP payload
	LastHeard time.Time     // zero: never
	Restarts  uint64        // times that another process has taken its place
}

// Peer returns what is known now. Do not modify what it refers to.
func (l *Link) Peer(now time.Time) Peer {
	at := l.at(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	p := Peer{
		Up: l.up(at), Dead: l.Dead(now), Ready: l.sender.Load() != nil,
		Hello: l.theirs.hello, RTT: l.theirs.rtt, MTU: int(l.mtu.Load()), Restarts: l.theirs.restarts,
	}
	if h := time.Duration(l.heard.Load()); h != never {
		p.LastHeard = l.start.Add(h)
	}
	p.HearsUs = l.hearsUs(at)
	return p
}

// hearsUs is about the other direction. A report is as old as its way there and back, and as the time until the peer's next hello. While Tick is
// late, it is as it was.
func (l *Link) hearsUs(at time.Duration) bool {
	if ticked := time.Duration(l.ticked.Load()); l.late(at, ticked) {
		at = ticked
	}
	t := &l.theirs
	return l.up(at) && t.rtt > 0 && t.hears != never && at-t.hears <= l.cfg.DeadAfter+l.interval+t.rtt
}

// Counters are since the start of the link.
type Counters struct {
	Sealed      uint64 // packets
	Split       uint64 // of them, into two datagrams
	Opened      uint64 // packets, whole
	Hellos      uint64 // fresh ones
	Answers     uint64 // to hellos
	Sessions    uint64 // of the peer's that were taken up
	Unproven    uint64 // hellos of the peer's that may be of an earlier time
	Malformed   uint64
	Other       uint64 // datagrams of other edges
	Unknown     uint64 // of sessions that are not known
	Forged      uint64
	Replayed    uint64
	HalvesLost  uint64 // whose other half did not come, or had no room to wait
	BlackHoles  uint64 // times that the path had stopped to carry what it had carried
	Standstills uint64 // times that Tick was so late that silence said nothing
}

type counts struct {
	sealed, split, opened, hellos, answers, sessions, unproven, malformed, other, unknown, forged, replayed, halvesLost, blackHoles, standstills atomic.Uint64
}

// Counters returns what was counted.
func (l *Link) Counters() Counters {
	c := &l.counts
	return Counters{
		Sealed: c.sealed.Load(), Split: c.split.Load(), Opened: c.opened.Load(), Hellos: c.hellos.Load(), Answers: c.answers.Load(),
		Sessions: c.sessions.Load(), Unproven: c.unproven.Load(), Malformed: c.malformed.Load(), Other: c.other.Load(),
		Unknown: c.unknown.Load(), Forged: c.forged.Load(), Replayed: c.replayed.Load(), HalvesLost: c.halvesLost.Load(),
		BlackHoles: c.blackHoles.Load(), Standstills: c.standstills.Load(),
	}
}
