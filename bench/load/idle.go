package load

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/bench/process"
)

// IdleResult is what connections that do nothing cost the server.
type IdleResult struct {
	URL         string  `json:"url"`
	Protocol    string  `json:"protocol"`
	Connections int     `json:"connections"` // opened
	Alive       int     `json:"alive"`       // after the settling
	Failed      int64   `json:"failed"`      // of the requests that each of them carried
	Settled     float64 `json:"settle_seconds"`
	Before      int64   `json:"rss_before_bytes"`
	After       int64   `json:"rss_after_bytes"`
	PerConn     int64   `json:"rss_bytes_per_connection"` // 0 when there is none left
}

// IdleOptions say which connections to hold.
type IdleOptions struct {
	Options               // URL, Protocol, TLS, Address, Connections, Timeout, Progress
	Server  process.Set   // of which the memory is read
	Settle  time.Duration // how long the connections are idle before that. Default 10s.
}

// primed is how many connections are made and closed before the memory is read first, so that what a server makes once is not counted.
const primed = 64

// Idle opens connections, has each carry one request, and compares the server's resident memory with and without them. It returns early
// when ctx ends.
func Idle(ctx context.Context, o IdleOptions) (*IdleResult, error) {
	if o.Settle == 0 {
		o.Settle = 10 * time.Second
	}
	o.Rate, o.Requests, o.Duration, o.Streams = 1, 1, 0, 1
	o.buffer = frameHeader + maxFrame
	if _, err := o.Server.Read(); err != nil {
		return nil, err
	}
	p, err := newPlan(o.Options)
	if err != nil {
		return nil, err
	}
	if err := o.prime(ctx, *p); err != nil {
		return nil, err
	}
	before, err := o.Server.Read()
	if err != nil {
		return nil, err
	}
	h, err := hold(ctx, p, p.Connections)
	if err != nil {
		return nil, err
	}
	defer h.release()
	h.wait(ctx, o.Settle)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	after, err := o.Server.Read()
	if err != nil {
		return nil, err
	}
	_, failures := h.book.progress()
	r := &IdleResult{URL: p.URL, Protocol: p.Protocol, Connections: p.Connections, Alive: h.alive(), Failed: failures,
		Settled: o.Settle.Seconds(), Before: before.RSS, After: after.RSS}
	if r.Alive > 0 {
		r.PerConn = (after.RSS - before.RSS) / int64(r.Alive)
	}
	return r, nil
}

// prime makes and closes a few connections.
func (o *IdleOptions) prime(ctx context.Context, p plan) error {
	h, err := hold(ctx, &p, min(p.Connections, primed))
	if err != nil {
		return err
	}
	h.release()
	sleep(ctx, o.Settle/2)
	return ctx.Err()
}

// holder is a worker that can keep its connection without doing anything.
type holder interface {
	worker
	// hold makes one request on the connection that is open.
	hold(ctx context.Context)
	// held reports that the connection is still there.
	held() bool
	// letGo closes the connection and waits for what reads from it.
	letGo()
}

// held are connections that are held.
type held struct {
	*run
	finished chan struct{}
	watching sync.WaitGroup
}

// hold opens n connections and has each carry a request.
func hold(ctx context.Context, p *plan, n int) (*held, error) {
	r := &run{plan: p, book: newBook(), epoch: time.Now()}
	for i := range n {
		r.workers = append(r.workers, r.newWorker(uint64(i)))
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	h := &held{run: r, finished: make(chan struct{})}
	h.watching.Go(func() { r.watch(ctx, h.finished, func(time.Duration) {}) })
	var holding sync.WaitGroup
	var next atomic.Int64
	for range min(openAtOnce, n) {
		holding.Go(func() {
			for i := next.Add(1) - 1; int(i) < n && ctx.Err() == nil; i = next.Add(1) - 1 {
				r.workers[i].(holder).hold(ctx)
			}
		})
	}
	holding.Wait()
	return h, nil
}

// wait waits and reports how long yet.
func (h *held) wait(ctx context.Context, d time.Duration) {
	for end := time.Now().Add(d); ctx.Err() == nil; {
		left := time.Until(end)
		if left <= 0 {
			return
		}
		h.report("settling", d-left, d)
		sleep(ctx, min(left, 100*time.Millisecond))
	}
}

func (h *held) alive() (n int) {
	for _, w := range h.workers {
		if w.(holder).held() {
			n++
		}
	}
	return n
}

func (h *held) release() {
	close(h.finished)
	h.watching.Wait()
	for _, w := range h.workers {
		w.(holder).letGo()
	}
}

func (w *h1) hold(ctx context.Context) {
	w.request(ctx, ticket{w.now(), true}, pick{})
	w.tally.flush()
	w.buf, w.out = nil, nil
}

func (w *h1) held() bool {
	nc := w.link.get()
	if nc == nil {
		return false
	}
	nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := nc.Read(make([]byte, 1))
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

func (w *h1) letGo() { w.link.close() }

func (w *h2) hold(ctx context.Context) {
	w.expired.Go(func() { w.lose(w.serve()) })
	w.arrive(ticket{w.now(), true}, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.up && len(w.index) > 0 {
		w.room.Wait()
	}
	w.tally.flush()
}

func (w *h2) held() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.up
}

func (w *h2) letGo() {
	w.link.close()
	w.expired.Wait()
}

func (w *h3) hold(ctx context.Context) {
	for _, l := range w.lanes {
		l.request(ctx, ticket{w.now(), true}, pick{})
		l.tally.flush()
	}
}

func (w *h3) held() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.link != nil && w.link.usable()
}

func (w *h3) letGo() { w.finish() }
