package cache

import (
	"sync/atomic"
	"unsafe"
)

// slot is what the index knows of a stored variant, without a pointer. Its number is 1 + its place in the shard; 0 is none.
type slot struct {
	hash   uint64
	weight int64  // the bytes that it counts for in its queue
	chain  uint32 // the next slot of the bucket; variants of one key are there from the newest to the oldest
	cell   uint32 // the first cell, when it is packed
	size   uint32 // the bytes in the cells
	entry  uint32 // 1 + its place in the shard's views when it is packed, else in loose; 0: packed without a view
	serial uint32 // of its content: what an Object that is not in the index any more can be told from
	queue  uint32 // 0: free, else which
	// The links of its queue, and when it was put there: see evict.go.
	newer, older uint32
	stamp        uint32
	hits         atomic.Uint32
	checked      atomic.Uint64 // the number of the last purge that it has been compared with
}

const (
	slotSize = int64(unsafe.Sizeof(slot{}))
	// slotCost is what a slot takes with its bucket.
	slotCost                 = slotSize + 4
	minSlotBits, maxSlotBits = 5, 13
)

// slotBits is the binary logarithm of the number of slots that a shard takes at once.
func slotBits(limit int64) (bits uint) {
	for bits = minSlotBits; bits < maxSlotBits && shardCount*slotCost<<bits < limit/512; bits++ {
	}
	return bits
}

// slotTable is a shard's slots, and the index by hash: a table of buckets that grows by one bucket at a time (linear hashing), so that no
// insert waits for a new table to be filled.
type slotTable struct {
	bits   uint
	slots  [][]slot
	free   uint32 // chained
	count  uint32
	heads  [][]uint32
	n, low uint32 // buckets, and the greatest power of two that is not above it
}

func newSlotTable(bits uint) slotTable {
	return slotTable{bits: bits, heads: [][]uint32{make([]uint32, 1<<bits)}, n: 1, low: 1}
}

func (t *slotTable) slot(id uint32) *slot {
	return &t.slots[(id-1)>>t.bits][(id-1)&(1<<t.bits-1)]
}

// room is the number of slots, free or not.
func (t *slotTable) room() uint32 { return uint32(len(t.slots)) << t.bits }

// head is the bucket of a hash, whose lowest bits have chosen the shard.
func (t *slotTable) head(hash uint64) *uint32 {
	b := uint32(hash/shardCount) & (2*t.low - 1)
	if b >= t.n {
		b -= t.low
	}
	return t.bucket(b)
}

func (t *slotTable) bucket(b uint32) *uint32 { return &t.heads[b>>t.bits][b&(1<<t.bits-1)] }

// chunkBytes is what add takes.
func (t *slotTable) chunkBytes() int64 { return slotCost << t.bits }

// add adds slots, charged already.
func (t *slotTable) add() {
	base := uint32(len(t.slots)) << t.bits
	t.slots = append(t.slots, newSlots(1<<t.bits))
	for i := uint32(1) << t.bits; i > 0; i-- {
		t.slot(base+i).chain, t.free = t.free, base+i
	}
}

// mappedSlots is the number of slots from which on they are outside of the heap. Their bytes are then a multiple of the system's page.
const mappedSlots = 1 << 11

func newSlots(n int) []slot {
	if n >= mappedSlots {
		if b := mapMemory(n * int(slotSize)); b != nil {
			return unsafe.Slice((*slot)(unsafe.Pointer(unsafe.SliceData(b))), n)
		}
	}
	return make([]slot, n, n+1) // the capacity tells freeSlots where they are
}

func freeSlots(s []slot) {
	if cap(s) == len(s) && len(s) >= mappedSlots {
		unmapMemory(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(slotSize)))
	}
}

// outside is what the table has outside of the heap.
func (t *slotTable) outside() int64 {
	if 1<<t.bits < mappedSlots {
		return 0
	}
	return int64(len(t.slots)) << t.bits * slotSize
}

// take takes a free slot, of which there must be one, and puts it at the front of its bucket.
func (t *slotTable) take(hash uint64) (uint32, *slot) {
	id := t.free
	s := t.slot(id)
	t.free = s.chain
	h := t.head(hash)
	s.hash, s.chain, *h = hash, *h, id
	if t.count++; t.count > t.n {
		t.split()
	}
	return id, s
}

// split adds a bucket: it takes those of another one's slots whose hash says so. Their order stays.
func (t *slotTable) split() {
	from := t.bucket(t.n - t.low)
	if t.n>>t.bits == uint32(len(t.heads)) {
		t.heads = append(t.heads, make([]uint32, 1<<t.bits))
	}
	to := t.bucket(t.n)
	if t.n++; t.n == 2*t.low {
		t.low = t.n
	}
	id := *from
	keep, move := from, to
	*from = 0
	for id != 0 {
		s := t.slot(id)
		next := s.chain
		s.chain = 0
		if t.head(s.hash) == to {
			*move, move = id, &s.chain
		} else {
			*keep, keep = id, &s.chain
		}
		id = next
	}
}

// release takes a slot out of its bucket.
func (t *slotTable) release(id uint32) {
	s := t.slot(id)
	for p := t.head(s.hash); *p != 0; p = &t.slot(*p).chain {
		if *p == id {
			*p = s.chain
			break
		}
	}
	serial := s.serial
	t.count--
	s.hash, s.weight, s.cell, s.size, s.entry, s.queue = 0, 0, 0, 0, 0, 0
	s.hits.Store(0)
	s.checked.Store(0)
	s.serial, s.chain, t.free = serial, t.free, id
}

// reset gives all slots back when none is taken, and returns their bytes.
func (t *slotTable) reset() (released int64) {
	if t.count > 0 || len(t.slots) == 0 {
		return 0
	}
	released = int64(len(t.slots)) * t.chunkBytes()
	for _, s := range t.slots {
		freeSlots(s)
	}
	*t = newSlotTable(t.bits)
	return released
}

// has reports whether there is a slot with the hash.
func (t *slotTable) has(hash uint64) bool {
	for id := *t.head(hash); id != 0; id = t.slot(id).chain {
		if t.slot(id).hash == hash {
			return true
		}
	}
	return false
}
