package load

import (
	"context"
	"math"
	"time"
)

// pace lets the requests of an open loop start, each at its time. One that no connection has room for waits; its ticket says when it was
// meant to start. What still waits when the timeout has passed after the last one's time is not sent and counts as failed.
func (r *run) pace(ctx context.Context) {
	defer close(r.arrivals)
	warm := int64(math.Ceil(r.Rate * r.Warmup.Seconds()))
	measured := r.Requests
	if !r.counted() {
		measured = max(1, int64(r.Rate*r.Duration.Seconds()))
	}
	total := warm + measured
	giveUp, stop := context.WithTimeout(ctx, r.arrival(total)+r.Timeout)
	defer stop()
	for i := range total {
		at := r.arrival(i)
		if early := at - r.now(); early > 0 {
			r.pause(giveUp, early)
		}
		if i == warm {
			r.begin()
			// What reading the server's costs took must not count against it.
			r.from.Store(min(r.from.Load(), int64(at)))
		}
		select {
		case r.arrivals <- ticket{at, i >= warm}:
		case <-giveUp.Done():
			if ctx.Err() == nil {
				r.book.fail(failed(NotSent, "no connection had room for it by the end"), 0, total-max(i, warm))
				r.book.ended(r.now())
			}
			return
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// arrival is when request i is meant to start.
func (r *run) arrival(i int64) time.Duration {
	return time.Duration(float64(i) / r.Rate * float64(time.Second))
}
