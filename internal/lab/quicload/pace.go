package quicload

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// ask performs one request and completes its record but for the times.
type ask func(ctx context.Context, r *Record) error

// paced is a run of a client that is a library.
type paced struct {
	ask   ask
	close func() error
	end   context.CancelFunc // no more requests
	drop  context.CancelFunc // those under way end
	wg    sync.WaitGroup
	first chan error // the first request's result

	mu      sync.Mutex
	records []Record
	open    map[int]Record // under way, by their place in the sequence
	done    chan struct{}  // closed when none is under way; nil while nobody waits for that
	stopped bool
}

// startPaced starts requests and waits for the first answer. close is called at the stop, or when that answer is an error.
func startPaced(ctx context.Context, t Target, ask ask, close func() error) (Run, error) {
	life, drop := context.WithCancel(context.WithoutCancel(ctx))
	pacing, end := context.WithCancel(life)
	p := &paced{ask: ask, close: close, end: end, drop: drop, first: make(chan error, 1), open: map[int]Record{}}
	p.wg.Go(func() { p.pace(pacing, life, t.interval()) })
	var err error
	select {
	case err = <-p.first:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		drop()
		p.wg.Wait()
		return nil, errors.Join(err, close())
	}
	return p, nil
}

// pace starts a request at every tick of an even clock, whatever the answers do.
func (p *paced) pace(ctx, life context.Context, interval time.Duration) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for n := range maxRequests {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		p.begin(life, n)
		next = next.Add(interval)
		timer.Reset(time.Until(next))
	}
}

func (p *paced) begin(life context.Context, n int) {
	r := Record{Start: time.Now().Round(0)}
	p.mu.Lock()
	p.open[n] = r
	p.mu.Unlock()
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(life, requestTime)
		defer cancel()
		err := p.ask(ctx, &r)
		r.End = time.Now().Round(0)
		if err != nil {
			r.Err = err.Error()
		}
		p.finish(n, r)
		if n == 0 {
			p.first <- err
		}
	})
}

func (p *paced) finish(n int, r Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return // it is in the records as it was at the stop
	}
	p.records = append(p.records, r)
	delete(p.open, n)
	if len(p.open) == 0 && p.done != nil {
		close(p.done)
		p.done = nil
	}
}

func (p *paced) Stop(ctx context.Context) ([]Record, error) {
	p.end()
	patience, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	p.drain(patience)

	p.mu.Lock()
	now := time.Now().Round(0)
	p.stopped = true
	for _, r := range p.open {
		p.records = append(p.records, unfinished(r, now))
	}
	p.mu.Unlock()
	p.drop()
	p.wg.Wait()
	err := p.close()
	slices.SortStableFunc(p.records, byStart)
	return p.records, err
}

// drain waits until no request is under way.
func (p *paced) drain(ctx context.Context) {
	p.mu.Lock()
	if len(p.open) == 0 {
		p.mu.Unlock()
		return
	}
	done := make(chan struct{})
	p.done = done
	p.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
