package fleet

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// An edge asks on one connection, a few more when some were cut without a word.
	connsOfPeer = 16
	// Edges whose address is another to us than the one they are asked at share these with everybody else.
	connsOfStrangers = 64

	perSecondOfPeer      = 50 // an edge asks at most ten times a second
	perSecondOfStrangers = 500
)

// sources bound what may be asked from where. The edges' own addresses have each a share of their own, which strangers can't use up.
type sources struct {
	peers     map[netip.Addr]*source // immutable
	strangers *source
}

func newSources(peers []Target) *sources {
	s := &sources{peers: make(map[netip.Addr]*source, len(peers)), strangers: newSource(connsOfStrangers, perSecondOfStrangers)}
	for _, p := range peers {
		s.peers[p.Address.Addr().Unmap()] = newSource(connsOfPeer, perSecondOfPeer)
	}
	return s
}

// of returns the share that an address has.
func (s *sources) of(a net.Addr) *source {
	if tcp, ok := a.(*net.TCPAddr); ok {
		if p := s.peers[tcp.AddrPort().Addr().Unmap().WithZone("")]; p != nil {
			return p
		}
	}
	return s.strangers
}

// source counts what is used of a share.
type source struct {
	maxConns int           // immutable
	interval time.Duration // immutable; between two questions at the rate

	mu    sync.Mutex
	conns int
	// owed is when what has been asked is paid for: each question takes one interval, and whoever is ahead by more than a second has to
	// wait (the generic cell rate algorithm, a token bucket in one number).
	owed time.Time
}

func newSource(maxConns, perSecond int) *source {
	return &source{maxConns: maxConns, interval: time.Second / time.Duration(perSecond)}
}

// enter counts a connection in, unless there are too many.
func (s *source) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns >= s.maxConns {
		return false
	}
	s.conns++
	return true
}

func (s *source) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
}

// ask counts a question in, unless they come too fast.
func (s *source) ask(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owed.Before(now) {
		s.owed = now
	}
	if s.owed.Sub(now) > time.Second {
		return false
	}
	s.owed = s.owed.Add(s.interval)
	return true
}

// gate is a listener that closes at once what is too much.
type gate struct {
	net.Listener
	sources *sources
	refused func()
}

// Accept returns the next connection that is within its share.
func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		s := g.sources.of(c.RemoteAddr())
		if s.enter() {
			return &visitor{Conn: c, source: s}, nil
		}
		c.Close()
		g.refused()
	}
}

// visitor is a connection that has been counted in.
type visitor struct {
	net.Conn
	source *source
	once   sync.Once
}

// Close ends the connection and counts it out.
func (v *visitor) Close() error {
	v.once.Do(v.source.leave)
	return v.Conn.Close()
}
