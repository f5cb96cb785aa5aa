package bgp

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// begin runs the announcer until the test's end.
func (a *announcing) begin(t *testing.T) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	synctest.Wait()
	return func() { cancel(); <-done }
}

func (a *announcing) level() Level { synctest.Wait(); return a.Status()[0].Level }

// declaredNow is what the speaker was told last.
func (f *fakeRoutes) declaredNow() []Route {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.declared[len(f.declared)-1]
}

// TestDrainGoesThroughTheGate at each step, and comes back.
func TestDrainGoesThroughTheGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(levelsConfig())
		var gates []string
		a.Gate = func() func() {
			gates = append(gates, "before")
			told := len(a.routes.declared)
			return func() {
				if len(a.routes.declared) != told+1 {
					t.Errorf("%d declarations within the gate, want 1", len(a.routes.declared)-told)
				}
			}
		}
		defer a.begin(t)()
		a.becomes(allWell)
		time.Sleep(5 * time.Second)
		if a.level() != LevelFull || len(gates) != 0 {
			t.Fatalf("%s, %d gates; want full and none", a.level(), len(gates))
		}
		if err := a.Drain(NewDrainOrder("ops\n", "new\x1bkernel", nil), false); err != nil {
			t.Fatal(err)
		}
		if synctest.Wait(); !a.routes.declaredNow()[0].GracefulShutdown {
			t.Errorf("declared %+v, want graceful shutdown", a.routes.declaredNow())
		}
		if st := a.Status()[0]; st.DrainStep != 1 || st.Detail != "ordered by ops.: new.kernel" || !st.GracefulShutdown {
			t.Errorf("status %+v", st)
		}
		time.Sleep(10 * time.Second)
		if synctest.Wait(); a.routes.declaredNow()[0].Prepend != 3 {
			t.Errorf("declared %+v, want three prepends", a.routes.declaredNow())
		}
		a.Undrain()
		if synctest.Wait(); !slices.Equal(a.routes.declaredNow(), []Route{{Prefix: testPrefix4}, {Prefix: testPrefix6}}) || a.Ordered() != nil {
			t.Errorf("declared %+v, want plain routes", a.routes.declaredNow())
		}
		if err := a.Drain(DrainOrder{By: "ops", Prefixes: []netip.Prefix{testPrefix6}}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		if synctest.Wait(); len(a.routes.declaredNow()) != 1 {
			t.Errorf("declared %+v, want the other prefix alone", a.routes.declaredNow())
		}
		if len(gates) != 5 {
			t.Errorf("%d moves went through the gate, want 5: coming back does not", len(gates))
		}
	})
}

func TestDrainIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(levelsConfig())
		end := a.begin(t)
		a.becomes(allWell.beside("nyc:withdrawn", "tyo:full?"))
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := a.Drain(DrainOrder{By: "ops"}, false); !errors.Is(err, ErrLastRegion) {
			t.Errorf("draining the last region: %v", err)
		}
		a.becomes(allWell.beside("nyc:degraded!", "tyo:full?"))
		if err := a.Drain(DrainOrder{By: "ops"}, false); !errors.Is(err, ErrLastRegion) {
			t.Errorf("draining the last region that has its origins: %v", err)
		}
		a.becomes(allWell.beside("nyc:withdrawn", "tyo:full?"))
		if err := a.Drain(DrainOrder{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}, true); err == nil {
			t.Error("draining a prefix of somebody else's is accepted")
		}
		if a.level() != LevelFull {
			t.Errorf("%s after refused orders", a.level())
		}
		if err := a.Drain(DrainOrder{By: "ops"}, true); err != nil || a.level() != LevelDraining {
			t.Errorf("forced: %v, %s", err, a.level())
		}
		a.Hurry()
		if a.level() != LevelWithdrawn {
			t.Errorf("%s in a hurry", a.level())
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := a.Drain(DrainOrder{}, true); err == nil {
			t.Error("draining a stopped edge is accepted")
		}
		end()
	})
}

