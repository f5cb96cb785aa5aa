package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAPauseFailsNoProbeOfTheEdgeItself: while a route is moved no attempt to connect is answered, the edge's own neither. That must not
// look as though the edge were dead; one that is dead must.
func TestAPauseFailsNoProbeOfTheEdgeItself(t *testing.T) {
	const interval, timeout, pause = 100 * time.Millisecond, 100 * time.Millisecond, 900 * time.Millisecond
	for _, dead := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var p pauses
			listener := func(ctx context.Context) (time.Duration, error) {
				if _, over := p.now(); dead || over != nil {
					<-ctx.Done()
					return 0, ctx.Err()
				}
				return time.Millisecond, nil
			}
			probe := p.spare(listener, timeout)
			for i := range 40 {
				if i == 5 {
					p.begin()
					time.AfterFunc(pause, p.end)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 2*timeout+pause)
				_, err := probe(ctx)
				cancel()
				if (err != nil) != dead {
					t.Errorf("dead %v: probe %d: %v", dead, i, err)
				}
				if took := time.Since(began); took > 2*timeout+pause {
					t.Errorf("probe %d took %s", i, took)
				}
				time.Sleep(interval)
			}
		})
	}
}

// TestAProbeEndsWithTheProcess, in a pause too.
func TestAProbeEndsWithTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pauses
		p.begin()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		began := time.Now()
		_, err := p.spare(func(ctx context.Context) (time.Duration, error) { <-ctx.Done(); return 0, ctx.Err() }, time.Second)(ctx)
		if !errors.Is(err, context.Canceled) || time.Since(began) != 50*time.Millisecond {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

// TestOwnListenersAreAskedAgainAfterAPause: the targets have the time for it.
func TestOwnListenersAreAskedAgainAfterAPause(t *testing.T) {
	e, _ := announcingEdge(t)
	for _, target := range e.selfTargets() {
		if got, want := target.Config.Timeout, 2*e.cfg.Anycast.SelfProbe.Timeout+e.cfg.Shutdown.Pause; got != want {
			t.Errorf("%s has %s, want %s", target.ID, got, want)
		}
	}
	e.cfg.Shutdown.Pause = 30 * time.Millisecond
	done := e.gate()
	if begun, over := e.pauses.now(); begun != 1 || over == nil {
		t.Error("the gate is no pause")
	}
	done()
	if _, over := e.pauses.now(); over != nil {
		t.Error("the pause does not end")
	}
}
