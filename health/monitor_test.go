package health

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// origin is a fake: a probe that succeeds while it is alive.
type origin struct {
	id     ID
	alive  atomic.Bool
	takes  atomic.Int64 // nanoseconds
	probes atomic.Int64
}

func newOrigin(name string) *origin {
	o := &origin{id: ID{Service: "shop", Region: "fra", Name: name}}
	o.alive.Store(true)
	return o
}

func (o *origin) target() Target { return Target{ID: o.id, Probe: o.probe} }

func (o *origin) probe(ctx context.Context) (time.Duration, error) {
	o.probes.Add(1)
	takes := time.Duration(o.takes.Load())
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(takes):
	}
	if !o.alive.Load() {
		return 0, errors.New("dead")
	}
	return 10 * time.Millisecond, nil
}

// start runs a monitor inside the test's bubble and ends it with the test.
func start(t *testing.T, targets ...Target) *Monitor {
	t.Helper()
	m := New(nil, nil)
	m.SetTargets(targets)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

func want(t *testing.T, m *Monitor, id ID, status Status, why string) *State {
	t.Helper()
	synctest.Wait()
	st := m.Snapshot().Get(id)
	if st == nil {
		t.Fatalf("%s: no state of %v", why, id)
	}
	if st.Status != status {
		t.Fatalf("%s: %v is %v (%v), want %v", why, id, st.Status, st.Reason, status)
	}
	return st
}

func TestOriginComesUpGoesDownAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		m := start(t, o.target())
		if st := want(t, m, o.id, Unknown, "before the first probe"); st.Up() || st.Reason != ReasonNone {
			t.Fatalf("unknown must not count as up: %+v", st)
		}
		time.Sleep(2 * time.Second)
		st := want(t, m, o.id, Up, "two probes, one a second")
		if st.RTT != 10*time.Millisecond || st.MinRTT != 10*time.Millisecond || st.Reason != ReasonOK || st.Err != nil {
			t.Errorf("state of an origin that is up: %+v", st)
		}
		up := st.Since

		o.alive.Store(false)
		died := time.Now()
		time.Sleep(2 * time.Second)
		st = want(t, m, o.id, Up, "two failures are one too few")
		if st.Reason != ReasonOther || st.Err == nil || st.Consecutive != 2 || st.Since != up {
			t.Errorf("state with two failures: %+v", st)
		}
		time.Sleep(time.Second)
		st = want(t, m, o.id, Down, "three failures in a row")
		if st.RTT != 0 || st.Since.Sub(died) > 3*time.Second || st.Since.Sub(died) < 2*time.Second {
			t.Errorf("state of an origin that is down: %+v", st)
		}

		o.alive.Store(true)
		time.Sleep(2 * time.Second)
		want(t, m, o.id, Up, "two successes in a row")
	})
}

func TestFlappingOriginStaysAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := ID{Service: "shop", Region: "fra", Name: "http://10.0.0.1"}
		n := 0
		m := start(t, Target{ID: id, Probe: func(context.Context) (time.Duration, error) {
			n++
			if n > 2 && n%2 == 0 {
				return 0, errors.New("every other probe fails")
			}
			return time.Millisecond, nil
		}})
		wakes := m.Subscribe()
		time.Sleep(3 * time.Second)
		want(t, m, id, Up, "two successes")
		<-wakes
		time.Sleep(time.Minute)
		want(t, m, id, Up, "+-+-+- never makes three failures in a row")
		select {
		case <-wakes:
			t.Error("woken though no status changed")
		default:
		}
	})
}

func TestSilentOriginTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		o.takes.Store(int64(time.Hour))
		m := start(t, o.target())
		time.Sleep(4 * time.Second)
		if st := want(t, m, o.id, Down, "no answer within the timeout"); st.Reason != ReasonTimeout {
			t.Errorf("reason %v, want timeout", st.Reason)
		}
	})
}

func TestIntervalIsBetweenStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		o.takes.Store(int64(400 * time.Millisecond))
		start(t, o.target())
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := o.probes.Load(); n != 10 {
			t.Errorf("%d probes of 400ms each in 10s, want one a second", n)
		}
	})
}

func TestFirstProbesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var targets []Target
		var early atomic.Int64
		begin := time.Now()
		for i := range 200 {
			targets = append(targets, Target{ID: ID{Service: "shop", Name: fmt.Sprint(i)}, Probe: func(context.Context) (time.Duration, error) {
				if time.Since(begin) < 500*time.Millisecond {
					early.Add(1)
				}
				return 1, nil
			}})
		}
		start(t, targets...)
		time.Sleep(999 * time.Millisecond)
		synctest.Wait()
		if n := early.Load(); n < 50 || n > 150 {
			t.Errorf("%d of 200 first probes fell into the first half of the interval, want about half", n)
		}
	})
}

func TestSetTargetsKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := newOrigin("http://10.0.0.1"), newOrigin("http://10.0.0.2"), newOrigin("http://10.0.0.3")
		m := start(t, a.target(), b.target())
		time.Sleep(3 * time.Second)
		before := want(t, m, a.id, Up, "declared at the start")

		wakes := m.Subscribe()
		m.SetTargets([]Target{c.target(), a.target(), a.target()})
		<-wakes
		after := want(t, m, a.id, Up, "a known target keeps its status")
		if *after != *before {
			t.Errorf("state changed by a declaration: %+v, was %+v", after, before)
		}
		want(t, m, c.id, Unknown, "a new target is unknown")
		if m.Snapshot().Get(b.id) != nil {
			t.Error("a target that is declared no more is still in the snapshot")
		}
		asked := b.probes.Load()
		time.Sleep(3 * time.Second)
		want(t, m, c.id, Up, "a new target is probed")
		if b.probes.Load() != asked {
			t.Error("a target that is declared no more is still probed")
		}

		m.SetTargets([]Target{b.target()})
		want(t, m, b.id, Unknown, "declared again it begins again")
		m.SetTargets(nil)
		if n := len(m.Snapshot().All()); n != 0 {
			t.Errorf("%d states of no targets", n)
		}
	})
}

func TestNewConfigOfAKnownTargetHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		m := start(t, o.target())
		time.Sleep(3 * time.Second)
		want(t, m, o.id, Up, "with the defaults")
		impatient := o.target()
		impatient.Config = Config{Interval: 100 * time.Millisecond, Fall: 1}
		o.alive.Store(false)
		m.SetTargets([]Target{impatient})
		time.Sleep(time.Second)
		want(t, m, o.id, Down, "fall is now 1")
		n := o.probes.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if d := o.probes.Load() - n; d < 9 || d > 11 {
			t.Errorf("%d probes a second, want 10: the interval is now 100ms", d)
		}
	})
}

func TestResultOfARemovedTargetIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		deaf := Target{ID: o.id, Config: Config{Rise: 1}, Probe: func(context.Context) (time.Duration, error) {
			time.Sleep(300 * time.Millisecond) // does not hear of the cancellation
			return time.Second, nil
		}}
		m := start(t, deaf)
		for want(t, m, o.id, Unknown, "before the answer").Status == Unknown {
			time.Sleep(time.Second + 100*time.Millisecond)
			break
		}
		m.SetTargets(nil)
		o.alive.Store(false)
		m.SetTargets([]Target{o.target()})
		time.Sleep(350 * time.Millisecond)
		if st := want(t, m, o.id, Unknown, "the old target's answer says nothing about the new one"); st.RTT != 0 {
			t.Errorf("round-trip time of the old target in %+v", st)
		}
	})
}

func TestRunWaitsForItsProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int64
		var targets []Target
		for i := range 20 {
			targets = append(targets, Target{ID: ID{Service: "shop", Name: fmt.Sprint(i)}, Probe: func(ctx context.Context) (time.Duration, error) {
				running.Add(1)
				defer running.Add(-1)
				<-ctx.Done()
				time.Sleep(50 * time.Millisecond) // closing takes its time
				return 0, ctx.Err()
			}, Config: Config{Interval: 100 * time.Millisecond, Timeout: time.Minute}})
		}
		m := New(nil, nil)
		m.SetTargets(targets)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.Run(ctx) }()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := running.Load(); n != 20 {
			t.Fatalf("%d probes running, want 20", n)
		}
		cancel()
		<-done
		if n := running.Load(); n != 0 {
			t.Errorf("Run returned with %d probes running", n)
		}
		for _, st := range m.Snapshot().All() {
			if st.Reason != ReasonNone {
				t.Fatalf("a probe cut short by the stop counted as a failure: %+v", st)
			}
		}
	})
}

func TestSlowReaderBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin("http://10.0.0.1")
		m := start(t, o.target())
		never, also := m.Subscribe(), m.Subscribe()
		for range 10 {
			time.Sleep(4 * time.Second)
			want(t, m, o.id, Up, "while nobody reads the wake-ups")
			o.alive.Store(false)
			time.Sleep(4 * time.Second)
			want(t, m, o.id, Down, "while nobody reads the wake-ups")
			o.alive.Store(true)
		}
		if len(never) != 1 || len(also) != 1 {
			t.Errorf("%d and %d wake-ups wait, want one for each reader", len(never), len(also))
		}
	})
}

func TestSnapshotIsImmutableAndOrdered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id := func(service, name string, p Protocol) ID { return ID{Service: service, Name: name, Protocol: p} }
		ids := []ID{id("shop", "z", ""), id("api", "x", ""), id("", ":443", H3), id("shop", "a", ""), id("", ":443", H1)}
		var targets []Target
		for _, i := range ids {
			targets = append(targets, Target{ID: i, Probe: func(context.Context) (time.Duration, error) { return 1, nil }})
		}
		m := start(t, targets...)
		first := m.Snapshot()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		names := func(states []*State) (s string) {
			for _, st := range states {
				s += st.ID.Service + " " + st.ID.Name + " " + string(st.ID.Protocol) + ","
			}
			return s
		}
		for what, pair := range map[string][2]string{
			"all":     {names(first.All()), " :443 h3, :443 h1,api x ,shop z ,shop a ,"},
			"self":    {names(first.Self()), " :443 h3, :443 h1,"},
			"shop":    {names(first.Origins("shop")), "shop z ,shop a ,"},
			"unknown": {names(first.Origins("none")), ""},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %q, want %q", what, pair[0], pair[1])
			}
		}
		for _, st := range first.All() {
			if st.Status != Unknown {
				t.Errorf("an old snapshot changed: %+v", st)
			}
		}
		for _, st := range m.Snapshot().All() {
			if !st.Up() {
				t.Errorf("the new one did not: %+v", st)
			}
		}
		var none *Snapshot
		if none.Get(ids[0]) != nil || none.All() != nil || none.Self() != nil || none.Origins("shop") != nil || none.Get(ids[0]).Up() {
			t.Error("a nil snapshot is not empty")
		}
	})
}
