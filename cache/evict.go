package cache

import "sync/atomic"

// Eviction is S3-FIFO: a new object enters a small queue and moves to the main one only if it was asked for again while there;
// a scan of objects that are asked for once goes through the small queue and leaves the main one alone. What was evicted from
// the small queue is remembered, and enters the main queue when it comes back. An object that is being read is passed over. A large
// one is spared for more hits than a small one. bench/hitratio has the figures.
//
// Each shard has its part of the queues, under its own lock. A stamp, counted over all shards, says when something was put there; the
// oldest of the tails is the tail of the whole queue.

// maxFrequency bounds the hits that count for an object.
const maxFrequency = 3

// maxSpared bounds the entries that are spared for their hits in the search for one victim.
const maxSpared = 1024

// smallShare is the small queue's part of the bytes: one in so many.
const smallShare = 10

// The queues, as slot.queue has them.
const (
	noQueue = iota
	smallQueue
	mainQueue
	queueCount
)

// queueNames are theirs in metrics.
var queueNames = [queueCount]string{noQueue: "variants", smallQueue: "small", mainQueue: "main"}

// touch notes a hit.
func (x *slot) touch() {
	if n := x.hits.Load(); n < maxFrequency {
		x.hits.CompareAndSwap(n, n+1) // a lost race loses a hit, which is no harm
	}
}

// queue is a shard's part of one: a list of slots.
type queue struct {
	newest, oldest uint32
	// stamped is the oldest one's stamp, and hasOldest when there is one, to be read without the lock.
	stamped atomic.Uint64
}

// hasOldest is above all stamps.
const hasOldest = 1 << 32

// push puts a slot into a queue. The shard is locked, here as below.
func (c *Cache) push(s *shard, id uint32, number uint32) {
	x, q := s.table.slot(id), &s.queues[number]
	x.queue, x.newer, x.older, x.stamp = number, 0, q.newest, uint32(c.stamps.Add(1))
	if q.newest != 0 {
		s.table.slot(q.newest).newer = id
	} else {
		q.oldest = id
		s.publish(q)
	}
	q.newest = id
	c.queued[number].Add(x.weight)
}

// pull takes a slot out of its queue.
func (c *Cache) pull(s *shard, id uint32) {
	x := s.table.slot(id)
	q := &s.queues[x.queue]
	if x.newer != 0 {
		s.table.slot(x.newer).older = x.older
	} else {
		q.newest = x.older
	}
	if x.older != 0 {
		s.table.slot(x.older).newer = x.newer
	} else {
		q.oldest = x.newer
		s.publish(q)
	}
	c.queued[x.queue].Add(-x.weight)
	x.newer, x.older = 0, 0
}

// publish lets the others see the oldest one's stamp.
func (s *shard) publish(q *queue) {
	if q.oldest == 0 {
		q.stamped.Store(0)
		return
	}
	q.stamped.Store(hasOldest | uint64(s.table.slot(q.oldest).stamp))
}

// resize notes that a slot takes n bytes more.
func (c *Cache) resize(x *slot, n int64) {
	x.weight += n
	c.queued[x.queue].Add(n)
}

// oldest is the shard with the tail of the queue that something must go from; nil when both are empty.
func (c *Cache) oldest() (*shard, uint32) {
	small, main := c.queued[smallQueue].Load(), c.queued[mainQueue].Load()
	number := uint32(mainQueue)
	if small*smallShare >= small+main {
		number = smallQueue
	}
	for range 2 {
		if s := c.oldestOf(number); s != nil {
			return s, number
		}
		number = smallQueue + mainQueue - number
	}
	return nil, 0
}

func (c *Cache) oldestOf(number uint32) (oldest *shard) {
	now, age := uint32(c.stamps.Load()), uint32(0)
	for i := range c.shards {
		s := &c.shards[i]
		t := s.queues[number].stamped.Load()
		if t == 0 {
			continue
		}
		if a := now - uint32(t); oldest == nil || a > age { // stamps go round
			oldest, age = s, a
		}
	}
	return oldest
}

// evictOne evicts one object. It fails when there is none that nobody reads.
func (c *Cache) evictOne() bool {
	// Every step either evicts, or spends a hit that was counted, or passes over an entry that is being read. So that nobody waits
	// long, after maxSpared steps hits no longer spare anyone.
	for step := range maxSpared + c.objects.Load() {
		s, number := c.oldest()
		if s == nil {
			return false
		}
		if c.evictFrom(s, number, step < maxSpared) {
			return true
		}
	}
	return false
}

// evictFrom evicts the shard's oldest object of the queue, or gives it another place.
func (c *Cache) evictFrom(s *shard, number uint32, spare bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.queues[number].oldest
	if id == 0 {
		return false // somebody has been quicker
	}
	x := s.table.slot(id)
	hits, price := x.hits.Load(), c.price(x)
	e := s.resident(x)
	switch {
	case e != nil && e.body.inUse():
	case spare && number == smallQueue && hits > min(price, 2):
		x.hits.Store(0)
	case spare && number == mainQueue && hits >= price:
		x.hits.Store(hits - price)
	default:
		if number == smallQueue {
			s.evicted++
			*s.ghost(x.hash) = ghost{uint32(x.hash >> 32), s.evicted}
		}
		c.dropSlot(s, id)
		c.trim(s)
		c.counters.evictions[number].Inc()
		return true
	}
	c.pull(s, id)
	c.push(s, id, mainQueue)
	return false
}

// price is the number of hits for which an object is spared: more for one that takes more than others do, in whose place several could be.
func (c *Cache) price(x *slot) uint32 {
	average := (c.queued[smallQueue].Load() + c.queued[mainQueue].Load()) / max(c.objects.Load(), 1)
	switch {
	case x.weight <= 2*average:
		return 1
	case x.weight <= 8*average:
		return 2
	}
	return 3
}

// ghost is what is remembered of an object that left the small queue. The shard has a table of them, direct-mapped.
type ghost struct {
	hash uint32 // a part of it
	at   uint32 // the shard's evictions by then
}

func (s *shard) ghost(hash uint64) *ghost {
	return &s.ghosts[hash/shardCount%uint64(len(s.ghosts))]
}

// returns reports whether a new object had left the small queue not long ago: since then no more have left it than there are objects.
// To remember longer would let into the main queue what comes round too seldom to be found there.
func (s *shard) returns(hash uint64) bool {
	g := s.ghost(hash)
	if g.at == 0 || g.hash != uint32(hash>>32) || s.evicted-g.at > s.table.count {
		return false
	}
	*g = ghost{}
	return true
}
