package load

import (
	"context"
	"time"
)

// watch looks for requests that take too long and calls each in between; it gives everything up when ctx ends.
func (r *run) watch(ctx context.Context, finished <-chan struct{}, each func(now time.Duration)) {
	every := min(max(r.Timeout/20, 5*time.Millisecond), 100*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-finished:
			return
		case <-ctx.Done():
			r.aborted.Store(true)
			for _, w := range r.workers {
				w.abort()
			}
			<-finished
			return
		case <-tick.C:
		}
		now := r.now()
		for _, w := range r.workers {
			w.watch(now - r.Timeout)
		}
		each(now)
	}
}

// reportPhase reports how the phase stands.
func (r *run) reportPhase(now time.Duration) {
	switch r.phase.Load() {
	case warming:
		r.report("warming up", now, r.Warmup)
	case measuring:
		r.report("measuring", now-time.Duration(r.from.Load()), r.Duration)
	case over:
		r.report("finishing", 0, 0)
	}
}

func (r *run) report(phase string, elapsed, total time.Duration) {
	if r.Progress == nil {
		return
	}
	ok, failed := r.book.progress()
	r.Progress(Progress{phase, elapsed, total, ok, failed})
}
