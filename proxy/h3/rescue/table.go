package rescue

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const shards = 16

// table remembers what is known of clients: at most so many, in shards of a lock each. Where a shard is full, one of it is forgotten, whichever:
// to find the oldest would cost more than the loss of one does.
type table[K comparable, V any] struct {
	seed  maphash.Seed
	most  int                 // in a shard
	count atomic.Int64        // in all
	full  counter             // how many were forgotten for a newer one
	noted func(k K, by int32) // told of what comes and goes; nil: nobody is
	parts [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*V
}

// counter is that of a metric.
type counter interface{ Inc() }

func newTable[K comparable, V any](most int, full counter) *table[K, V] {
	t := &table[K, V]{seed: maphash.MakeSeed(), most: max(most/shards, 1), full: full}
	for i := range t.parts {
		t.parts[i].m = map[K]*V{}
	}
	return t
}

// lock returns the shard of k, locked.
func (t *table[K, V]) lock(k K) *shard[K, V] {
	s := &t.parts[maphash.Comparable(t.seed, k)%shards]
	s.mu.Lock()
	return s
}

// add puts v into the shard, which is locked and has no k.
func (t *table[K, V]) add(s *shard[K, V], k K, v *V) {
	if len(s.m) >= t.most {
		for old := range s.m {
			t.remove(s, old)
			break
		}
		t.full.Inc()
	}
	s.m[k] = v
	t.changed(k, 1)
}

// remove takes k out of the shard, which is locked and has it.
func (t *table[K, V]) remove(s *shard[K, V], k K) {
	delete(s.m, k)
	t.changed(k, -1)
}

func (t *table[K, V]) changed(k K, by int32) {
	t.count.Add(int64(by))
	if t.noted != nil {
		t.noted(k, by)
	}
}

// sweep removes those that over is true for.
func (t *table[K, V]) sweep(over func(*V) bool) {
	if t.count.Load() == 0 {
		return
	}
	for i := range t.parts {
		s := &t.parts[i]
		s.mu.Lock()
		for k, v := range s.m {
			if over(v) {
				t.remove(s, k)
			}
		}
		s.mu.Unlock()
	}
}

// crowd says of most clients that are not in it that they are not, without a lock that all cores take for each packet.
type crowd struct {
	seed maphash.Seed
	here [1 << 14]atomic.Int32 // how many of those that are hashed to the place
}

func (c *crowd) place(client netip.AddrPort) *atomic.Int32 {
	return &c.here[maphash.Comparable(c.seed, client)%uint64(len(c.here))]
}

// lacks reports that the client is not there; false when it may be.
func (c *crowd) lacks(client netip.AddrPort) bool { return c.place(client).Load() == 0 }

// rate lets so many a second pass, and some at once: the generic cell rate algorithm, whose whole state is the time at which the next would be
// due if all came evenly. Safe for concurrent use.
type rate struct {
	every time.Duration
	burst time.Duration
	due   atomic.Int64 // nanoseconds of the clock that allow is asked with
}

// newRate lets perSecond pass, and what a tenth of a second makes, at least 32, at once.
func newRate(perSecond int) *rate {
	every := time.Second / time.Duration(perSecond)
	return &rate{every: every, burst: max(time.Second/10, 32*every)}
}

// allow takes one that comes at now.
func (r *rate) allow(now int64) bool { return gcra(&r.due, now, r.every, r.burst) }

func gcra(due *atomic.Int64, now int64, every, burst time.Duration) bool {
	for {
		old := due.Load()
		next := max(old, now) + int64(every)
		if next-now > int64(burst) {
			return false
		}
		if due.CompareAndSwap(old, next) {
			return true
		}
	}
}

// rates are those of addresses: a bounded number of places that the addresses are hashed to. Two at one place share what it lets pass, which is so
// rare and so much that nobody will notice, and nothing has to be found, made or forgotten.
type rates struct {
	every, burst time.Duration
	seed         maphash.Seed
	due          [8192]atomic.Int64
}

func newRates(perSecond int) *rates {
	one := newRate(perSecond)
	return &rates{every: one.every, burst: one.burst, seed: maphash.MakeSeed()}
}

func allowOf[K comparable](r *rates, k K, now int64) bool {
	return gcra(&r.due[maphash.Comparable(r.seed, k)%uint64(len(r.due))], now, r.every, r.burst)
}
