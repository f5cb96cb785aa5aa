package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// maxPendingLog bounds what waits for a slow reader of a log, in bytes.
const maxPendingLog = 4 << 20

// logWriter takes whole lines and writes them from a goroutine of its own, so that whoever reads the log can't hold requests or
// decisions up. Lines that find maxPendingLog full, or a reader that is gone, are dropped and counted.
type logWriter struct {
	// immutable
	to      io.Writer
	dropped *metrics.Counter
	wake    chan struct{} // capacity one

	mu      sync.Mutex
	pending []byte
}

func newLogWriter(to io.Writer, dropped *metrics.Counter) *logWriter {
	return &logWriter{to: to, wake: make(chan struct{}, 1), dropped: dropped}
}

// Write takes one line. It never blocks on the reader and never fails.
func (a *logWriter) Write(line []byte) (int, error) {
	a.mu.Lock()
	if len(a.pending)+len(line) > maxPendingLog {
		a.mu.Unlock()
		a.dropped.Inc()
		return len(line), nil
	}
	a.pending = append(a.pending, line...)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Run writes until ctx ends, and then what is left, for a second at most: a reader that takes nothing may not keep the process.
func (a *logWriter) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with its last write, which the kernel may hold for as long as the reader sleeps
		defer close(done)
		var spare []byte
		for {
			select {
			case <-ctx.Done():
				a.flush(spare)
				return
			case <-a.wake:
				spare = a.flush(spare)
			}
		}
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

func (a *logWriter) flush(spare []byte) []byte {
	a.mu.Lock()
	out := a.pending
	a.pending = spare[:0]
	a.mu.Unlock()
	if len(out) > 0 {
		n, err := a.to.Write(out)
		if err != nil {
			a.dropped.Add(bytes.Count(out[n:], []byte{'\n'}))
		}
	}
	return out
}