// TestStopTakesTheLadder and Hurry cuts it short.
func TestStopTakesTheLadder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hurry := range []bool{false, true} {
			a := newAnnouncing(levelsConfig())
			end := a.begin(t)
			a.becomes(allWell)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			began := time.Now()
			if hurry {
				time.AfterFunc(2*time.Second, a.Hurry)
			}
			if err := a.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			want := 30 * time.Second
			if hurry {
				want = 2 * time.Second
			}
			if took := time.Since(began); took != want || a.routes.last() != 0 {
				t.Errorf("hurry %v: withdrawn after %s, want %s", hurry, took, want)
			}
			end()
		}
	})
}

// TestStateOutlivesTheProcess: an order, and a hold-down that a crash has earned.
func TestStateOutlivesTheProcess(t *testing.T) {
	file := filepath.Join(t.TempDir(), "state.json")
	conf := func() *Config {
		c := levelsConfig()
		c.StateFile = file
		return c
	}
	// A process with a drained prefix that is killed while it announces the other.
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(conf())
		end := a.begin(t)
		a.becomes(allWell)
		time.Sleep(5 * time.Second)
		if err := a.Drain(DrainOrder{By: "ops", Prefixes: []netip.Prefix{testPrefix6}}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		end()
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(conf())
		end := a.begin(t)
		a.becomes(allWell)
		st := a.Status()
		if st[0].Reason != ReasonHeldDown || st[0].Flaps != 1 || time.Until(st[0].HoldDownUntil) != 30*time.Second {
			t.Errorf("after a crash: %+v, want held down for 30s", st[0])
		}
		if st[1].Reason != ReasonDraining || st[1].Flaps != 0 {
			t.Errorf("the order was forgotten: %+v", st[1])
		}
		if !strings.Contains(a.log.String(), "without withdrawing 192.0.2.0/24") || strings.Contains(a.log.String(), "without withdrawing 2001:") {
			t.Errorf("log: %s", a.log)
		}
		a.Undrain()
		time.Sleep(time.Minute)
		if a.level() != LevelFull {
			t.Errorf("%s after the operator looked", a.level())
		}
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		end()
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(conf())
		end := a.begin(t)
		a.becomes(allWell)
		if st := a.Status()[0]; st.Reason != ReasonRising || st.Flaps != 0 {
			t.Errorf("after an orderly end: %+v, want rising", st)
		}
		end()
	})
}

// TestUnusableState is put aside, not overwritten, and keeps no edge from serving.
func TestUnusableState(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON": "{", "of a later version": `{"version":2}`, "impossible": `{"version":1,"prefixes":[{"prefix":"192.0.2.0/24","flaps":-1}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			c := levelsConfig()
			c.StateFile = file
			a := newAnnouncing(c)
			if b, err := os.ReadFile(file + ".unusable"); err != nil || string(b) != content {
				t.Errorf("%q, %v", b, err)
			}
			if !strings.Contains(a.log.String(), "can't be used") {
				t.Errorf("log: %s", a.log)
			}
		})
	}
}

// TestAStateFileThatCanNotBeKept is said before the first order is lost.
func TestAStateFileThatCanNotBeKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{"": "", file: "", filepath.Join(dir, "new"): "", filepath.Join(dir, "absent", "state.json"): "does not exist; make it",
		dir: "is a directory", filepath.Join(file, "state.json"): "no directory"} {
		err := (&Config{StateFile: at}).CheckStateFile()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", at, err, want)
		}
	}
}

