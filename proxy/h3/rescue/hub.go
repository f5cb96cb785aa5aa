// Package rescue keeps QUIC connections alive when a route moves: packets of another edge's connection are sent on to that edge.
//
// A [Hub] stands between a QUIC port's sockets and QUIC. What arrives for a connection of another edge it seals into that edge's tunnel (package
// tunnel), which is on the same port; what arrives from there it makes the client's datagram again, so that QUIC sees neither another path nor
// another client. The edges greet each other all the time. When one has died, those who send packets on to it tell its clients, with stateless resets
// (RFC 9000 §10.3), to connect anew.
package rescue

import (
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
	"nearcast/proxy/h3/rescue/tunnel"
)

// Edge is one edge of the fleet.
type Edge struct {
	Number  uint32     // see [cid.EdgeNumber]
	Region  string     //
	Address netip.Addr // unicast; its QUIC listeners have the same ports as ours
}

// Reply is how packets get back to a client whose own were sent on to us.
type Reply uint8

// The ways back.
const (
	ReplyAuto   Reply = iota // directly where packets with the anycast address as their source are seen to arrive, else through the edge that sends them on
	ReplyDirect              // from here
	ReplyTunnel              // through the edge that sent the client's packets on, while it is there
)

// State is what an edge is about.
type State uint8

// The states, in their order.
const (
	Announcing State = iota
	Draining         // its routes are withdrawn or about to be; its connections go on
	Gone             // it has ended them
)

// Config is what a hub needs to know. Self and Keys must be set.
type Config struct {
	Self      Edge
	Instance  uint8  // of this process, as in connection IDs
	Peers     []Edge // at most 255
	Keys      func() *keys.Ring
	Reply     Reply
	DeadAfter time.Duration // an edge that is silent for so long is dead; 0: 300 ms
	MaxRate   int           // packets a second to each peer, and from it to clients; 0: 100,000. A client gets a quarter of it
	// Announced says whether this edge announces the address now. It is asked often, and for each packet to a client that other edges have sent on.
	// Nil: always.
	Announced func(netip.Addr) bool
	// FollowAfter is how long a client's packets may come by way of another region before the client is told to connect anew, which brings it there.
	// The server does that; 0: never.
	FollowAfter time.Duration
	// Parameters are a digest of the transport limits that a client's 0-RTT depends on: they must be the same in all edges.
	Parameters [8]byte
	Log        *slog.Logger
	Metrics    *metrics.Set
}

const (
	defaultRate      = 100_000
	defaultDeadAfter = 300 * time.Millisecond
	maxRate          = 10_000_000
	resetRate        = 10_000 // stateless resets a second that answer packets
	maxPeers         = 255
)

// Hub is the part of one QUIC port that talks with the same port of other edges. Its methods may be called at the same time.
type Hub struct {
	// immutable
	cfg      Config
	port     uint16
	log      *slog.Logger
	metrics  *hubMetrics
	peers    []*peer
	numbers  map[uint32]*peer
	started  time.Time
	now      func() time.Time
	interval time.Duration // between greetings
	lanes    [cid.MaxWorkers]*lane
	from     atomic.Pointer[control] // what greetings and tunnels are sent from

	judged time.Time // when Run, whose it is, looked at the peers last

	clients *rates // packets of a client that are sent on
	resets  *rate
	flows   *table[flowKey, flow] // clients of others
	homes   *table[Path, home]    // clients of ours
	moves   *moves
	away    *crowd // the clients in homes

	sourceMu sync.Mutex // to change sources
	sources  atomic.Pointer[[]*source]

	state  atomic.Uint32 // State
	wake   chan struct{} // something about a peer has changed
	deaths chan struct{} // flows of a dead peer are to be ended
}

// New makes a hub for a port. Every socket of the port must have been added before Run.
func New(cfg Config, port uint16) *Hub {
	if cfg.MaxRate == 0 {
		cfg.MaxRate = defaultRate
	}
	cfg.MaxRate = min(max(cfg.MaxRate, 4), maxRate)
	if cfg.DeadAfter <= 0 {
		cfg.DeadAfter = defaultDeadAfter
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = metrics.NewSet()
	}
	h := &Hub{
		cfg: cfg, port: port, log: cfg.Log, metrics: newHubMetrics(cfg.Metrics, port), now: time.Now, started: time.Now(), interval: cfg.DeadAfter / 4,
		numbers: map[uint32]*peer{}, clients: newRates(cfg.MaxRate / 4), resets: newRate(resetRate),
		wake: make(chan struct{}, 1), deaths: make(chan struct{}, 1),
	}
	h.flows = newTable[flowKey, flow](maxFlows, h.metrics.flowsFull)
	h.homes = newTable[Path, home](maxHomes, h.metrics.homesFull)
	h.away = &crowd{seed: maphash.MakeSeed()}
	h.homes.noted = func(k Path, by int32) { h.away.place(k.Client).Add(by) }
	h.moves = newMoves(cfg.Log, cfg.Self.Address, h.metrics.movesFull)
	h.sources.Store(new([]*source))
	h.from.Store(new(control))
	for _, e := range cfg.Peers {
		if e.Number == cfg.Self.Number || h.numbers[e.Number] != nil || len(h.peers) == maxPeers {
			h.log.Warn("packets of an edge's QUIC connections can't be sent on: it has another edge's number, or is one too many", "peer", e.Address, "most", maxPeers)
			continue
		}
		h.addPeer(e)
	}
	return h
}

func (h *Hub) addPeer(e Edge) {
	p := &peer{
		edge: e, index: uint8(len(h.peers)), near: e.Region == h.cfg.Self.Region,
		addr: udpAddr(netip.AddrPortFrom(e.Address.Unmap(), h.port), false),
		out:  newRate(h.cfg.MaxRate), back: newRate(h.cfg.MaxRate),
		metrics: newPeerMetrics(h.cfg.Metrics, h.where(e)),
	}
	p.view.Store(&view{since: h.started})
	p.link = tunnel.NewLink(tunnel.LinkConfig{Self: h.cfg.Self.Number, Peer: e.Number, Keys: h.cfg.Keys, DeadAfter: h.cfg.DeadAfter}, h.started)
	h.peers = append(h.peers, p)
	h.numbers[e.Number] = p
}

// Add adds the socket of a worker. Call it before anything of that worker's, and before Run.
func (h *Hub) Add(worker uint8, udp *net.UDPConn) {
	if int(worker) < len(h.lanes) {
		h.lanes[worker] = newLane(udp)
	}
}

// lane is the sending side of a worker's socket, nil if there is none.
func (h *Hub) lane(worker uint8) *lane {
	if int(worker) < len(h.lanes) {
		return h.lanes[worker]
	}
	return nil
}

// IsTunnel reports whether a datagram came from another edge's hub, or pretends to.
func IsTunnel(b []byte) bool { return len(b) > 0 && b[0] == tunnel.Magic }

// fromFor is what a datagram for the peer's tunnel is sent from.
func (h *Hub) fromFor(p *peer) control {
	if c := h.from.Load(); c.local.Is4() == p.edge.Address.Unmap().Is4() {
		return *c
	}
	return control{}
}

// since is the time that tables and rates are kept in.
func (h *Hub) since(now time.Time) int64 { return int64(now.Sub(h.started)) }

func (h *Hub) drop(why drop) { h.metrics.dropped[why].Inc() }

// isSix reports whether a socket is one for IPv6, with or without IPv4.
func isSix(udp *net.UDPConn) bool {
	domain := unix.AF_INET
	if raw, err := udp.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			if d, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err == nil {
				domain = d
			}
		})
	}
	return domain == unix.AF_INET6
}
