package bgp

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// fakeRoutes remembers what was declared.
type fakeRoutes struct {
	mu sync.Mutex
	// guarded by mu
	declared [][]Route
	flushed  int
	renewed  time.Time
	flush    func(context.Context) error
}

func (f *fakeRoutes) SetRoutes(rs []Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.declared = append(f.declared, slices.Clone(rs))
}

func (f *fakeRoutes) Renew(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.renewed = until
}

func (f *fakeRoutes) Flush(ctx context.Context) error {
	f.mu.Lock()
	f.flushed++
	flush := f.flush
	f.mu.Unlock()
	if flush != nil {
		return flush(ctx)
	}
	return nil
}

// last is how many routes were declared last, -1 for never.
func (f *fakeRoutes) last() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.declared) == 0 {
		return -1
	}
	return len(f.declared[len(f.declared)-1])
}

// announcing is an Announcer in a test.
type announcing struct {
	*Announcer
	routes *fakeRoutes
	log    *logBuffer
	set    *metrics.Set
	mu     sync.Mutex
	in     Inputs // guarded by mu
}

func newAnnouncing(c *Config) *announcing {
	a := &announcing{routes: &fakeRoutes{}, log: &logBuffer{}, set: metrics.NewSet()}
	a.Announcer = NewAnnouncer(c, a.routes, func() Inputs {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.in
	}, slog.New(slog.NewTextHandler(a.log, nil)), a.set)
	return a
}

// becomes changes the inputs and wakes the announcer.
func (a *announcing) becomes(in Inputs) {
	a.mu.Lock()
	a.in = in
	a.mu.Unlock()
	a.Wake()
	synctest.Wait()
}

// TestAnnouncerActsOnTime: on a wake when the inputs change, on a timer when nothing but time does.
func TestAnnouncerActsOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(decideConfig())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		synctest.Wait()
		if a.routes.last() != 0 {
			t.Fatalf("declared %d routes before any probe, want none", a.routes.last())
		}
		wantStatus := func(announced bool, reason Reason) {
			t.Helper()
			synctest.Wait()
			for _, st := range a.Status() {
				if st.Announced != announced || st.Reason != reason {
					t.Errorf("status %+v, want announced %v for %q", st, announced, reason)
				}
			}
			want := 0
			if announced {
				want = 2
			}
			if got := a.routes.last(); got != want {
				t.Errorf("declared %d routes, want %d", got, want)
			}
		}
		wantStatus(false, ReasonNotProbed)
		a.becomes(allWell)
		wantStatus(false, ReasonRising)
		time.Sleep(5*time.Second - time.Millisecond)
		wantStatus(false, ReasonRising)
		time.Sleep(time.Millisecond)
		wantStatus(true, ReasonServing)
		a.becomes(selfDead)
		wantStatus(false, ReasonSelfFailing)
		if st := a.Status()[0]; !st.HoldDownUntil.Equal(time.Now().Add(30 * time.Second)) {
			t.Errorf("held down until %s, want 30s from now", st.HoldDownUntil)
		}
		a.becomes(allWell)
		wantStatus(false, ReasonHeldDown)
		time.Sleep(30 * time.Second)
		wantStatus(true, ReasonServing)
		if st := a.Status()[0]; !st.HoldDownUntil.IsZero() || time.Since(st.Since) != 0 {
			t.Errorf("status %+v, want no hold-down, since now", st)
		}
		cancel()
		<-done
		if a.routes.last() != 0 {
			t.Error("Run returned without withdrawing")
		}
	})
}

// TestAnnouncerSaysEachChangeOnce in the log and in the metrics, for each prefix.
func TestAnnouncerSaysEachChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(decideConfig())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		for range 3 {
			a.becomes(allWell)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		for range 3 {
			a.becomes(noOrigins)
		}
		cancel()
		<-done
		log := a.log.String()
		for _, want := range []string{
			`level=INFO msg="not announcing 192.0.2.0/24" prefix=192.0.2.0/24 reason=rising`,
			`level=INFO msg="announcing 192.0.2.0/24" prefix=192.0.2.0/24 reason=serving`,
			`level=WARN msg="withdrawing 2001:db8:53::/48" prefix=2001:db8:53::/48 reason="too few healthy origins" detail="service shop: 0 of 1 healthy origins"`,
		} {
			if strings.Count(log, want) != 1 {
				t.Errorf("log has %d lines with %s, want one; log:\n%s", strings.Count(log, want), want, log)
			}
		}
		var b strings.Builder
		a.set.WritePrometheus(&b)
		for _, want := range []string{
			`nearcast_bgp_announced{prefix="192.0.2.0/24"} 0`,
			`nearcast_bgp_route_changes_total{prefix="192.0.2.0/24",reason="serving"} 1`,
			`nearcast_bgp_route_changes_total{prefix="192.0.2.0/24",reason="too few healthy origins"} 1`,
			`nearcast_bgp_route_changes_total{prefix="192.0.2.0/24",reason="rising"} 0`,
			`nearcast_bgp_hold_down_seconds 30`,
		} {
			if !strings.Contains(b.String(), want+"\n") {
				t.Errorf("metrics lack %s", want)
			}
		}
	})
}

// TestStopWithdrawsAndWaits for the neighbors to be told, but no longer than it is given.
func TestStopWithdrawsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(decideConfig())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		a.becomes(allWell)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if a.routes.last() != 0 || a.routes.flushed != 1 {
			t.Errorf("after Stop %d routes are declared and %d flushes were waited for, want 0 and 1", a.routes.last(), a.routes.flushed)
		}
		time.Sleep(time.Hour)
		a.becomes(allWell)
		if st := a.Status()[0]; st.Announced || st.Reason != ReasonStopping {
			t.Errorf("an hour after Stop: %+v", st)
		}
		a.routes.flush = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if err := a.Stop(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Stop whose neighbors do not take the withdrawal says %v", err)
		}
		cancel()
		<-done
	})
}

// TestStopBeforeAndAfterRun hangs in neither case.
func TestStopBeforeAndAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(decideConfig())
		if err := a.Stop(t.Context()); err != nil {
			t.Error("before Run:", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		a.Run(ctx)
		if err := a.Stop(t.Context()); err != nil {
			t.Error("after Run:", err)
		}
		if a.Status() == nil {
			t.Error("Run returned before its first decision")
		}
	})
}
