package cache

import (
	"context"
	"time"
)

const (
	// sweepDelay lets purges that come together be swept together.
	sweepDelay = time.Second
	// sweepBatch is the number of slots that are compared under one lock.
	sweepBatch = 32
	// sweepBurst is the number of slots after which a sweep rests, for sweepRest at least and sweepShare times as long as they took: it takes a
	// small part of one core, also where purges are frequent.
	sweepBurst = 512
	sweepRest  = time.Millisecond
	sweepShare = 9
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
	upTo, seen, began := c.purges.seq.Load(), 0, time.Now()
	for i := range c.shards {
		s := &c.shards[i]
		for first := uint32(1); c.settleBatch(s, first); first += sweepBatch {
			if seen += sweepBatch; seen >= sweepBurst {
				if !rest(ctx, max(sweepRest, sweepShare*time.Since(began))) {
					return false
				}
				seen, began = 0, time.Now()
			}
		}
		if ctx.Err() != nil {
			return false
		}
	}
	c.sweepHints()
	c.purges.swept.Store(upTo)
	return true
}

// settleBatch does to some slots what purges want; false when there are none from the first on. What is put into a slot later has been compared
// by whoever put it there.
func (c *Cache) settleBatch(s *shard, first uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	room := s.table.room()
	for id := first; id <= room && id < first+sweepBatch; id++ {
		x := s.table.slot(id)
		if x.queue == noQueue || x.checked.Load() == c.purges.seq.Load() {
			continue
		}
		e := s.resident(x)
		if e == nil {
			if f := c.briefly(s, x); f != nil && c.untouchedBy(x, &f.key, &f.obj) {
				continue
			}
			e = c.unpacked(s, id, false)
		}
		if e != nil {
			c.settle(s, e)
		}
	}
	c.trim(s)
	return first <= room
}
