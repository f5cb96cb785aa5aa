package flood

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"nearcast/bench/process"
)

// measure is the measurement of one flood.
type measure struct {
	*bench
	set process.Set
	row Row
}

// reading is what an edge has used and seen so far.
type reading struct {
	use                       process.Usage
	received, passed, retries int64
	goroutines                int64
}

// run lets clients come, first by themselves and then in a flood.
func (m *measure) run(ctx context.Context, s *sender) error {
	start, err := m.read(ctx)
	if err != nil {
		return err
	}
	m.row.Before = m.clients(ctx, m.o.Duration)
	calm, err := m.read(ctx)
	if err != nil {
		return err
	}
	flood, cancel := context.WithCancel(ctx)
	defer cancel()
	var sending, coming sync.WaitGroup
	var sendErr error
	sending.Go(func() { sendErr = s.run(flood) })
	coming.Go(func() { m.row.During = m.clients(ctx, m.o.Duration) })
	early, late, err := m.watch(ctx, s)
	coming.Wait() // the flood goes on until the last client is in, or has given up
	cancel()
	sending.Wait()
	if err = errors.Join(err, sendErr, ctx.Err()); err != nil {
		return err
	}
	m.fill(start, calm, early, late)
	return nil
}

// watch reads after the onset of a flood, and at its end.
func (m *measure) watch(ctx context.Context, s *sender) (early, late reading, err error) {
	if err = wait(ctx, onset); err == nil {
		early, err = m.read(ctx)
	}
	if err == nil {
		err = wait(ctx, m.o.Duration-onset)
	}
	if err == nil {
		m.row.Sent = s.sent.Load()
		late, err = m.read(ctx)
	}
	return early, late, err
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *measure) clients(ctx context.Context, d time.Duration) Clients {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c := &clients{to: m.quic, tls: m.tls, rnd: m.rnd}
	return c.run(ctx, m.o.Clients)
}

// fill computes the row. Clients cost the edge as much before the flood as in it.
func (m *measure) fill(start, calm, early, late reading) {
	r := &m.row
	base := calm.use.Since(start.use)
	r.Received, r.Passed, r.Retries = late.received-calm.received, late.passed-calm.passed, late.retries-calm.retries
	each := func(from, to reading) (all, kernel time.Duration) {
		n := to.received - from.received
		if n <= 0 {
			return 0, 0
		}
		part := float64(to.received-from.received) / float64(r.Received) // of the time, and so of the clients
		use := to.use.Since(from.use)
		all = use.CPU() - time.Duration(part*float64(base.CPU()))
		kernel = use.System - time.Duration(part*float64(base.System))
		return all / time.Duration(n), kernel / time.Duration(n)
	}
	r.CPU, _ = each(calm, late)
	r.Steady, r.Kernel = each(early, late)
	r.RSSBefore, r.RSSAfter = calm.use.RSS, late.use.RSS
	r.GoroutinesBefore, r.GoroutinesAfter = calm.goroutines, late.goroutines
}

// read asks the system and the edge.
func (m *measure) read(ctx context.Context) (r reading, err error) {
	if r.use, err = m.set.Read(); err != nil {
		return r, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.http+"/metrics", nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, fmt.Errorf("asking the edge for its metrics: %w", err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, text, ok := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if !ok || err != nil {
			continue
		}
		switch {
		case name == "go_goroutines":
			r.goroutines = int64(value)
		case name == "nearcast_quic_retries_total":
			r.retries = int64(value)
		case strings.HasPrefix(name, "nearcast_quic_initials_total{"):
			r.received += int64(value)
			if strings.Contains(name, `"passed"`) {
				r.passed = int64(value)
			}
		}
	}
	return r, nil
}
