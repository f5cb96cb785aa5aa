package cache

import (
	"sync"
	"sync/atomic"
)

// Eviction is S3-FIFO: a new object enters a small queue and moves to the main one only if it was asked for again while there;
// a scan of objects that are asked for once goes through the small queue and leaves the main one alone. What was evicted from
// the small queue is remembered, and enters the main queue when it comes back. An object that is being read is passed over.

// maxFrequency bounds the hits that count for an object.
const maxFrequency = 3

// maxSpared bounds the entries that are spared for their hits in the search for one victim.
const maxSpared = 1024

// smallShare is the small queue's part of the bytes: one in so many.
const smallShare = 10

// entry is a stored variant.
type entry struct {
	// immutable once it is stored
	res  *resource
	body *body // obj's, whatever obj is replaced by

	// guarded by the shard's lock
	obj  *Object
	sel  []selector
	cost int64 // obj's metaCost
	gone bool  // no longer in the index

	checked atomic.Uint64 // the number of the last purge that it has been compared with

	frequency atomic.Int32

	// guarded by the queues' lock
	queue      *queue
	prev, next *entry
	size       int64 // as the queue counts it
}

// touch notes a hit.
func (e *entry) touch() {
	if n := e.frequency.Load(); n < maxFrequency {
		e.frequency.CompareAndSwap(n, n+1) // a lost race loses a hit, which is no harm
	}
}

// queue is a FIFO list of entries; head is the newest.
type queue struct {
	head, tail *entry
	bytes      int64
	count      int
}

func (q *queue) push(e *entry) {
	e.queue, e.prev, e.next = q, nil, q.head
	if q.head != nil {
		q.head.prev = e
	} else {
		q.tail = e
	}
	q.head = e
	q.bytes += e.size
	q.count++
}

func (q *queue) remove(e *entry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		q.head = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		q.tail = e.prev
	}
	e.queue, e.prev, e.next = nil, nil, nil
	q.bytes -= e.size
	q.count--
}

// queues hold every entry of the store but one that is just being evicted. Their lock is taken when something is stored or goes, never by a
// hit; it may be taken under a shard's lock, and not the other way round.
type queues struct {
	mu          sync.Mutex
	small, main queue
	ghost       []uint64 // hashes of what left the small queue; a direct-mapped table, whose size is a power of two
}

func (q *queues) insert(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	h := e.res.hash
	if slot := &q.ghost[q.slot(h)]; *slot == h {
		*slot = 0
		q.main.push(e)
		return
	}
	q.small.push(e)
}

func (q *queues) remove(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.queue != nil {
		e.queue.remove(e)
	}
}

// resize notes that the entry takes n bytes more.
func (q *queues) resize(e *entry, n int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e.size += n
	if e.queue != nil {
		e.queue.bytes += n
	}
}

func (q *queues) slot(h uint64) uint64 { return h >> 32 & uint64(len(q.ghost)-1) }

// victim takes the entry that is to go out of its queue. It returns nil when there is none that nobody reads.
func (q *queues) victim() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	// Every step either evicts, or spends a hit that was counted, or passes over an entry that is being read. So that nobody waits
	// long for the lock, after maxSpared steps hits no longer spare anyone.
	for step := range maxSpared + q.small.count + q.main.count {
		spare := step < maxSpared
		from := &q.main
		if q.main.tail == nil || q.small.bytes*smallShare >= q.small.bytes+q.main.bytes && q.small.tail != nil {
			from = &q.small
		}
		e := from.tail
		if e == nil {
			return nil
		}
		from.remove(e)
		hits := e.frequency.Load()
		switch {
		case e.body.inUse():
			q.main.push(e)
		case spare && from == &q.small && hits > 1:
			e.frequency.Store(0)
			q.main.push(e)
		case spare && from == &q.main && hits > 0:
			e.frequency.Store(hits - 1)
			q.main.push(e)
		default:
			if from == &q.small {
				q.ghost[q.slot(e.res.hash)] = e.res.hash
			}
			return e
		}
	}
	return nil
}
