package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Route is one prefix to announce.
type Route struct {
	Prefix netip.Prefix
}

// NeighborStatus is a snapshot of one neighbor.
type NeighborStatus struct {
	Address      netip.Addr     `json:"address"`
	Port         uint16         `json:"port"`
	ASN          uint32         `json:"asn"`
	State        SessionState   `json:"state"`
	Since        time.Time      `json:"since"`         // when State began
	LocalAddress netip.Addr     `json:"local_address"` // of the session, invalid without one
	Prefixes     []netip.Prefix `json:"prefixes"`      // what this session has been sent and not withdrawn, sorted
	LastDown     string         `json:"last_down"`     // why the last session ended or the last attempt failed
	LastDownAt   time.Time      `json:"last_down_at"`
	Filtered     uint64         `json:"filtered"` // UPDATEs of the neighbor that were dropped
}

// SessionState is how far a neighbor's session has come.
type SessionState uint8

// The states, after RFC 4271 section 8.2.2 as far as an operator can tell them apart.
const (
	SessionIdle        SessionState = iota // waiting before the next attempt
	SessionConnect                         // the TCP connection is being made
	SessionOpen                            // OPENs and the first KEEPALIVEs are being exchanged
	SessionEstablished                     // routes are exchanged
)

var sessionStateNames = [...]string{"idle", "connect", "open", "established"}

// String is the state's name.
func (s SessionState) String() string {
	if int(s) < len(sessionStateNames) {
		return sessionStateNames[s]
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (s SessionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Speaker announces routes to the neighbors.
type Speaker struct{}

// NewSpeaker prepares a speaker; nothing is sent before Run. It fails when a password file can't be read.
func NewSpeaker(c *Config, log *slog.Logger, set *metrics.Set) (*Speaker, error) {
	return nil, errors.New("bgp: not built yet")
}

// Run holds the sessions until ctx ends, then closes those that Stop has not closed, and returns when all its goroutines have.
func (s *Speaker) Run(ctx context.Context) error { return nil }

// SetRoutes declares the whole set of routes. It does not wait; see Flush.
func (s *Speaker) SetRoutes(routes []Route) {}

// Flush waits until every established session has been sent the whole set that SetRoutes declared last.
func (s *Speaker) Flush(ctx context.Context) error { return nil }

// Status is a snapshot, in the configuration's order.
func (s *Speaker) Status() []NeighborStatus { return nil }

// Stop ends every session with CEASE, Administrative Shutdown and the reason as its shutdown communication (RFC 9003, cut to
// 255 bytes), and returns when the neighbors have closed, or with ctx.
func (s *Speaker) Stop(ctx context.Context, reason string) error { return nil }
