package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	// maxPendingLog bounds what waits for a slow reader of a log, in bytes.
	maxPendingLog = 4 << 20
	// logDelay is how long a line may wait for others to share a write with, logBatch what is written without a wait. The first line after
	// a quiet time is written at once.
	logDelay = 10 * time.Millisecond
	logBatch = 64 << 10
)

// logWriter takes whole lines and writes them from a goroutine of its own, many at a time, so that whoever reads the log can't hold requests
// or decisions up. Lines that find maxPendingLog full, or a reader that is gone, are dropped and counted.
type logWriter struct {
	// immutable
	to      io.Writer
	dropped *metrics.Counter
	wake    chan struct{} // capacity one: there is a line
	full    chan struct{} // capacity one: there are logBatch bytes

	mu      sync.Mutex
	pending []byte

	torn bool // what was written last is a part of a line; owned by whoever flushes
}

func newLogWriter(to io.Writer, dropped *metrics.Counter) *logWriter {
	return &logWriter{to: to, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), dropped: dropped}
}

// Write takes one line. It never blocks on the reader and never fails.
func (a *logWriter) Write(line []byte) (int, error) {
	a.mu.Lock()
	if len(a.pending)+len(line) > maxPendingLog {
		a.mu.Unlock()
		a.dropped.Inc()
		return len(line), nil
	}
	before := len(a.pending)
	a.pending = append(a.pending, line...)
	after := len(a.pending)
	a.mu.Unlock()
	if before == 0 {
		poke(a.wake)
	}
	if before < logBatch && after >= logBatch {
		poke(a.full)
	}
	return len(line), nil
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and then what is left, for a second at most: a reader that takes nothing may not keep the process.
func (a *logWriter) Run(ctx context.Context) {
	done := make(chan struct{})
	go func() { // ends with its last write, which the kernel may hold for as long as the reader sleeps
		defer close(done)
		a.flush(a.copy(ctx))
	}()
	<-ctx.Done()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

// copy writes until ctx ends, and returns a buffer for what is left.
func (a *logWriter) copy(ctx context.Context) (spare []byte) {
	pause := time.NewTimer(logDelay)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return spare
		case <-a.wake:
		}
		spare = a.flush(spare)
		pause.Reset(logDelay)
		select {
		case <-ctx.Done():
			return spare
		case <-a.full:
		case <-pause.C:
		}
	}
}

func (a *logWriter) flush(spare []byte) []byte {
	a.mu.Lock()
	out := a.pending
	a.pending = spare[:0]
	a.mu.Unlock()
	if len(out) > 0 {
		n, err := a.write(out)
		if err != nil {
			a.dropped.Add(bytes.Count(out[n:], newline))
		}
	}
	return out
}

var newline = []byte{'\n'}

// write writes whole lines. After a write that failed within a line, on a full disk for one, that line is ended first: the next is not its rest.
func (a *logWriter) write(lines []byte) (n int, err error) {
	if a.torn {
		if _, err := a.to.Write(newline); err != nil {
			return 0, err
		}
		a.torn = false
	}
	n, err = a.to.Write(lines)
	a.torn = n > 0 && lines[n-1] != '\n'
	return n, err
}
