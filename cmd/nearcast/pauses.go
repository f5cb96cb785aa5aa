package main

import (
	"context"
	"sync"
	"time"

	"nearcast/health"
)

// pauses knows when the listeners answer nobody because a route is being moved: the edge's own questions get no answer then either, and
// that is no reason to withdraw a route. The zero value is ready.
type pauses struct {
	mu sync.Mutex
	// guarded by mu
	begun int           // so far
	over  chan struct{} // closed at the end of the one that there is; nil: there is none
}

// begin is called before a pause, and end after it.
func (p *pauses) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begun++
	p.over = make(chan struct{})
}

func (p *pauses) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.over)
	p.over = nil
}

// now says how many pauses have begun, and when the one that there is will be over; nil: there is none.
func (p *pauses) now() (begun int, over <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.begun, p.over
}

// spare is a probe that is asked again, with as much time, when it has failed and there was a pause meanwhile. Its context needs the time
// for both and the pause.
func (p *pauses) spare(probe health.Probe, timeout time.Duration) health.Probe {
	return func(ctx context.Context) (time.Duration, error) {
		for {
			before, over := p.now()
			paused := over != nil
			once, cancel := context.WithTimeout(ctx, timeout)
			rtt, err := probe(once)
			cancel()
			begun, over := p.now()
			if err == nil || ctx.Err() != nil || !paused && begun == before {
				return rtt, err
			}
			if over == nil {
				continue
			}
			select {
			case <-over:
			case <-ctx.Done():
				return rtt, err
			}
		}
	}
}
