package main

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"nearcast/admin"
)

const (
	orderTimeout   = 10 * time.Second
	maxOrderAnswer = 64 << 10
	followEvery    = 250 * time.Millisecond
)

type drainCmd struct {
	Prefix []string `sep:"none" placeholder:"PREFIX" help:"This prefix alone; may be given several times. Default: all."`
	Why    string   `placeholder:"TEXT" help:"What the log and the status say of it."`
	Force  bool     `help:"Though no other edge is known to hold the route in good health."`
	NoWait bool     `help:"Give the order and return. Without it the command ends when the routes are withdrawn."`

	adminTarget `embed:""`

	DryRun bool `help:"Print what would be done, and do nothing."`
	Yes    bool `help:"Do not ask first."`

	in    io.Reader     // where the answer to the question comes from; nil: standard input
	every time.Duration // between looks at the status; 0: followEvery
}

// Help is what kong prints below the flags' list.
func (c *drainCmd) Help() string {
	return `The routes are taken away by the steps of anycast.drain, and the edge serves on. The order holds until nearcast undrain, over a restart too where
anycast.state_file is set.

Exit codes: 0, drained; 1, the edge can't be asked, or the order was taken back meanwhile; 4, refused, because no other edge is known to hold the
route in good health (--force). When that comes about while the steps are taken, the drain waits on its last step.`
}

func (c *drainCmd) prefixes() (ps []netip.Prefix, err error) {
	for _, s := range c.Prefix {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("--prefix %s: is not a prefix such as 192.0.2.0/24", s)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// Validate is called by kong: what it refuses is a wrong command line.
func (c *drainCmd) Validate() error {
	_, err := c.prefixes()
	return err
}

// Run gives the order, and follows what becomes of it.
func (c *drainCmd) Run(s std) error {
	prefixes, err := c.prefixes()
	if err != nil {
		return err
	}
	address, err := c.address()
	if err != nil {
		return err
	}
	st, _, err := askStatus(address)
	if err != nil {
		return err
	}
	c.Prefix = nil // from here on as the edge writes them
	for _, p := range prefixes {
		c.Prefix = append(c.Prefix, p.String())
	}
	if err := drainPlan(s.err, st, c.Prefix); err != nil {
		return err
	}
	if c.DryRun {
		return nil
	}
	if !c.Yes && !confirm(s.err, c.in, "Go on?") {
		return errors.New("nothing was drained: the answer was not yes (--yes asks nothing)")
	}
	if _, err := tellAdmin(address, "/drain", admin.DrainOrder{Prefixes: prefixes, Why: c.Why, Force: c.Force}, orderTimeout, maxOrderAnswer); err != nil {
		return err
	}
	if c.NoWait {
		return nil
	}
	return c.follow(s, address)
}

// drainable says why an edge takes no orders, if it takes none.
func (st *statusView) drainable() error {
	switch {
	case st.Drain != nil && len(st.Prefixes) == 0:
		return fmt.Errorf("%s has only just started; ask it again in a moment", st.Edge)
	case st.Drain != nil:
		return nil
	case len(st.Prefixes) == 0:
		return fmt.Errorf("%s announces nothing: it has no anycast section", st.Edge)
	}
	return fmt.Errorf("%s is nearcast %s, which can't be drained by an order", st.Edge, st.Version)
}

// drainPlan says what the order comes to.
func drainPlan(w io.Writer, st *statusView, prefixes []string) error {
	if err := st.drainable(); err != nil {
		return err
	}
	var steps []string
	for _, step := range st.Drain.Ladder {
		var what []string
		if step.Community != "" {
			what = append(what, "community "+step.Community)
		}
		if step.Prepend > 0 {
			what = append(what, fmt.Sprintf("%d prepends", step.Prepend))
		}
		steps = append(steps, fmt.Sprintf("%s for %s", strings.Join(what, " and "), time.Duration(step.Seconds*float64(time.Second))))
	}
	fmt.Fprintf(w, "Drain of %s, region %s: %s\n", st.Edge, st.Region, strings.Join(append(steps, "withdraw"), ", then "))
	for _, p := range st.Prefixes {
		if len(prefixes) == 0 || slices.Contains(prefixes, p.Prefix) {
			fmt.Fprintf(w, "  %s  %s: %s\n", p.Prefix, p.Level, p.Reason)
		}
	}
	for _, asked := range prefixes {
		if !slices.ContainsFunc(st.Prefixes, func(p prefixView) bool { return p.Prefix == asked }) {
			return fmt.Errorf("%s is not one of the prefixes of %s", asked, st.Edge)
		}
	}
	return nil
}

// follow prints each step until the routes are withdrawn, or the order is there no more.
func (c *drainCmd) follow(s std, address string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(stop)
	every := c.every
	if every == 0 {
		every = followEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := map[string]string{}
	for {
		st, _, err := askStatus(address)
		if err != nil {
			return fmt.Errorf("the order was given, but how far it has come is not known: %w", err)
		}
		done := true
		for _, p := range st.Prefixes {
			if len(c.Prefix) > 0 && !slices.Contains(c.Prefix, p.Prefix) {
				continue
			}
			if now := p.standing(); now != last[p.Prefix] {
				last[p.Prefix] = now
				fmt.Fprintf(clean{s.out}, "%s  %s: %s\n", time.Now().Format(time.TimeOnly), p.Prefix, now)
			}
			done = done && !p.Announced
		}
		switch {
		case st.Drain == nil || st.Drain.Order == nil:
			return errors.New("the order to drain has been taken back")
		case done:
			return nil
		}
		select {
		case <-tick.C:
		case <-stop:
			return errors.New("interrupted; the drain goes on (nearcast undrain takes it back)")
		}
	}
}

type undrainCmd struct {
	adminTarget `embed:""`
}

// Run takes the order back.
func (c *undrainCmd) Run(s std) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	st, _, err := askStatus(address)
	if err != nil {
		return err
	}
	if err := st.drainable(); err != nil {
		return err
	}
	if _, err := tellAdmin(address, "/undrain", struct{}{}, orderTimeout, maxOrderAnswer); err != nil {
		return err
	}
	st, err = c.settled(address)
	if err != nil {
		return err
	}
	for _, p := range st.Prefixes {
		fmt.Fprintf(clean{s.out}, "%s  %s\n", p.Prefix, p.standing())
	}
	return nil
}

// settled is the status after the order: an edge in the middle of a step obeys after it.
func (c *undrainCmd) settled(address string) (*statusView, error) {
	const most = 8 // looks
	for i := 1; ; i++ {
		st, _, err := askStatus(address)
		if err != nil || i == most || !slices.ContainsFunc(st.Prefixes, func(p prefixView) bool { return p.Reason == "draining" || p.Level == "draining" }) {
			return st, err
		}
		time.Sleep(followEvery)
	}
}
