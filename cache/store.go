package cache

import (
	"hash/maphash"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

const (
	shardCount = 16 // a power of two
	// ghostBytes: the memory of what was evicted has a slot for so many bytes of the budget.
	ghostBytes = 2 << 10
	// refusals is the number of keys a shard remembers as not worth waiting for.
	refusals = 128
	// refusalTime is how long it does.
	refusalTime = 10 * time.Second
	// purgeSlots is the number of slots by which a shard tells the fills that a purge concerns.
	purgeSlots = 256
	// emptySpare: a page of cells is emptied when one cell in so many is free, and there is need for memory.
	emptySpare = 16
)

// Cache is the memory store. It is safe for concurrent use.
type Cache struct {
	maxObject    int64
	seed         maphash.Seed
	start        time.Time
	budget       budget
	counters     *counters
	cells        *cells
	shards       [shardCount]shard
	queued       [queueCount]atomic.Int64 // bytes
	stamps       atomic.Uint64
	purges       *purgeTable
	coder        coder
	compressions compressions
	objects      atomic.Int64
	packed       atomic.Int64  // of these, in cells
	views        atomic.Int64  // of these, with a view
	reclaimed    atomic.Uint32 // counts shards whose views were looked at
	arriving     atomic.Int64  // bytes that fills under way have taken
	fills        atomic.Int64
	hints        hints
	disk         atomic.Pointer[tier] // nil: memory only
	opener       *opener              // nil: there is to be no disk
	kinned       atomic.Bool          // there has been a key that a service's rules added something to
	// generations numbers the heads of slices.
	generations atomic.Uint64
}

// shard is a part of the index.
type shard struct {
	mu      sync.RWMutex
	number  uint32
	table   slotTable
	queues  [queueCount]queue
	ghosts  []ghost
	evicted uint32 // from the small queue, so far
	serial  uint32
	loose   []*entry // what is not packed
	views   viewSet  // what is packed, and unpacked as well
	scratch []byte
	brief   brief

	fills   map[uint64]*Fill // under way, by the key's hash, the newest first
	kin     kinIndex
	refused [refusals]refusal // direct-mapped
	purges  uint64            // so far
	purged  [purgeSlots]purgeSlot
}

// entry is a stored variant that serves: one that is not packed, or the view of one that is. It also stands for one that is packed while
// the shard is locked.
type entry struct {
	// immutable once it is stored
	id     uint32 // of the slot
	hash   uint64
	key    Key
	body   *body  // obj's, whatever obj is replaced by
	packed packed // what is to be stored instead of obj
	// checked is slot.checked, when it is stored.
	checked uint64

	// guarded by the shard's lock
	obj  *Object
	sel  []selector
	cost int64 // obj's metaCost; of a view, all it has taken
	gone bool  // no longer in the index

	used atomic.Bool // since the clock's hand came by
}

// refusal is a key whose last response could not be shared.
type refusal struct {
	hash  uint64
	until time.Time
}

// New returns an empty store. set may be nil: nothing is counted then.
func New(cfg Config, set *metrics.Set) *Cache {
	c := &Cache{maxObject: int64(cfg.MaxObject), seed: maphash.MakeSeed(), start: time.Now(), budget: budget{limit: int64(cfg.Memory)}}
	c.generations.Store(rand.Uint64() >> 1) // what comes from another run is of none of them
	c.coder.c, c.coder.encoder = c, coding.NewEncoder
	c.cells = newCells(c.budget.limit)
	ghosts := 16
	for int64(ghosts)*ghostBytes*shardCount < c.budget.limit {
		ghosts *= 2
	}
	bits := slotBits(c.budget.limit)
	for i := range c.shards {
		s := &c.shards[i]
		s.number, s.table, s.ghosts, s.fills = uint32(i), newSlotTable(bits), make([]ghost, ghosts), make(map[uint64]*Fill)
		s.views.max, s.views.share = maxViews/shardCount, c.budget.limit/viewShare/shardCount
	}
	c.purges = newPurgeTable(purgeLimit(c.budget.limit))
	// the tables of fixed size
	c.budget.used.Store(c.cells.tableBytes() + shardCount*int64(ghosts*8+4<<bits+refusals*32+purgeSlots*purgeSlotBytes) +
		int64(c.purges.limit)*2*purgeEntryBytes)
	c.counters = newCounters(c, set)
	return c
}

func (c *Cache) shard(hash uint64) *shard { return &c.shards[hash%shardCount] }

// lockForInsert locks the shard, with a slot that is free; false when there is no room for one.
func (c *Cache) lockForInsert(s *shard) bool {
	s.mu.Lock()
	for s.table.free == 0 {
		n := s.table.chunkBytes()
		s.mu.Unlock()
		ok := c.reserve(n)
		s.mu.Lock()
		switch {
		case !ok:
			return s.table.free != 0
		case s.table.free != 0: // somebody has been quicker
			c.budget.release(n)
		default:
			had := s.table.outside()
			s.table.add()
			c.cells.noteOthers(s.table.outside() - had)
		}
	}
	return true
}

// insert stores an object whose cost and body have been charged. It replaces every variant that r would have selected. There must be a free
// slot: see lockForInsert.
func (c *Cache) insert(s *shard, key Key, hash uint64, r *message.Request, e *entry) {
	c.place(s, key, hash, e, func(old *entry) bool { return matches(old.sel, r) })
}

// place is insert for an entry that replaces only what it says.
func (c *Cache) place(s *shard, key Key, hash uint64, e *entry, replaced func(*entry) bool) {
	kept := 0
	var last *entry
	for _, old := range c.variants(s, hash, key) {
		if replaced(old) {
			c.drop(s, old)
			continue
		}
		kept, last = kept+1, old
	}
	if kept >= maxVariants {
		c.drop(s, last)
		if c.counters.evictions[noQueue].Inc(); key.part == extentsPart {
			c.counters.crowded.Inc()
		}
	}
	id, x := s.table.take(hash)
	c.addKin(s, key, hash)
	s.serial = max(s.serial+1, 1)
	x.serial, e.obj.serial = s.serial, s.serial
	x.checked.Store(e.checked)
	e.id, e.hash, e.key, e.body = id, hash, key, e.obj.body
	if p := e.packed; p.cell != 0 {
		x.cell, x.size, x.weight = p.cell, p.size, int64(chainLength(int(p.size)))*cellCost+slotCost
		c.cells.own(p.cell, s.owner(id))
		c.packed.Add(1)
		c.budget.release(e.cost)
		e.obj.coded.drop() // a view has its own
		e.body.detach()
	} else {
		x.weight = e.cost + e.body.charge(e.cost)
		s.loose = append(s.loose, e)
		x.entry = uint32(len(s.loose))
	}
	number := uint32(smallQueue)
	if s.returns(hash) {
		number = mainQueue
	}
	c.push(s, id, number)
	e.obj.coded.own(c, s, id)
	c.objects.Add(1)
}

// drop takes an entry out of index and queue. Its bytes are given back when nobody reads them any more. The shard is locked.
func (c *Cache) drop(s *shard, e *entry) bool {
	if e.gone {
		return false
	}
	c.dropSlot(s, e.id)
	e.gone = true
	return true
}

func (c *Cache) dropSlot(s *shard, id uint32) {
	x := s.table.slot(id)
	e := s.resident(x)
	switch {
	case x.cell == 0:
		last := len(s.loose) - 1
		moved := s.loose[last]
		s.loose[x.entry-1], s.loose[last] = moved, nil
		s.loose = s.loose[:last]
		s.table.slot(moved.id).entry = x.entry
		e.gone = true
		e.obj.encoded.retire(e.body)
		e.obj.coded.drop()
		e.body.detach()
	default:
		if e != nil {
			c.dropView(s, e)
		}
		c.freeCells(x.cell)
		c.packed.Add(-1)
	}
	c.pull(s, id)
	s.table.release(id)
	c.objects.Add(-1)
}

// trim gives the shard's slots back when it is empty. It is not called between lockForInsert and insert.
func (c *Cache) trim(s *shard) {
	outside := s.table.outside()
	if released := s.table.reset(); released > 0 {
		c.cells.noteOthers(-outside)
		c.budget.release(released)
	}
}

// replace puts an entry in the place of an old one, in the same queue. The shard is locked.
func (c *Cache) replace(s *shard, old, e *entry, r *message.Request) {
	x := s.table.slot(old.id)
	number, hits := x.queue, x.hits.Load()
	c.drop(s, old)
	c.insert(s, old.key, old.hash, r, e)
	x = s.table.slot(e.id)
	x.hits.Store(hits)
	if number == mainQueue && x.queue != mainQueue {
		c.pull(s, e.id)
		c.push(s, e.id, mainQueue)
	}
}

// reserve takes n bytes of the budget, evicting what must go. It fails when everything that is left is being read.
func (c *Cache) reserve(n int64) bool {
	if n > c.budget.limit {
		return false
	}
	for !c.budget.take(n) {
		if c.reclaimViews() || c.shrink(emptySpare) || c.evictOne() || c.shrink(math.MaxInt32) {
			continue
		}
		c.counters.refused.Inc()
		return false
	}
	return true
}

// reserveFill takes n bytes for a body that is arriving. held is what it has already. However slowly they arrive, the bodies under way take no
// more than half of the budget, but for one that is alone.
func (c *Cache) reserveFill(held, n int64) bool {
	if sum := c.arriving.Add(n); sum-held-n > 0 && sum > c.budget.limit/2 || !c.reserve(n) {
		c.arriving.Add(-n)
		return false
	}
	return true
}

// remember notes that the key's responses can't be shared for now.
func (s *shard) remember(hash uint64, until time.Time) {
	s.refused[hash>>40%refusals] = refusal{hash, until}
}

// refuses reports whether the key is remembered. A key whose hash shares a slot may have taken its place, which costs a wait.
func (s *shard) refuses(hash uint64, now time.Time) bool {
	x := &s.refused[hash>>40%refusals]
	return x.hash == hash && now.Before(x.until)
}
