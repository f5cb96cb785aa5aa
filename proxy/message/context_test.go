package message

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestContext(t *testing.T) {
	type key struct{}
	server, stop := context.WithCancelCause(context.WithValue(t.Context(), key{}, "v"))
	c := NewContext(server)
	if _, ok := c.Deadline(); ok || c.Err() != nil || c.Value(key{}) != "v" || Cut(c) != nil || context.Cause(c) != nil {
		t.Error("a new context")
	}
	select {
	case <-c.Done():
		t.Error("done at once")
	default:
	}
	derived, cancel := context.WithCancel(c)
	defer cancel()
	after := make(chan bool)
	context.AfterFunc(c, func() { after <- true })
	c.End(nil)
	c.End(nil)
	<-c.Done()
	<-derived.Done()
	<-after
	if c.Err() != context.Canceled || context.Cause(c) != context.Canceled || derived.Err() != context.Canceled {
		t.Error("an ended context")
	}
	<-endedContext(server).Done()
	cause := errors.New("stopping")
	stop(cause)
	if Cut(c) != cause || Cut(derived) != cause {
		t.Errorf("cut by %v", Cut(c))
	}
}

func TestCause(t *testing.T) {
	c, cause := NewContext(t.Context()), errors.New("idle")
	if Cause(c) != nil {
		t.Error("a cause before the end")
	}
	c.End(cause)
	c.End(errors.New("late"))
	if Cause(c) != cause || c.Err() != context.Canceled {
		t.Errorf("cause %v, error %v", Cause(c), c.Err())
	}
	if Cause(endedContext(t.Context())) != context.Canceled {
		t.Error("an end without a cause")
	}
	std, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if Cause(std) != cause {
		t.Error("another context's cause")
	}
}

// endedContext returns one that ended before anybody asked.
func endedContext(server context.Context) *Context {
	c := NewContext(server)
	c.End(nil)
	return c
}

func TestContextStoppedAfterFunc(t *testing.T) {
	c := NewContext(t.Context())
	stop := context.AfterFunc(c, func() { t.Error("called") })
	if !stop() || stop() {
		t.Error("stop")
	}
	c.End(nil)
}

func TestHooks(t *testing.T) {
	c := NewContext(t.Context())
	var called [4]int
	var hooks [4]Hook
	for i := range hooks {
		hooks[i].F = func() { called[i]++ }
		c.Hook(&hooks[i])
	}
	for _, i := range []int{2, 3, 0} { // from the middle, from the front, from the end
		if !c.Unhook(&hooks[i]) || c.Unhook(&hooks[i]) {
			t.Errorf("hook %d", i)
		}
	}
	c.Hook(&hooks[3]) // again
	c.End(nil)
	if c.Unhook(&hooks[1]) {
		t.Error("a hook that was called could be taken back")
	}
	c.Hook(&hooks[0]) // late
	if called != [4]int{1, 1, 0, 1} {
		t.Errorf("called %v", called)
	}
	if NewContext(t.Context()).Unhook(&hooks[2]) {
		t.Error("a hook was on a context that never had it")
	}
}

func TestHooksRace(t *testing.T) {
	for range 200 {
		c := NewContext(t.Context())
		var calls, back atomic.Int32
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				h := &Hook{F: func() { calls.Add(1) }}
				c.Hook(h)
				if c.Unhook(h) {
					back.Add(1)
				}
			})
		}
		work.Go(func() { c.End(nil) })
		work.Wait()
		c.End(nil)
		if calls.Load()+back.Load() != 4 {
			t.Fatalf("%d called, %d taken back", calls.Load(), back.Load())
		}
	}
}

func TestContextCost(t *testing.T) {
	h := Hook{F: func() {}}
	server := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		c := NewContext(server)
		c.Hook(&h)
		c.Unhook(&h)
		c.End(nil)
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
