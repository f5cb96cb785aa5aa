package loopback

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func prepare(t *testing.T, a *Addresses) {
	t.Helper()
	if err := a.Prepare(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsOursIsAddedAndRemovedAndNothingElse(t *testing.T) {
	eth := entry{v4, false, false}
	for _, c := range []struct {
		what   string
		before []entry
		manage bool
		orders string
		ours   [2]bool
	}{
		{"nothing is there", nil, true, "add 192.0.2.1, add 2001:db8:53::1, remove 192.0.2.1, remove 2001:db8:53::1", [2]bool{true, true}},
		{"left by a process that was killed", []entry{{v4, true, true}, {v6, true, true}}, true, "remove 192.0.2.1, remove 2001:db8:53::1", [2]bool{true, true}},
		{"the operator has put one there", []entry{{v4, true, false}}, true, "add 2001:db8:53::1, remove 2001:db8:53::1", [2]bool{false, true}},
		{"the operator has it on another interface", []entry{eth}, true, "add 2001:db8:53::1, remove 2001:db8:53::1", [2]bool{false, true}},
		{"another's address with the mark", []entry{{netip.MustParseAddr("192.0.2.9"), true, true}}, true,
			"add 192.0.2.1, add 2001:db8:53::1, remove 192.0.2.1, remove 2001:db8:53::1", [2]bool{true, true}},
		{"not ours to manage, nothing there", nil, false, "", [2]bool{}},
		{"not ours to manage any more, left by a process that was killed", []entry{{v4, true, true}, {v6, true, true}}, false, "", [2]bool{}},
	} {
		f := &fake{entries: slices.Clone(c.before)}
		a, log, _ := with(t, f, c.manage, v4, v6)
		prepare(t, a)
		if st := a.Status(); st[0].Ours != c.ours[0] || st[1].Ours != c.ours[1] {
			t.Errorf("%s: %+v", c.what, st)
		}
		if got := log.count("does not have the anycast address"); !c.manage && got != 2-len(c.before) {
			t.Errorf("%s: %d warnings of a missing address", c.what, got)
		}
		if got := log.count("not in anycast.addresses") == 1; got != strings.HasPrefix(c.what, "another's") {
			t.Errorf("%s: a warning of a leftover: %v", c.what, got)
		}
		a.Remove()
		if f.told() != c.orders {
			t.Errorf("%s: %q, want %q", c.what, f.told(), c.orders)
		}
		if f.closed != 1 {
			t.Errorf("%s: closed %d times", c.what, f.closed)
		}
	}
}

// TestAKernelWithoutMarks: what is added in this life is removed in it; what was there before is the operator's, since nothing says otherwise.
func TestAKernelWithoutMarks(t *testing.T) {
	f := &fake{forgetful: true, entries: []entry{{v6, true, false}}}
	a, log, _ := with(t, f, true, v4, v6)
	prepare(t, a)
	if st := a.Status(); !st[0].Ours || st[1].Ours {
		t.Errorf("%+v", st)
	}
	a.look()
	a.Remove()
	if want := "add 192.0.2.1, remove 192.0.2.1"; f.told() != want {
		t.Errorf("%q, want %q", f.told(), want)
	}
	if log.count("before 5.18") != 1 {
		t.Error("the operator is not told what a kill leaves")
	}
}

// TestTheOperatorTakesOver: an address that was ours, and that the operator has removed and put there anew, is the operator's.
func TestTheOperatorTakesOver(t *testing.T) {
	f := &fake{}
	a, _, _ := with(t, f, true, v4)
	prepare(t, a)
	f.entries = []entry{{v4, true, false}}
	a.look()
	a.Remove()
	if f.told() != "add 192.0.2.1" || a.Status()[0].Ours {
		t.Errorf("%q, %+v", f.told(), a.Status())
	}
}

func TestAFailedStartTakesBackOnlyWhatItAdded(t *testing.T) {
	f := &fake{entries: []entry{{v4, true, true}}} // of an edge that runs: this start is the mistake
	a, _, _ := with(t, f, true, v4, v6)
	prepare(t, a)
	a.Undo()
	if want := "add 2001:db8:53::1, remove 2001:db8:53::1"; f.told() != want {
		t.Errorf("%q, want %q", f.told(), want)
	}
	var none *Addresses
	none.Undo()
	none.Remove()
	if none.Status() != nil {
		t.Error("no addresses have a status")
	}
}

func TestPrepareSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		what, says string
		host       *fake
	}{
		{"no capability, even where nothing is to be added", "anycast.manage_addresses: needs CAP_NET_ADMIN", &fake{forbidden: errors.New("needs CAP_NET_ADMIN"), entries: []entry{{v4, true, true}}}},
		{"the interface is down", "anycast.addresses[0] 192.0.2.1: packets to it leave this machine", &fake{down: true}},
		{"the kernel does not answer", "anycast.addresses: no answer", &fake{broken: errors.New("no answer")}},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, _, _ := with(t, c.host, true, v4)
			if err := a.Prepare(); err == nil || !strings.HasPrefix(err.Error(), c.says) {
				t.Errorf("%s: %v, want %s", c.what, err, c.says)
			}
		})
	}
}

