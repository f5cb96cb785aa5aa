package health

import (
	"context"
	"net/netip"
	"time"
)

// ID names a target. A target with a Protocol is one of the edge's own listeners, any other an origin of a service.
type ID struct {
	Service string // "" for a listener
	Region  string // "" for a listener
	// Name is the origin's URL or the listener's address, as the configuration writes it.
	Name string
	// Protocol is the HTTP version that a listener is asked over; "" for an origin.
	Protocol Protocol
	// Address is the service address at which a listener is asked; the zero value: at its own.
	Address netip.Addr
}

// Self reports whether the target is one of the edge's own listeners.
func (id ID) Self() bool { return id.Protocol != "" }

// String names the target in words.
func (id ID) String() string {
	if id.Self() {
		at := ""
		if id.Address.IsValid() {
			at = " at " + id.Address.String()
		}
		return "listener " + id.Name + at + " over " + string(id.Protocol)
	}
	return "origin " + id.Name + " of " + id.Service + " in " + id.Region
}

// Probe asks a target once. It returns when ctx ends, which carries the timeout. The round-trip time is that of the path;
// 0 when it was not measured. An error is a failed probe; ReasonOf says how it is classified.
type Probe func(ctx context.Context) (rtt time.Duration, err error)

// Target is something to probe.
type Target struct {
	ID    ID
	Probe Probe
	// Config gives Interval, Timeout, Rise and Fall; a value of zero is the default. Path and Host are the Probe's own affair.
	Config Config
}

// normal returns the configuration with its defaults filled in.
func (t *Target) normal() Config {
	var d Config
	d.SetDefaults()
	c := t.Config
	if c.Interval <= 0 {
		c.Interval = d.Interval
	}
	if c.Timeout <= 0 {
		c.Timeout = min(d.Timeout, c.Interval)
	}
	if c.Rise <= 0 {
		c.Rise = d.Rise
	}
	if c.Fall <= 0 {
		c.Fall = d.Fall
	}
	return c
}
