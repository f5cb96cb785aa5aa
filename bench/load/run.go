package load

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// The phases of a run.
const (
	warming int32 = iota
	measuring
	over
)

// run is a run under way. Times are since its epoch.
type run struct {
	*plan
	book  *book
	epoch time.Time

	phase    atomic.Int32
	aborted  atomic.Bool // what is in flight is given up and not counted
	issued   atomic.Int64
	arrivals chan ticket // of the open loop; nil in a closed one
	workers  []worker
	begun    bool
	from     atomic.Int64  // when the measuring began, in ns
	to       time.Duration // when it ended
}

// ticket allows one request.
type ticket struct {
	start time.Duration // when it was meant to start
	// measured says that the request counts. In a closed loop with a duration the phase in which it ends decides instead.
	measured bool
}

// worker is one connection, over and over. It is used by the goroutine that works and by the one that watches.
type worker interface {
	// open makes the first connection.
	open(ctx context.Context) error
	// work makes requests until there are no more tickets, and closes the connection.
	work(ctx context.Context)
	// watch gives up requests that were sent before the deadline. It must not block.
	watch(deadline time.Duration)
	// abort ends everything at once.
	abort()
}

// Run makes the load. It returns early, with what was measured so far, when ctx ends, and with an error only when no load could be made: a
// [*ConnectError] when a first connection failed.
func Run(ctx context.Context, o Options) (*Result, error) {
	p, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	r := &run{plan: p, book: newBook(), epoch: time.Now()}
	for i := range p.Connections {
		r.workers = append(r.workers, r.newWorker(uint64(i)))
	}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	r.measure(ctx)
	return r.result(), nil
}

func (r *run) newWorker(n uint64) worker {
	if r.Handshakes != "" {
		return newHandshaker(r)
	}
	switch r.Protocol {
	case HTTP2:
		return newH2(r, n)
	case HTTP3:
		return newH3(r, n)
	}
	return newH1(r, n)
}

// now is the time since the run's epoch.
func (r *run) now() time.Duration { return time.Since(r.epoch) }

// openAtOnce is how many connections are made at a time: more only overflow the server's backlog.
const openAtOnce = 32

// open makes all first connections; any that fails ends the run. The first is made alone: nearly always it shows what is wrong.
func (r *run) open(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var next atomic.Int64
	if err := r.workers[0].open(ctx); err != nil {
		cancel(r.connectError(err))
	}
	next.Add(1)
	for range min(openAtOnce, len(r.workers)) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(r.workers) {
					return
				}
				if err := r.workers[i].open(ctx); err != nil {
					cancel(r.connectError(err))
					return
				}
				r.report("connecting", 0, 0)
			}
		})
	}
	group.Wait()
	if ctx.Err() == nil {
		return nil
	}
	for _, w := range r.workers {
		w.abort()
	}
	return context.Cause(ctx)
}

// measure runs the phases and returns when every request has ended.
func (r *run) measure(ctx context.Context) {
	r.epoch = time.Now()
	if r.Rate == 0 && r.Warmup == 0 {
		r.begin() // before the first request
	}
	finished := make(chan struct{})
	var work, watch sync.WaitGroup
	if r.Rate > 0 {
		r.arrivals = make(chan ticket)
		work.Go(func() { r.pace(ctx) })
	}
	for _, w := range r.workers {
		work.Go(func() { w.work(ctx) })
	}
	watch.Go(func() { r.watch(ctx, finished, r.reportPhase) })
	all := make(chan struct{})
	go func() { work.Wait(); close(all) }()

	if r.Rate == 0 {
		r.conduct(ctx, all)
	}
	<-all
	close(finished)
	watch.Wait()
	if r.Rate > 0 || r.counted() {
		r.to = max(r.book.last, time.Duration(r.from.Load()))
		r.end()
	}
}

// conduct takes a closed loop through its phases.
func (r *run) conduct(ctx context.Context, all <-chan struct{}) {
	if r.Warmup > 0 {
		if !wait(ctx, all, r.Warmup) {
			r.phase.Store(over)
			return
		}
		r.begin()
	}
	if r.counted() {
		select {
		case <-all:
		case <-ctx.Done():
			r.phase.Store(over)
		}
		return
	}
	wait(ctx, all, r.Duration)
	r.phase.Store(over)
	r.to = r.now()
	r.end()
}

// begin starts the measuring: first what the server has cost so far, then the phase.
func (r *run) begin() {
	if r.Begin != nil {
		r.Begin()
	}
	r.begun = true
	r.from.Store(int64(r.now()))
	r.phase.Store(measuring)
}

func (r *run) end() {
	r.phase.Store(over)
	if r.End != nil && r.begun {
		r.End()
	}
}

// wait waits for d and reports that nothing else ended first.
func wait(ctx context.Context, all <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
	case <-all:
	}
	return false
}

// next gives the next ticket; false is the end. In the open loop it waits for one.
func (r *run) next(now time.Duration) (ticket, bool) {
	if r.arrivals != nil {
		t, ok := <-r.arrivals
		return t, ok
	}
	switch r.phase.Load() {
	case warming:
		return ticket{start: now}, true
	case over:
		return ticket{}, false
	}
	if r.counted() {
		if r.issued.Add(1) > r.Requests {
			return ticket{}, false
		}
		return ticket{now, true}, true
	}
	return ticket{start: now}, true
}

// due is next for the open loop without waiting: it gives a ticket only when one is overdue already.
func (r *run) due() (t ticket, ok, ended bool) {
	select {
	case t, ok = <-r.arrivals:
		return t, ok, !ok
	default:
		return ticket{}, false, false
	}
}

// byPhase reports that the phase in which a request ends decides whether it counts.
func (r *run) byPhase() bool { return r.Rate == 0 && !r.counted() }

// succeeded notes the end of a request whose response is whole. It may still be a failure by its status or length.
func (r *run) succeeded(t *tally, k ticket, now time.Duration, status int, bytes, want int64) {
	switch {
	case !acceptable(status):
		r.failedWith(k, now, failed(Status, "status %d", status), status)
		return
	case want >= 0 && bytes != want && status != 304:
		r.failedWith(k, now, failed(Length, "a body of %d bytes instead of %d", bytes, want), status)
		return
	}
	r.good(t, k, now, status, bytes)
}

// good notes a success, if it counts.
func (r *run) good(t *tally, k ticket, now time.Duration, status int, bytes int64) {
	measured := k.measured
	if r.byPhase() {
		phase := r.phase.Load()
		measured = phase == measuring
		if phase == over && !r.aborted.Load() {
			r.book.tooLate(now - k.start)
		}
	}
	if measured {
		t.add(now-k.start, now, status, bytes)
	}
}

// failedWith notes the end of a request that failed. In a closed loop those count that end after the measuring began, however late: a
// request that is never answered must not be forgotten because the time was up.
func (r *run) failedWith(k ticket, now time.Duration, err error, status int) {
	if r.aborted.Load() {
		return
	}
	if measured := k.measured || r.byPhase() && r.phase.Load() != warming; measured {
		r.book.fail(err, status, 1)
		r.book.ended(now)
	}
}