// run starts Run in a bubble of synctest, and ends it with the test.
func run(t *testing.T, a *Addresses) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	return func() { cancel(); <-done }
}

func TestAnAddressThatIsRemovedIsPutBack(t *testing.T) {
	for _, reported := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := &fake{}
			a, log, set := with(t, f, true, v4, v6)
			prepare(t, a)
			defer run(t, a)()
			synctest.Wait()
			f.lose(v4, reported)
			if !reported {
				time.Sleep(lookEvery)
			}
			synctest.Wait()
			st := a.Status()
			if !st[0].Present || !st[0].Ours || st[0].Repairs != 1 || st[1].Repairs != 0 || log.count("has been put back") != 1 {
				t.Errorf("reported %v: %+v", reported, st)
			}
			if got := set.GetOrCreateCounter(`nearcast_anycast_address_repairs_total{address="192.0.2.1"}`).Get(); got != 1 {
				t.Errorf("%d repairs counted", got)
			}
		})
	}
}

// TestAnotherProgramThatRemovesItIsNotFoughtWithoutRest bounds what such a war costs.
func TestAnotherProgramThatRemovesItIsNotFoughtWithoutRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		a, _, _ := with(t, f, true, v4)
		prepare(t, a)
		defer run(t, a)()
		for begun := time.Now(); time.Since(begun) < 10*time.Second; time.Sleep(time.Millisecond) {
			f.mu.Lock()
			f.drop(v4)
			f.mu.Unlock()
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
		if n := a.Status()[0].Repairs; n < 50 || n > 101 {
			t.Errorf("put back %d times in 10 s", n)
		}
	})
}

func gauge(t *testing.T, set *metrics.Set) float64 {
	t.Helper()
	return set.GetOrCreateGauge(`nearcast_anycast_address_present{address="192.0.2.1"}`, nil).Get()
}

func TestAnAddressOfTheOperatorsIsOnlyWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{entries: []entry{{v4, true, false}}}
		a, log, set := with(t, f, false, v4)
		prepare(t, a)
		defer run(t, a)()
		if gauge(t, set) != 1 {
			t.Error("not present")
		}
		f.lose(v4, true)
		time.Sleep(3 * lookEvery)
		synctest.Wait()
		if gauge(t, set) != 0 || log.count("is gone") != 1 || f.told() != "" {
			t.Errorf("gauge %v, told %d times, orders %q", gauge(t, set), log.count("is gone"), f.told())
		}
		f.add(v4)
		time.Sleep(lookEvery)
		synctest.Wait()
		if gauge(t, set) != 1 || log.count("again") != 1 {
			t.Error("its return is not noticed")
		}
	})
}

func TestATroubleIsLoggedOnceAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		a, log, _ := with(t, f, true, v4)
		prepare(t, a)
		defer run(t, a)()
		synctest.Wait()
		f.mu.Lock()
		f.broken = errors.New("no answer")
		f.mu.Unlock()
		time.Sleep(5 * lookEvery)
		synctest.Wait()
		if st := a.Status()[0]; st.Present || st.Error != "no answer" || log.count("not under control") != 1 {
			t.Errorf("%+v, logged %d times", st, log.count("not under control"))
		}
		f.mu.Lock()
		f.broken = nil
		f.mu.Unlock()
		time.Sleep(lookEvery)
		synctest.Wait()
		if st := a.Status()[0]; st.Error != "" || !st.Present {
			t.Errorf("%+v", st)
		}
	})
}

func TestEveryMetricHasItsText(t *testing.T) {
	_, _, set := with(t, &fake{}, true, v4)
	for _, name := range set.ListMetricNames() {
		if base, _, _ := strings.Cut(name, "{"); MetricHelp[base] == "" {
			t.Errorf("%s has no text", base)
		}
	}
}

// TestAnInterfaceThatGoesDown is a fault only at the second look: an IPv6 address is on its interface before packets to it are let in.
func TestAnInterfaceThatGoesDown(t *testing.T) {
	f := &fake{}
	a, log, _ := with(t, f, true, v4)
	prepare(t, a)
	f.down = true
	for i, want := range []string{"", errDown.Error(), errDown.Error()} {
		a.look()
		if st := a.Status()[0]; st.Present || st.Error != want || st.Repairs != 0 {
			t.Errorf("look %d: %+v", i, st)
		}
	}
	f.down = false
	a.look()
	if st := a.Status()[0]; !st.Present || st.Error != "" || log.count("not under control") != 1 {
		t.Errorf("%+v, logged %d times", st, log.count("not under control"))
	}
}
