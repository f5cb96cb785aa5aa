package cache

import (
	"context"
	"time"
)

const (
	// sweepDelay lets purges that come together be swept together.
	sweepDelay = time.Second
	// sweepBatch is the number of entries that are compared under one lock.
	sweepBatch = 64
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
		for next, more := uint32(1), true; more; {
			if next, more = c.settleBatch(s, next); !more {
				break
			}
			if seen += sweepBatch; seen >= sweepBurst {
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

// settleBatch does what purges want to the entries of sweepBatch slots from the one with that number on. It returns the number after them, and
// whether there are more. What comes into slots that have been swept has been compared on its way.
func (c *Cache) settleBatch(s *shard, first uint32) (next uint32, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, room := c.purges.seq.Load(), s.table.room()
	next = min(first+sweepBatch, room+1)
	for id := first; id < next; id++ {
		x := s.table.slot(id)
		if x.queue == noQueue || x.checked.Load() >= seq {
			continue
		}
		e := s.resident(x)
		if e == nil {
			e = c.unpacked(s, id, false)
		}
		if e != nil {
			c.settle(s, e)
		}
	}
	if next > room {
		c.trim(s)
		return next, false
	}
	return next, true
}
