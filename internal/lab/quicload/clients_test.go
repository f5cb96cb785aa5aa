package quicload

import (
	"context"
	"strings"
	"testing"
	"time"
)

// Every client asks at its rate over one connection, and no request fails.
func TestClients(t *testing.T) {
	s := newStage(t)
	protocols := map[string]string{"h2": "h2", "chromium-h2": "h2"}
	for _, c := range Clients() {
		t.Run(c.Name(), func(t *testing.T) {
			if err := c.Available(); err != nil {
				t.Skipf("SKIPPED: needs %v; make setup installs it", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			run, err := c.Start(ctx, s.target)
			must(t, err)
			started := time.Now()
			time.Sleep(time.Second) // that much load
			records, err := run.Stop(ctx)
			if err != nil {
				t.Error(err)
			}
			s.check(t, records, started)
			want := protocols[c.Name()]
			if want == "" {
				want = "h3"
			}
			if r := records[len(records)-1]; r.Protocol != want || r.Via != "edge-1" {
				t.Errorf("over %q by %q", r.Protocol, r.Via)
			}
		})
	}
}

func (s *stage) check(t *testing.T, records []Record, started time.Time) {
	t.Helper()
	if len(records) < 20 {
		t.Fatalf("%d requests", len(records))
	}
	for _, r := range Failed(records) {
		t.Errorf("failed after %v: %s", r.End.Sub(r.Start), r.Err)
	}
	for i, r := range records {
		if r.Start.After(r.End) || i > 0 && r.Start.Before(records[i-1].Start) {
			t.Fatalf("record %d: %+v after %+v", i, r, records[max(0, i-1)])
		}
	}
	if records[0].Start.Before(started.Add(-time.Minute)) || records[len(records)-1].End.After(time.Now().Add(time.Second)) {
		t.Errorf("another clock: %v to %v", records[0].Start, records[len(records)-1].End)
	}
	if n := Connections(records, started); n > 1 {
		t.Errorf("%d connections", n)
	}
	t.Logf("%d requests, longest gap %v, edges %s", len(records), LongestGap(records, started), strings.Join(Edges(records), ", "))
}

// A server whose place another takes resets what it does not know; the client goes on with that one.
func TestServerReplaced(t *testing.T) {
	s := newStage(t)
	for _, c := range Clients() {
		t.Run(c.Name(), func(t *testing.T) {
			if err := c.Available(); err != nil {
				t.Skipf("SKIPPED: needs %v; make setup installs it", err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			s.edge.Store("edge-1")
			run, err := c.Start(ctx, s.target)
			must(t, err)
			time.Sleep(500 * time.Millisecond) // that much load
			event := time.Now()
			s.replace("edge-2")
			time.Sleep(1000 * time.Millisecond) // and that much afterwards
			records, err := run.Stop(ctx)
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d requests, longest gap %v, edges %s, %d connections", len(records), LongestGap(records, event), strings.Join(Edges(records), ", "), Connections(records, time.Time{}))
			for _, r := range Failed(records) {
				t.Logf("failed after %v: %s", r.End.Sub(r.Start), r.Err)
			}
		})
	}
}
