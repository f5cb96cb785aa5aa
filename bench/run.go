package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Run makes the load and returns what became of it. It ends after Options.Duration, or earlier when ctx ends: no further
// request starts then, but those under way run to their own end, at most Options.Timeout, so that stopping is no failure.
// The error is about the options; failed requests are in the Result.
func Run(ctx context.Context, o Options) (*Result, error) {
	p, err := newPlan(o)
	if err != nil {
		return nil, err
	}
	r := &run{plan: p, client: newClient(p), slots: make(chan struct{}, p.MaxInFlight), records: make([]Record, p.requests)}
	defer r.client.close()
	start := time.Now()
	n := r.arrivals(ctx, start)
	r.requests.Wait()
	return newResult(p, start, r.records[:n], r.client.dialled.Load(), r.examples), nil
}

// Once makes one request, whatever Rate and Duration say. The error says why there is no whole response with a status below 400; the
// record is complete either way, unless it is about the options. Unlike a run's request, this one ends with ctx.
func Once(ctx context.Context, o Options) (Record, error) {
	o.Rate, o.Duration = 1, time.Second
	p, err := newPlan(o)
	if err != nil {
		return Record{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	c := newClient(p)
	defer c.close()
	rec := Record{Start: time.Now()}
	err = c.record(ctx, &rec)
	if err == nil && rec.Class == Status {
		err = fmt.Errorf("status %d", rec.Status)
	}
	if p.Observe != nil {
		p.Observe(rec)
	}
	return rec, err
}

// run is one Run under way.
type run struct {
	// immutable
	plan   *plan
	client *client
	slots  chan struct{} // one for each request in flight

	requests sync.WaitGroup
	records  []Record // in order of arrival; each written by the goroutine of its request

	mu       sync.Mutex
	examples map[Class]string // first error text of each class
}

// arrivals starts the requests at their times and returns how many there were.
func (r *run) arrivals(ctx context.Context, start time.Time) int {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range r.records {
		at := start.Add(time.Duration(float64(i) / r.plan.Rate * float64(time.Second)))
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return i
		case <-timer.C:
		}
		if ctx.Err() != nil {
			return i
		}
		r.arrive(ctx, &r.records[i], at)
	}
	return len(r.records)
}

// arrive starts the request that was meant to start at the given time.
func (r *run) arrive(ctx context.Context, rec *Record, at time.Time) {
	rec.Start = at
	select {
	case r.slots <- struct{}{}:
	default:
		rec.Class, rec.Latency = NotSent, time.Since(at)
		r.observe(*rec)
		return
	}
	r.requests.Go(func() {
		defer func() { <-r.slots }()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.plan.Timeout)
		defer cancel()
		if err := r.client.record(ctx, rec); err != nil {
			r.example(rec.Class, err)
		}
		r.observe(*rec)
	})
}

func (r *run) observe(rec Record) {
	if r.plan.Observe != nil {
		r.plan.Observe(rec)
	}
}

func (r *run) example(c Class, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.examples == nil {
		r.examples = make(map[Class]string)
	}
	if _, ok := r.examples[c]; !ok {
		r.examples[c] = err.Error()
	}
}
