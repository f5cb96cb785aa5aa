package cache

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

const (
	shardCount = 16 // a power of two
	// ghostBytes: the memory of what was evicted has a slot for so many bytes of the budget.
	ghostBytes = 16 << 10
	// refusals is the number of keys a shard remembers as not worth waiting for.
	refusals = 128
	// refusalTime is how long it does.
	refusalTime = 10 * time.Second
	// purgeSlots is the number of slots by which a shard tells the fills that a purge concerns.
	purgeSlots = 256
)

// Cache is the memory store. It is safe for concurrent use.
type Cache struct {
	maxObject int64
	seed      maphash.Seed
	budget    budget
	counters  *counters
	shards    [shardCount]shard
	queues    queues
	objects   atomic.Int64
	fills     atomic.Int64
	tier      *tier       // nil: memory only
	diskErr   error       // why there is no tier although one is configured
	kinned    atomic.Bool // there has been a key that a service's rules added something to
}

// shard is a part of the index.
type shard struct {
	mu        sync.RWMutex
	resources map[uint64]*resource // by the key's hash; keys that share one are chained
	fills     map[uint64]*Fill     // under way, likewise, the newest first
	kin       kinIndex
	refused   [refusals]refusal  // direct-mapped
	purges    uint64             // so far
	purged    [purgeSlots]uint64 // the number of the last purge of each key, or of another one that shares its slot
}

// resource is what is stored under one key.
type resource struct {
	key      Key
	hash     uint64
	variants []*entry // the newest last
	next     *resource
}

// refusal is a key whose last response could not be shared.
type refusal struct {
	hash  uint64
	until time.Time
}

// New returns an empty store. set may be nil: nothing is counted then.
func New(cfg Config, set *metrics.Set) *Cache {
	c := &Cache{maxObject: int64(cfg.MaxObject), seed: maphash.MakeSeed(), budget: budget{limit: int64(cfg.Memory)}}
	slots := 16
	for int64(slots)*ghostBytes < c.budget.limit {
		slots *= 2
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.resources, s.fills = make(map[uint64]*resource), make(map[uint64]*Fill)
	}
	c.queues.ghost = make([]uint64, slots)
	c.budget.used.Store(int64(slots)*8 + shardCount*(refusals*32+purgeSlots*8)) // the tables of fixed size
	c.counters = newCounters(c, set)
	return c
}

func (c *Cache) shard(hash uint64) *shard { return &c.shards[hash%shardCount] }

// find returns the stored variant for r, or why there is none.
func (c *Cache) find(key Key, r *message.Request) (*Object, Reason) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	res := s.resource(hash, key)
	if res == nil {
		return nil, ReasonNotStored
	}
	e := res.match(r)
	if e == nil {
		return nil, ReasonNoVariant
	}
	e.touch()
	return e.obj, ReasonNone
}

func (s *shard) resource(hash uint64, key Key) *resource {
	res := s.resources[hash]
	for res != nil && res.key != key {
		res = res.next
	}
	return res
}

// match selects the variant for r: of several the newest (RFC 9111 §4.1).
func (res *resource) match(r *message.Request) *entry {
	for i := len(res.variants) - 1; i >= 0; i-- {
		if e := res.variants[i]; matches(e.sel, r) {
			return e
		}
	}
	return nil
}

// insert stores an object whose cost and body have been charged. It replaces every variant that r would have selected.
func (c *Cache) insert(s *shard, key Key, hash uint64, r *message.Request, e *entry) {
	if res := s.resource(hash, key); res != nil {
		for _, old := range slices.Clone(res.variants) {
			if matches(old.sel, r) {
				c.drop(s, old)
			}
		}
	}
	res := s.resource(hash, key) // which goes with its last variant
	if res == nil {
		res = &resource{key: key, hash: hash, next: s.resources[hash]}
		s.resources[hash] = res
		c.addKin(s, res)
	}
	if len(res.variants) >= maxVariants {
		c.drop(s, res.variants[0])
		c.counters.evictions.Inc()
	}
	e.res, e.body, e.size = res, e.obj.body, e.cost+e.obj.body.charged
	res.variants = append(res.variants, e)
	c.queues.insert(e)
	c.objects.Add(1)
	c.counters.inserts.Inc()
}

// drop takes an entry out of index and queue, and gives its bytes back. The shard is locked.
func (c *Cache) drop(s *shard, e *entry) bool {
	if e.gone {
		return false
	}
	e.gone = true
	c.queues.remove(e)
	res := e.res
	res.variants = slices.DeleteFunc(res.variants, func(x *entry) bool { return x == e })
	if len(res.variants) == 0 {
		s.unlink(res)
		c.removeKin(s, res)
	}
	c.budget.release(e.cost)
	e.obj.encoded.release()
	e.body.detach()
	c.objects.Add(-1)
	return true
}

func (s *shard) unlink(res *resource) {
	if s.resources[res.hash] == res {
		if res.next == nil {
			delete(s.resources, res.hash)
		} else {
			s.resources[res.hash] = res.next
		}
		return
	}
	for p := s.resources[res.hash]; p != nil; p = p.next {
		if p.next == res {
			p.next = res.next
			return
		}
	}
}

// reserve takes n bytes of the budget, evicting what must go. It fails when everything that is left is being read.
func (c *Cache) reserve(n int64) bool {
	if n > c.budget.limit {
		return false
	}
	for !c.budget.take(n) {
		if !c.evictOne() {
			return false
		}
	}
	return true
}

// evictOne evicts one object. It fails when there is none that nobody reads.
func (c *Cache) evictOne() bool {
	e := c.queues.victim()
	if e == nil {
		return false
	}
	s := c.shard(e.res.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.drop(s, e) { // else somebody has been quicker
		c.counters.evictions.Inc()
	}
	return true
}

// notePurge notes that what any fill of the key brings, listed or not, is from before a purge.
func (s *shard) notePurge(hash uint64) {
	s.purges++
	s.purged[hash>>32%purgeSlots] = s.purges
}

// purgedSince reports whether there was a purge since the fill began. A purge of another key may count, which costs storing once.
func (s *shard) purgedSince(f *Fill) bool { return s.purged[f.hash>>32%purgeSlots] > f.born }

// remember notes that the key's responses can't be shared for now.
func (s *shard) remember(hash uint64, until time.Time) {
	s.refused[hash>>40%refusals] = refusal{hash, until}
}

// refuses reports whether the key is remembered. A key whose hash shares a slot may have taken its place, which costs a wait.
func (s *shard) refuses(hash uint64, now time.Time) bool {
	x := &s.refused[hash>>40%refusals]
	return x.hash == hash && now.Before(x.until)
}
