// Package rescue keeps QUIC connections alive when a route moves: packets of another edge's connection are sent on to that edge.
package rescue

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
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
	ReplyAuto   Reply = iota // directly where packets with the anycast address as their source are seen to arrive, else through the tunnel
	ReplyDirect              // from here
	ReplyTunnel              // through the edge that sent the client's packets on
)

// State is what an edge is about.
type State uint8

// The states, in their order.
const (
	Announcing State = iota
	Draining         // its routes are withdrawn or about to be; its connections go on
	Gone             // it has ended them
)

// Config is what a hub needs to know. Self, Keys and DeadAfter must be set.
type Config struct {
	Self      Edge
	Instance  uint8 // of this process, as in connection IDs
	Peers     []Edge
	Keys      func() *keys.Ring
	Reply     Reply
	DeadAfter time.Duration // an edge that is silent for so long is dead
	MaxRate   int           // packets a second to each peer; 0: 100,000
	// Announced says whether this edge announces the address now. Nil: always.
	Announced func(netip.Addr) bool
	// Parameters are a digest of the transport limits that a client's 0-RTT depends on: they must be the same in all edges.
	Parameters [8]byte
	Log        *slog.Logger
	Metrics    *metrics.Set
}

// Hub is the part of one QUIC port that talks with the same port of other edges.
type Hub struct{ cfg Config }

// New makes a hub for a port. Every socket of the port must have been added before Run.
func New(cfg Config, port uint16) *Hub { return &Hub{cfg: cfg} }

// Add adds the socket of a worker.
func (h *Hub) Add(worker uint8, udp *net.UDPConn) {}

// Run talks with the others until ctx ends.
func (h *Hub) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// SetState says what this edge is about from now on. With Gone every peer is told at once.
func (h *Hub) SetState(s State) {}

// IsTunnel reports whether a datagram came from another edge's hub, or pretends to.
func IsTunnel(b []byte) bool { return len(b) > 0 && b[0] == 0x0e }

// Tunnelled takes such a datagram. true: m has become the datagram of a client of ours, with its addresses and ECN.
func (h *Hub) Tunnelled(worker uint8, m *ipv4.Message) bool { return false }

// Foreign takes the datagram of a connection that another edge holds, or an earlier process here: it is sent on, answered with a stateless reset, or
// dropped. id is its destination connection ID, and p and by what that says.
func (h *Hub) Foreign(worker uint8, m *ipv4.Message, id []byte, p cid.Place, by *keys.Secret) {}

// Flush sends what Tunnelled and Foreign have left to be sent since the last call. Call it after each batch.
func (h *Hub) Flush(worker uint8) {}

// Write sends what QUIC wants to send to a client, when that has to go through the tunnel; ok is false when it has not.
func (h *Hub) Write(worker uint8, b, oob []byte, to *net.UDPAddr) (n, oobn int, err error, ok bool) {
	return 0, 0, nil, false
}
