package bgp

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stuckEngine is an embedded speaker that hangs at the first withdrawal, and keeps its sessions alive all the same.
type stuckEngine struct {
	embedded
	release chan struct{}
}

func (e *stuckEngine) withdraw(r wish) error {
	<-e.release
	return e.embedded.withdraw(r)
}

// TestAStuckSpeakerDoesNotKeepTheRoute: with a speaker that no longer answers, the end of the session is the withdrawal; what it tells
// the next session is not passed on; and the edge stops nevertheless.
func TestAStuckSpeakerDoesNotKeepTheRoute(t *testing.T) {
	r := newRouter(t, "127.0.0.1:0", 64511)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) }) // after Run has returned
	e := startEdgeWith(t, testConfig(r.addrPort()), func(ctx context.Context, c *Config, log *slog.Logger) (embedded, error) {
		inner, err := startEngine(ctx, c, log)
		return &stuckEngine{inner, release}, err
	})
	e.setRoutes(testPrefix4, testPrefix6)
	s := r.session(0)
	r.want("both routes", func() bool { return len(s.routes) == 2 })

	e.setRoutes()
	r.want("the end of the session", func() bool { return s.closed })
	again := r.session(1)
	flushed, cancel := context.WithTimeout(t.Context(), tellWithin)
	defer cancel()
	if err := e.Flush(flushed); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond) // no event says that nothing comes
	r.want("no route on the next session", func() bool { return len(again.routes) == 0 })

	e.setRoutes(testPrefix4, testPrefix6) // while it is stuck nothing can be announced, but nothing hangs either
	stopped, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := e.Stop(stopped, "test"); err != nil {
		t.Error(err)
	}
}

// unsureTable takes nothing the first few times.
type unsureTable struct {
	refuse    int
	announced atomic.Int32
}

func (u *unsureTable) answer(by int32) error {
	if u.refuse--; u.refuse >= 0 {
		return errors.New("not now")
	}
	u.announced.Add(by)
	return nil
}

func (u *unsureTable) announce(wish) error { return u.answer(1) }
func (u *unsureTable) withdraw(wish) error { return u.answer(-1) }

func TestWhatWasNotTakenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s, err := NewSpeaker(&Config{}, slog.New(slog.NewTextHandler(&log, nil)), nil)
		if err != nil {
			t.Fatal(err)
		}
		u := &unsureTable{refuse: 2}
		go s.apply(t.Context(), u)
		s.SetRoutes([]Route{{Prefix: testPrefix4}})
		time.Sleep(5 * applyAgain)
		if n := u.announced.Load(); n != 1 {
			t.Errorf("%d routes after %s, want 1; log: %s", n, 5*applyAgain, log.String())
		}
	})
}

func TestStillWanted(t *testing.T) {
	s, err := NewSpeaker(&Config{}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := Route{Prefix: testPrefix4, Prepend: 3}
	s.SetRoutes([]Route{now})
	four, six := []netip.Prefix{testPrefix4}, []netip.Prefix{testPrefix6}
	for _, c := range []struct {
		what string
		ps   []netip.Prefix
		want []Route
	}{
		{"what is wanted goes out, as it is wanted now", four, []Route{now}},
		{"what is not stays here", six, nil},
		{"the same for one UPDATE with both", []netip.Prefix{testPrefix6, testPrefix4}, []Route{now}},
		{"an UPDATE that announces nothing", nil, nil},
	} {
		if got := s.stillWanted(c.ps); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v", c.what, got)
		}
	}
}

// recordingTable remembers what it was told.
type recordingTable struct{ announced []wish }

func (r *recordingTable) announce(w wish) error { r.announced = append(r.announced, w); return nil }
func (r *recordingTable) withdraw(wish) error   { return nil }

// TestThereAndBackIsAChange: a route that changes and changes back before the embedded speaker was told is announced again all the same; a
// session may have sent what was wanted in between.
func TestThereAndBackIsAChange(t *testing.T) {
	route := Route{Prefix: testPrefix4}
	for _, between := range [][]Route{{{Prefix: testPrefix4, Prepend: 3}}, nil} {
		s, err := NewSpeaker(&Config{}, slog.New(slog.DiscardHandler), nil)
		if err != nil {
			t.Fatal(err)
		}
		table, applied := &recordingTable{}, map[netip.Prefix]wish{}
		tell := func(want int) {
			t.Helper()
			if err := difference(table, applied, s.wantedNow()); err != nil {
				t.Fatal(err)
			}
			if n := len(table.announced); n != want {
				t.Errorf("by way of %v: told %v, want %d", between, table.announced, want)
			}
		}
		s.SetRoutes([]Route{route})
		tell(1)
		s.SetRoutes(between)
		s.SetRoutes([]Route{route})
		tell(2)
		if a := table.announced; a[len(a)-1].Route != route || a[0] == a[len(a)-1] {
			t.Errorf("by way of %v: told %v, in which the embedded speaker sees no change", between, a)
		}
		s.SetRoutes([]Route{route})
		tell(2) // nothing has changed
	}
}
