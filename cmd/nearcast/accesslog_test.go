package main

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/VictoriaMetrics/metrics"
)

func TestTheAccessLogWritesWhatIsLeftWhenItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		a := newAccessWriter(&out, metrics.NewSet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		a.Write([]byte("one\n"))
		synctest.Wait()
		a.Write([]byte("two\n"))
		cancel()
		<-done
		if out.String() != "one\ntwo\n" {
			t.Errorf("got %q", out.String())
		}
	})
}

// stuck is a reader of the log that takes nothing until it is let go.
type stuck struct{ release chan struct{} }

func (s stuck) Write(p []byte) (int, error) { <-s.release; return len(p), nil }

func TestAStuckReaderOfTheAccessLogHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := stuck{make(chan struct{})}
		defer close(s.release)
		a := newAccessWriter(s, metrics.NewSet())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		line := bytes.Repeat([]byte("x"), 1<<20)
		a.Write(line)
		synctest.Wait() // it is being written, and will be for ever
		for range 6 {
			a.Write(line)
		}
		if n := a.dropped.Get(); n != 2 {
			t.Errorf("%d lines dropped, want the two beyond the bound", n)
		}
		cancel()
		<-done // after a second at most: synctest would report a deadlock otherwise
	})
}
