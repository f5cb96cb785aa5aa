package h1

import (
	"errors"
	"os"
	"sync"
	"time"

	"nearcast/proxy/message"
)

// watchAfter is how long a handler works until somebody looks whether the client is still there. Most are done before.
const watchAfter = 10 * time.Millisecond

// watcher notices during a handler's work that the client goes away. It does so by reading one byte, which may be the next request's.
// Nobody else reads meanwhile: the request has no body, or it has been read.
type watcher struct {
	c     *conn
	timer *time.Timer

	mu      sync.Mutex
	cond    sync.Cond
	ctx     *message.Context // of the exchange; nil when there is none
	armed   bool
	reading bool
	stop    bool // whoever reads is to come back
	gone    bool
	got     bool
	one     [1]byte
}

// begin begins an exchange, whose context is to end if the client leaves. ready says that nothing of its request is left to read.
func (w *watcher) begin(ctx *message.Context, ready bool) {
	w.mu.Lock()
	w.ctx = ctx
	w.cond.L = &w.mu
	w.mu.Unlock()
	if ready {
		w.arm()
	}
}

// arm says that the request has been read.
func (w *watcher) arm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ctx == nil || w.armed {
		return
	}
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, w.watch)
	} else {
		w.timer.Reset(watchAfter)
	}
}

// watch runs on the timer's goroutine.
func (w *watcher) watch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.armed || w.reading || w.got || w.gone {
		return
	}
	w.reading = true
	w.c.in.interrupt(time.Time{})
	w.mu.Unlock()
	n, err := w.c.nc.Read(w.one[:])
	w.mu.Lock()
	w.reading = false
	w.got = n > 0
	if err != nil && !(w.stop && errors.Is(err, os.ErrDeadlineExceeded)) {
		w.gone = true
		w.ctx.End(nil)
	}
	w.cond.Broadcast()
}

// end ends the exchange's watch. It reports whether the client has gone. What was read is in the buffer afterwards.
func (w *watcher) end() (gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		w.timer.Stop()
	}
	if w.reading {
		w.stop = true
		w.c.in.interrupt(past)
		for w.reading {
			w.cond.Wait()
		}
	}
	w.ctx, w.armed, w.stop = nil, false, false
	if w.got {
		w.c.in.push(w.one[0])
		w.got = false
	}
	return w.gone
}
