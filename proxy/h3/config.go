package h3

import (
	"crypto/tls"
	"log/slog"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/replay"
	"nearcast/proxy/h3/rescue"
	"nearcast/proxy/message"
)

// Config is what a Server needs to know before it opens.
type Config struct {
	// TLS has the certificates; its NextProtos are not used. The keys of session tickets are the fleet's or the server's own, new every day and
	// kept for a week, unless SessionTicketKey, WrapSession or SessionTicketsDisabled is set.
	TLS *tls.Config

	// Fleet is what the server shares with those of other edges. Nil: nothing; its keys live and die with it.
	Fleet *Fleet

	HandshakeTimeout time.Duration // 0: 10 s
	HeaderTimeout    time.Duration // from a request's first octet to the end of its header section; 0: 10 s
	IdleTimeout      time.Duration // of a connection without a request, of a silent client, and of a tunnel on which nothing moves; 0: 30 s
	Pace             message.Pace  // the slowest that a client may send content or take a response
	MaxHeader        int           // size of a field section as RFC 9114 §4.2.2 counts it; beyond it 431. 0: 1 MiB
	MaxStreams       int           // concurrent requests on one connection; 0: 100

	// EarlyData accepts 0-RTT from clients that were here before. Such requests may be replayed: they have TLS.EarlyData set until the
	// handshake is complete, and it is the handler's to let those wait that are not safe (RFC 8470).
	EarlyData bool
	// Replay notes which tickets early data came with: what comes with one that was used before waits until the handshake is complete, and no handler
	// sees it until then. One register serves all servers of a process. Nil: a flight that is sent again is acted on each time.
	Replay *replay.Register

	// Guard decides which clients get an answer while too many come; it may be that of other servers too. Nil: all, and those that come while many
	// handshakes are in progress must prove their address first.
	Guard *flood.Guard

	Events Events
	// CountError is told of each breach of the protocol, and each client that was too slow, by one of ErrorKinds. It may be nil.
	CountError func(kind string)
	Log        *slog.Logger // nil discards
	Metrics    *metrics.Set // nil: none are kept
	Name       string       // of the listener, for the metrics and the log

	now func() time.Time // nil: time.Now
}

// quic is the configuration of the QUIC layer.
func (c *Config) quic() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           c.HandshakeTimeout / 2, // the whole handshake may take twice this
		MaxIdleTimeout:                 c.IdleTimeout,
		MaxIncomingStreams:             int64(c.MaxStreams),
		MaxIncomingUniStreams:          maxUniStreams,
		InitialStreamReceiveWindow:     streamWindow,
		MaxStreamReceiveWindow:         streamWindowMost,
		InitialConnectionReceiveWindow: connWindow,
		MaxConnectionReceiveWindow:     connWindowMost,
		RequireStreamCreditRelease:     true, // a stream counts until its exchange is over, however fast it was reset
		Allow0RTT:                      c.EarlyData,
	}
}

// Fleet is what the servers of all edges share.
type Fleet struct {
	// Keys are the secrets that keys of tickets and address tokens come from, and with Rescue those of connection IDs and resets.
	Keys func() *keys.Ring
	// Rescue sends packets of other edges' connections on to them. Without it the keys of connection IDs and resets are the server's own: a reset key
	// that another edge knew would let an attacker use that edge to end connections here (RFC 9000 §21.11).
	Rescue *rescue.Config
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	for _, d := range []struct {
		v *time.Duration
		n time.Duration
	}{{&c.HandshakeTimeout, 10 * time.Second}, {&c.HeaderTimeout, 10 * time.Second}, {&c.IdleTimeout, 30 * time.Second}} {
		if *d.v <= 0 {
			*d.v = d.n
		}
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 1 << 20
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 100
	}
	if c.Guard == nil {
		c.Guard = flood.New(flood.Limits{RetryAbove: retryAbove}, time.Now(), nil)
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Events tells the owner of the server about connections. Any of them may be nil. client is the address of the first packet, which is
// not proven yet when Admit is asked; it stays the same when the client moves.
type Events struct {
	Admit           func(client netip.AddrPort) bool // a client begins a handshake; false refuses it, and no other event follows
	HandshakeFailed func(err error)                  // instead of Accepted
	Accepted        func()
	Closed          func(client netip.AddrPort) // the last event of every connection admitted
}
