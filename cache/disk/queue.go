package disk

import (
	"slices"
	"sync"
)

const (
	maxQueued     = 8192     // operations
	maxDeletes    = 1 << 16  // of them, deletions, which are never dropped: with more, everything on disk is given up
	defQueueBytes = 32 << 20 // of bodies that wait
)

// op is something to be written.
type op struct {
	header
	key, meta []byte
	body      [][]byte
	size      int64
	release   func()                      // body is no longer needed
	replaces  func(key, meta []byte) bool // other variants that it makes obsolete
	stream    *Stream                     // of a part or a head
	flushed   chan struct{}               // not a record: closed when all before it has been written
	wipe      bool                        // not a record: everything is given up
	gone      bool                        // deleted meanwhile; guarded by the queue's lock
}

// isPut reports whether it is dropped when there is no room.
func (o *op) isPut() bool { return o.kind == kindObject || o.kind == kindHead || o.kind == kindPart }

func (o *op) isDelete() bool { return o.kind == kindDelete || o.kind == kindReplace }

func (o *op) done() {
	if o.release != nil {
		o.release()
		o.release = nil
	}
}

// queue holds what waits for the writer, in order, and what the writer has taken and not yet published.
type queue struct {
	mu      sync.Mutex
	ops     []*op
	flight  []*op
	bytes   int64
	puts    int
	deletes int
	limit   int64
	seq     uint64 // the last number given
	closed  bool   // nothing more is taken in
	refuse  bool   // no puts: the disk fails
	wake    chan struct{}
}

// add appends an operation and gives it its number; false when there is no room. The queue is locked.
func (q *queue) add(o *op) bool {
	if o.isPut() {
		if q.closed || q.refuse || q.puts >= maxQueued || q.bytes+o.size > q.limit {
			return false
		}
		q.puts++
		q.bytes += o.size
	}
	if o.isDelete() {
		q.deletes++
	}
	q.seq++
	o.seq = q.seq
	q.ops = append(q.ops, o)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take moves the next operation to those in flight; nil when there is none.
func (q *queue) take() *op {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.ops) == 0 {
		return nil
	}
	o := q.ops[0]
	q.ops[0] = nil
	if q.ops = q.ops[1:]; len(q.ops) == 0 {
		q.ops = nil // the array has grown to the longest queue so far
	}
	q.flight = append(q.flight, o)
	return o
}

// owes reports whether something waits that deletes. The queue is locked.
func (q *queue) owes() bool {
	return q.deletes > 0 || slices.ContainsFunc(q.ops, func(o *op) bool { return o.wipe })
}

// settle forgets the operations in flight, but for one that is not done yet. The queue is locked.
func (q *queue) settle(current *op) {
	kept := q.flight[:0]
	for _, o := range q.flight {
		if o == current {
			kept = append(kept, o)
			continue
		}
		q.discount(o)
	}
	clear(q.flight[len(kept):])
	q.flight = kept
}

func (q *queue) discount(o *op) {
	if o.isPut() {
		q.puts--
		q.bytes -= o.size
	}
	if o.isDelete() {
		q.deletes--
	}
}

// restore puts the deletions in flight back to the front, and drops the rest: the write has failed. The queue is locked.
func (q *queue) restore() (dropped []*op) {
	var kept []*op
	for _, list := range [...][]*op{q.flight, q.ops} {
		for _, o := range list {
			if o.isPut() {
				q.discount(o)
				dropped = append(dropped, o)
				continue
			}
			if o.isFlushed() { // nobody waits for it any more, and who would from now on has deletions before it that wait again
				continue
			}
			kept = append(kept, o)
		}
	}
	clear(q.flight)
	q.flight, q.ops = q.flight[:0], kept
	return dropped
}

// isFlushed reports whether o is a barrier, and all before it has been written.
func (o *op) isFlushed() bool {
	if o.flushed == nil {
		return false
	}
	select {
	case <-o.flushed:
		return true
	default:
		return false
	}
}

// supersede marks what waits under a hash, one variant of it or all, as deleted; it reports whether there was any. The queue is locked.
func (q *queue) supersede(hash uint64, variant uint32, all bool) (any bool) {
	for _, list := range [...][]*op{q.flight, q.ops} {
		for _, o := range list {
			if o.hash == hash && (o.kind == kindObject || o.kind == kindHead) && (all || o.variant == variant) {
				o.gone, any = true, true
			}
		}
	}
	return any
}
