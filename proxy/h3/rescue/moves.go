package rescue

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxMoves      = 256              // that are shown
	maxKnownMoves = 4096             // that are told from new ones
	moveQuiet     = 10 * time.Minute // a move that is seen again within this is the same one
	moveLines     = 5                // a second, in the log
)

// Move is a part of the network whose packets came here for connections of another edge: its route has moved, or wavers.
type Move struct {
	Client  netip.Prefix `json:"client"` // a /24 or a /48
	From    netip.Addr   `json:"from"`   // the edge that holds the connections
	To      netip.Addr   `json:"to"`     // this one
	Reason  string       `json:"reason"` // see [Reason]
	At      time.Time    `json:"at"`     // the first packet's
	Packets uint64       `json:"packets"`
}

// move is a Move that goes on.
type move struct {
	client  netip.Prefix
	owner   *peer
	reason  Reason
	at      time.Time
	packets atomic.Uint64
}

type moveKey struct {
	client netip.Prefix
	owner  *peer
}

// moves are the moves of late: all of the last ten minutes as far as they fit, and the latest for those who ask.
type moves struct {
	log  *slog.Logger
	to   netip.Addr
	full counter

	mu     sync.Mutex
	known  map[moveKey]*move
	latest [maxMoves]*move // a ring
	next   int
	lines  int // left in this second
	unsaid int // moves that had no line
}

func newMoves(log *slog.Logger, to netip.Addr, full counter) *moves {
	return &moves{log: log, to: to, full: full, known: map[moveKey]*move{}, lines: moveLines}
}

// seen returns the move that a client's connection to owner is part of. Called for each new flow, not for each packet.
func (m *moves) seen(client netip.Addr, owner *peer, reason Reason, now time.Time) *move {
	k := moveKey{prefixOf(client), owner}
	m.mu.Lock()
	defer m.mu.Unlock()
	if v := m.known[k]; v != nil && now.Sub(v.at) < moveQuiet {
		return v
	}
	v := &move{client: k.client, owner: owner, reason: reason, at: now}
	if _, again := m.known[k]; again || len(m.known) < maxKnownMoves {
		m.known[k] = v
	} else {
		m.full.Inc()
	}
	m.latest[m.next] = v
	m.next = (m.next + 1) % maxMoves
	if m.lines == 0 {
		m.unsaid++
		return v
	}
	m.lines--
	m.log.Info("clients of another edge arrive here", "client", v.client, "from", owner.edge.Address, "from_region", owner.edge.Region,
		"to", m.to, "reason", reason)
	return v
}

// second begins another second: it forgets what is old, and sums up what had no line.
func (m *moves) second(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, v := range m.known {
		if now.Sub(v.at) >= moveQuiet {
			delete(m.known, k)
		}
	}
	if m.unsaid > 0 {
		m.log.Info("clients of other edges arrive here, more than are listed", "moves", m.unsaid)
	}
	m.lines, m.unsaid = moveLines, 0
}

// list returns the latest, newest first.
func (m *moves) list() []Move {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := []Move{}
	for i := range maxMoves {
		v := m.latest[(m.next-1-i+2*maxMoves)%maxMoves]
		if v == nil {
			break
		}
		l = append(l, Move{Client: v.client, From: v.owner.edge.Address, To: m.to, Reason: v.reason.String(), At: v.at, Packets: v.packets.Load()})
	}
	return l
}

// prefixOf is the part of the network that a route is for.
func prefixOf(a netip.Addr) netip.Prefix {
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
