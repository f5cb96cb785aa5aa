package bgp

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// RouteSetter is what an Announcer declares its decisions to: a Speaker.
type RouteSetter interface {
	SetRoutes(routes []Route)
	Flush(ctx context.Context) error
}

// PrefixStatus is a snapshot of one prefix.
type PrefixStatus struct {
	Prefix        netip.Prefix `json:"prefix"`
	Announced     bool         `json:"announced"`
	Reason        Reason       `json:"reason"`
	Detail        string       `json:"detail,omitempty"`
	Since         time.Time    `json:"since"`           // when Announced last changed, or when the Announcer began
	HoldDownUntil time.Time    `json:"hold_down_until"` // zero: not held down
}

// Announcer applies Decide: it looks at the inputs when woken and when a decision asks for it, and declares the routes.
type Announcer struct{}

// NewAnnouncer prepares an announcer; inputs must be quick and safe to call from another goroutine.
func NewAnnouncer(c *Config, routes RouteSetter, inputs func() Inputs, log *slog.Logger, set *metrics.Set) *Announcer {
	return &Announcer{}
}

// Run decides until ctx ends, then withdraws everything.
func (a *Announcer) Run(ctx context.Context) {}

// Wake makes Run look at the inputs again. It never blocks.
func (a *Announcer) Wake() {}

// Stop orders the withdrawal of everything, for good, and returns when the neighbors have been sent it, or with ctx.
func (a *Announcer) Stop(ctx context.Context) error { return nil }

// Status is a snapshot, in the configuration's order. Nil before Run's first decision.
func (a *Announcer) Status() []PrefixStatus { return nil }