func FuzzParseState(f *testing.F) {
	for _, s := range []string{`{"version":1,"clean":true,"prefixes":[{"prefix":"192.0.2.0/24","announced":true,"penalty_ns":30000000000,"flaps":2,"hold_down_until":"2026-11-28T12:00:00Z"}]}`,
		`{"version":1,"drain":{"at":"2026-11-28T12:00:00Z","by":"ops","prefixes":["2001:db8:53::/48"]}}`, `{}`, `[]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseState(data)
		if err != nil {
			return
		}
		c, now := levelsConfig(), time.Unix(1_700_000_000, 0)
		for _, p := range s.Prefixes {
			if st := c.resume(p, s.Clean, now); st.HoldDownUntil.Sub(now) > c.HoldDown.Max || st.Penalty > c.HoldDown.Max {
				t.Errorf("%+v resumes as %+v, which is held longer than %s", p, st, c.HoldDown.Max)
			}
		}
	})
}

// TestWatchdog: results that do not come withdraw, and the lease is not renewed; a process that was stopped has a flap to its name.
func TestWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(levelsConfig())
		defer a.begin(t)()
		lease := func() time.Duration {
			a.routes.mu.Lock()
			defer a.routes.mu.Unlock()
			return time.Until(a.routes.renewed)
		}
		probed := func() {
			in := allWell
			in.SelfAt = time.Now()
			a.becomes(in)
		}
		for range 10 {
			probed()
			time.Sleep(time.Second)
		}
		if a.level() != LevelFull || lease() < 4*time.Second {
			t.Fatalf("%s with a lease of %s", a.level(), lease())
		}
		time.Sleep(4 * time.Second) // the last probe ended five seconds ago
		if a.level() != LevelFull {
			t.Errorf("%s too early", a.level())
		}
		time.Sleep(time.Second + time.Millisecond)
		if st := a.Status()[0]; a.level() != LevelWithdrawn || st.Reason != ReasonStalled {
			t.Errorf("%s %s, want withdrawn, stalled", st.Level, st.Reason)
		}
		time.Sleep(5 * time.Second)
		if lease() > 0 {
			t.Errorf("the lease holds for %s more", lease())
		}
		probed()
		if st := a.Status()[0]; st.Reason != ReasonHeldDown || lease() != 5*time.Second {
			t.Errorf("%s with a lease of %s after a sign of life, want held down", st.Reason, lease())
		}
	})
}

// TestTheWatchdogSeesItsOwnAbsence: the process did not run for longer than the sessions live.
func TestTheWatchdogSeesItsOwnAbsence(t *testing.T) {
	a := newAnnouncing(levelsConfig())
	a.in = allWell
	now := time.Unix(1_700_000_000, 0)
	look := func(after time.Duration) PrefixStatus {
		now = now.Add(after)
		a.decide(now)
		return (*a.status.Load())[0]
	}
	look(0)
	if st := look(5 * time.Second); st.Level != LevelFull {
		t.Fatalf("%s", st.Level)
	}
	if st := look(5*time.Second + 1); st.Level != LevelWithdrawn || st.Reason != ReasonStalled {
		t.Errorf("%s %s after a gap of more than the watchdog's time", st.Level, st.Reason)
	}
	if st := look(time.Second); st.Reason != ReasonHeldDown {
		t.Errorf("%s, want held down", st.Reason)
	}
}

// TestStatusKeepsABoundedHistory of what was handed out.
func TestStatusKeepsABoundedHistory(t *testing.T) {
	var h []Change
	var first []Change
	for i := range maxHistory + 5 {
		h = appendChange(h, Change{Detail: string(rune('A' + i))})
		if i == 3 {
			first = h
		}
	}
	if len(h) != maxHistory || h[maxHistory-1].Detail != string(rune('A'+maxHistory+4)) || first[3].Detail != "D" || len(first) != 4 {
		t.Errorf("%d changes, the last %q; %v", len(h), h[len(h)-1].Detail, first)
	}
}

// TestASecondOrderKeepsTheFirst: somebody else's drain of another prefix does not bring back the one that is being worked on.
func TestASecondOrderKeepsTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(levelsConfig())
		defer a.begin(t)()
		a.becomes(allWell)
		time.Sleep(5 * time.Second)
		order := func(by string, prefixes ...netip.Prefix) {
			t.Helper()
			if err := a.Drain(NewDrainOrder(by, "why of "+by, prefixes), false); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		order("a", testPrefix4)
		if st := a.Status(); st[0].Announced || !st[1].Announced {
			t.Fatalf("%s and %s, want the first withdrawn", st[0].Level, st[1].Level)
		}
		order("b", testPrefix6)
		if st := a.Status(); st[0].Announced || st[1].Announced {
			t.Errorf("%s and %s after the second order, want both withdrawn", st[0].Level, st[1].Level)
		}
		if o := a.Ordered(); o.By != "b" || !strings.Contains(o.Why, "why of b") || !strings.Contains(o.Why, "ordered by a: why of a") {
			t.Errorf("the order does not say whose it is: %+v", o)
		}
		order("c")
		order("d", testPrefix4)
		if st := a.Status(); st[0].Announced || st[1].Announced {
			t.Errorf("%s and %s after orders for all and then for one, want both withdrawn", st[0].Level, st[1].Level)
		}
		for range 100 {
			order("e", testPrefix4)
		}
		if o := a.Ordered(); len(o.Why) > 2*maxOrderText || len(o.Prefixes) > 2 {
			t.Errorf("orders grow: %d bytes of why, %d prefixes", len(o.Why), len(o.Prefixes))
		}
		a.Undrain()
		if synctest.Wait(); a.level() != LevelFull {
			t.Errorf("%s after undrain", a.level())
		}
	})
}

// TestHealthNeedsNoGate: while one prefix is drained, what health does to another is not held up, and no listener paused for it.
func TestHealthNeedsNoGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnnouncing(levelsConfig())
		gates := 0
		a.Gate = func() func() { gates++; return func() {} }
		defer a.begin(t)()
		a.becomes(allWell)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := a.Drain(NewDrainOrder("ops", "", []netip.Prefix{testPrefix6}), false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		before := gates
		a.becomes(noRegional)
		a.becomes(selfDead)
		a.becomes(allWell)
		time.Sleep(time.Minute)
		if synctest.Wait(); a.level() != LevelFull || before != 3 || gates != before {
			t.Errorf("%s; %d gates for the drain, %d for health", a.level(), before, gates-before)
		}
	})
}

// TestStateIsWrittenAgain when the disk refused it: an order must not be forgotten because the disk was full in that moment.
func TestStateIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "not there yet")
		c := levelsConfig()
		c.StateFile = filepath.Join(dir, "state.json")
		a := newAnnouncing(c)
		end := a.begin(t)
		if err := a.Drain(DrainOrder{By: "ops"}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(a.log.String(), "can't be written"); n < 1 || n > 5 {
			t.Errorf("%d complaints about the disk in a minute: %s", n, a.log)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b, err := os.ReadFile(c.StateFile)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := parseState(b); err != nil || s.Drain == nil {
			t.Errorf("%s, %v: the order is not there", b, err)
		}
		end()
	})
}

// TestAClockThatIsSetBackDoesNotLengthenAHoldDown from before a restart: it is counted from the start on.
func TestAClockThatIsSetBackDoesNotLengthenAHoldDown(t *testing.T) {
	c := levelsConfig()
	now := time.Now()
	wall := now.Add(30 * time.Second).Round(0)
	s := c.resume(savedPrefix{Prefix: testPrefix4, Penalty: 30 * time.Second, HoldDownUntil: wall}, true, now)
	// Within one process times compare by the monotonic clock, as long as both have it.
	if s.HoldDownUntil == wall || s.HoldDownUntil.Round(0) != wall {
		t.Errorf("held down until %v, want the same time with a monotonic reading", s.HoldDownUntil)
	}
	if s := c.resume(savedPrefix{Prefix: testPrefix4}, true, now); !s.HoldDownUntil.IsZero() {
		t.Errorf("held down until %s, want not at all", s.HoldDownUntil)
	}
}
