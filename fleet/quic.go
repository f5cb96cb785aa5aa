package fleet

import "time"

// QUICConfig is fleet.quic: what edges do for each other's QUIC connections.
type QUICConfig struct {
	// Rescue sends packets of another edge's connection on to that edge, so that connections outlive a move of the route, and shares the keys of
	// connection IDs and stateless resets. It talks over UDP at the ports of the QUIC listeners, from unicast address to unicast address.
	// Without it an edge has keys of its own: there is no way to share the key of resets alone, which RFC 9000 §21.11 forbids. Default true.
	Rescue bool `yaml:"rescue"`
	// Reply is how a connection's edge answers a client whose packets another edge has sent on: "direct", from here; "tunnel", through that edge;
	// "auto", directly where packets with the anycast address as their source are seen to leave. Default "auto".
	Reply string `yaml:"reply"`
	// DeadAfter is how long an edge may be silent before its connections are ended with stateless resets. Default 300ms, 100ms to 10s.
	DeadAfter time.Duration `yaml:"dead_after"`
	// FollowAfter is how long a client's packets may come by way of another region before the client is told to connect anew, and so comes to that
	// region: its route has moved for good, and each packet makes a detour. Default 30s, 1s to 1h; 0: never.
	FollowAfter time.Duration `yaml:"follow_after"`
	// MaxRate is how many packets a second are sent on to one edge; a quarter of it for one client. Default 100000, 100 to 10 million.
	MaxRate int `yaml:"max_rate"`
}

// The ways in which an edge replies.
const (
	ReplyAuto   = "auto"
	ReplyDirect = "direct"
	ReplyTunnel = "tunnel"
)

const (
	minDeadAfter = 100 * time.Millisecond
	maxDeadAfter = 10 * time.Second
	minFollow    = time.Second
	maxFollow    = time.Hour
	minRate      = 100
	maxRate      = 10_000_000
)

// SetDefaults fills in the defaults.
func (c *QUICConfig) SetDefaults() {
	*c = QUICConfig{Rescue: true, Reply: ReplyAuto, DeadAfter: 300 * time.Millisecond, FollowAfter: 30 * time.Second, MaxRate: 100_000}
}

// Validate calls report with the key and the fault of each value that can't be.
func (c *QUICConfig) Validate(report func(key, fault string)) {
	switch c.Reply {
	case ReplyAuto, ReplyDirect, ReplyTunnel:
	default:
		report("reply", "must be auto, direct or tunnel")
	}
	if c.DeadAfter < minDeadAfter || c.DeadAfter > maxDeadAfter {
		report("dead_after", "must be from 100ms to 10s")
	}
	if c.FollowAfter != 0 && (c.FollowAfter < minFollow || c.FollowAfter > maxFollow) {
		report("follow_after", "must be 0, or from 1s to 1h")
	}
	if c.MaxRate < minRate || c.MaxRate > maxRate {
		report("max_rate", "must be from 100 to 10000000 packets a second")
	}
}
