package fleet

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"github.com/VictoriaMetrics/metrics"
)

// Identity is who this edge is.
type Identity struct {
	Edge, Region string
	Software     string // version of the program
}

// Target is an address at which an edge of a region is asked.
type Target struct {
	Region  string
	Address netip.AddrPort
}

// Fleet answers the other edges' questions and asks its own. Nil is a fleet of nobody: it knows nothing and does nothing.
type Fleet struct {
	view *View
}

// Open reads the secret and opens the listener. With a nil config the Fleet is nil.
func Open(c *Config, self Identity, peers []Target, log *slog.Logger, set *metrics.Set) (*Fleet, error) {
	return nil, nil
}

// Addr is the address in use; nil for a nil Fleet.
func (f *Fleet) Addr() net.Addr { return nil }

// Publish sets what questions are answered with from now on: Draining, Load, Prefixes and Intents count. It never blocks.
func (f *Fleet) Publish(r Report) {}

// View returns what is known now; it never changes.
func (f *Fleet) View() *View { return nil }

// Subscribe returns a channel that wakes its reader after a state has changed or an edge says something else. A wake-up carries no data
// and several changes may make one: the reader takes a View. How long something has lasted changes without one. Nil for a nil Fleet.
func (f *Fleet) Subscribe() <-chan struct{} { return nil }

// Run answers and asks until ctx ends, and returns when every goroutine has. A Fleet is run once.
func (f *Fleet) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
