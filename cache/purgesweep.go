package cache

import (
	"context"
	"time"
)

const (
	// sweepDelay lets purges that come together be swept together.
	sweepDelay = time.Second
	// sweepBatch is the number of entries that are compared under one lock.
	sweepBatch = 128
	// sweepRest is the pause after sweepBurst entries: a sweep takes a small part of one core.
	sweepRest  = time.Millisecond
	sweepBurst = 2048
)

// Run compares what nobody asks for with the purges that have come, so that its memory is freed, until ctx ends. A cache without it serves as
// rightly, but keeps what is purged until it is asked for or evicted.
func (c *Cache) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.purges.wake:
		}
		if !c.purges.crowded() && !rest(ctx, sweepDelay) || !c.sweep(ctx) {
			return
		}
	}
}

// rest waits, and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sweep compares every entry with the purges there are. It fails when ctx ends.
func (c *Cache) sweep(ctx context.Context) bool {
	upTo, seen := c.purges.seq.Load(), 0
	for i := range c.shards {
		s := &c.shards[i]
		for batch := range s.batches {
			c.settleBatch(s, batch)
			if seen += len(batch); seen >= sweepBurst {
				seen = 0
				if !rest(ctx, sweepRest) {
					return false
				}
			}
		}
		if ctx.Err() != nil {
			return false
		}
	}
	c.purges.swept.Store(upTo)
	return true
}

// settleBatch does what purges want to those of the entries that they concern.
func (c *Cache) settleBatch(s *shard, batch []*entry) {
	concerned := batch[:0]
	s.mu.RLock()
	for _, e := range batch {
		if !e.gone && !c.untouched(e) {
			concerned = append(concerned, e)
		}
	}
	s.mu.RUnlock()
	if len(concerned) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range concerned {
		if !e.gone {
			c.settle(s, e)
		}
	}
}

// batches yields every entry that is in the index all the while, some at a time. The lock is free while they are handled: a map may change
// between two steps of its iteration, as it may in a loop's body.
func (s *shard) batches(yield func([]*entry) bool) {
	var buf [sweepBatch + maxVariants]*entry
	batch := buf[:0]
	s.mu.RLock()
	defer func() { s.mu.RUnlock() }()
	handle := func() bool {
		s.mu.RUnlock()
		more := yield(batch)
		s.mu.RLock()
		clear(buf[:])
		batch = buf[:0]
		return more
	}
	for _, res := range s.resources {
		for ; res != nil; res = res.next {
			if batch = append(batch, res.variants...); len(batch) >= sweepBatch && !handle() {
				return
			}
		}
	}
	if len(batch) > 0 {
		handle()
	}
}
