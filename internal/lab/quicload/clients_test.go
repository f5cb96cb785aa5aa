package quicload

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is for a client's whole test. On a machine that is very busy a browser takes half a minute to start, and one test starts two.
const patience = 3 * time.Minute

// eachClient runs a test for every client that is there. Clients take turns with their one server.
func eachClient(t *testing.T, f func(t *testing.T, ctx context.Context, c Client)) {
	for _, c := range Clients() {
		t.Run(c.Name(), func(t *testing.T) {
			if err := c.Available(); err != nil {
				t.Skipf("SKIPPED: needs %v; make setup installs it", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			f(t, ctx, c)
		})
	}
}

// Every client asks at its rate over one connection, and no request fails. Then another server takes the place of the first: it has the
// same keys and resets the connection. All but ngtcp2's client, which has no way to, go on with that one over a second connection.
func TestClients(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	eachClient(t, func(t *testing.T, ctx context.Context, c Client) {
		s.replace("edge-1")
		run, err := c.Start(ctx, s.target)
		must(t, err)
		s.await(t, ctx, 20)
		event := time.Now()
		s.replace("edge-2")
		if c.Name() != "ngtcp2" {
			s.await(t, ctx, 20)
		}
		records, err := run.Stop(ctx)
		must(t, err)
		s.gone(t)

		before, after := split(records, event)
		s.check(t, c, before)
		failed := Failed(after)
		t.Logf("%d requests, %d failed after the event, longest gap %v, %d connections", len(records), len(failed), LongestGap(records, event),
			Connections(records, time.Time{}))
		for _, r := range append(failed, after[max(0, len(after)-1):]...) {
			t.Logf("  %v to %v over %s: %s", r.Start.Sub(event), r.End.Sub(event), r.Protocol, r.Err)
		}
		if c.Name() == "ngtcp2" {
			return
		}
		if edges := Edges(after); !slices.Contains(edges, "edge-2") {
			t.Errorf("served by %q: %+v", edges, failed)
		}
		early := s.last.Load() != nil && s.last.Load().ConnectionState().Used0RTT
		t.Logf("0-RTT: %t", early)
		if c.Name() == "quic-go" && !early {
			t.Error("the second connection was made without 0-RTT")
		}
		if n := Connections(records, time.Time{}); n != 2 {
			t.Errorf("%d connections", n)
		}
	})
}

// split tells what had ended at the event from what had not.
func split(records []Record, event time.Time) (before, after []Record) {
	for _, r := range records {
		if r.End.Before(event) {
			before = append(before, r)
		} else {
			after = append(after, r)
		}
	}
	return before, after
}

func (s *stage) check(t *testing.T, c Client, records []Record) {
	t.Helper()
	if len(records) == 0 {
		t.Error("no request had ended before the event")
	}
	protocol := "h3"
	if strings.HasSuffix(c.Name(), "h2") {
		protocol = "h2"
	}
	for i, r := range records {
		if r.Err != "" || r.Protocol != protocol || r.Via != "edge-1" || r.Connection != 1 {
			t.Errorf("request %d: %+v", i, r)
		}
		if r.Start.After(r.End) || i > 0 && r.Start.Before(records[i-1].Start) || time.Since(r.Start) > time.Minute {
			t.Errorf("request %d is from %v to %v", i, r.Start, r.End)
		}
	}
}

// Every client that can move bytes has them all arrive as they were sent, over IPv6 too.
func TestTransfers(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.target.Address = netip.MustParseAddr("2001:db8:1::2")
	const size = 3_000_001
	eachClient(t, func(t *testing.T, ctx context.Context, c Client) {
		m, ok := c.(Mover)
		if !ok {
			t.Skip("it moves nothing")
		}
		for _, d := range []Direction{Down, Up} {
			got, err := m.Move(ctx, s.target, d, size)
			if err != nil || got.Err != "" || got.Bytes != size || !got.Verified || got.Took <= 0 {
				t.Errorf("%s: %+v %v", d, got, err)
			}
			t.Logf("%s: %+v", d, got)
			s.gone(t)
		}
	})
}

// Requests that have no answer are reported at the stop as they are; so is a transfer at the end of its time.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	eachClient(t, func(t *testing.T, ctx context.Context, c Client) {
		if strings.HasPrefix(c.Name(), "chromium") {
			t.Skip("Firefox does for the browsers")
		}
		s.replace("edge-1")
		run, err := c.Start(ctx, s.target)
		must(t, err)
		s.silent.Store(true)
		defer s.silent.Store(false)
		must(t, poll(ctx, func() (bool, error) { return s.hanging.Load() > 0, nil }))
		records, err := run.Stop(ctx)
		must(t, err)
		s.gone(t)
		last := records[len(records)-1]
		if !last.Hanging() || last.End.Sub(last.Start) < leaveTime/2 || LongestGap(records, records[0].Start) < leaveTime/2 {
			t.Errorf("the last request: %+v", last)
		}
		if m, ok := c.(Mover); ok && c.Name() != "firefox" {
			short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			got, err := m.Move(short, s.target, Down, 1000)
			if err != nil || !strings.HasPrefix(got.Err, Unfinished) || got.Verified || got.Bytes != 0 {
				t.Errorf("a transfer: %+v %v", got, err)
			}
		}
	})
}
