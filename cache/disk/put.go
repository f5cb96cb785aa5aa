package disk

import (
	"context"
	"fmt"
	"time"
)

// Object is a record to be stored.
type Object struct {
	Hash uint64 // of Key, by [Store.Hash]
	// Variant tells records of one key apart: a new one takes the place of the one with the same variant.
	Variant uint32
	// Expires is when the record is worth nothing any more: it may go when space is needed. Zero: never.
	Expires   time.Time
	Key, Meta []byte   // at most 64 KiB and 1 MiB
	Body      [][]byte // must not change until Release
	// Release is called once, when Body is no longer needed; after Put has returned false too.
	Release func()
	// Replaces, when not nil, says of the key's other variants whether this one makes them obsolete.
	Replaces func(key, meta []byte) bool
}

// Put queues a record. It never blocks. When it is dropped, because too much waits or the disk fails, what it would have replaced is deleted all the same.
func (s *Store) Put(o Object) bool {
	p := &op{key: o.Key, meta: o.Meta, body: o.Body, release: o.Release, replaces: o.Replaces}
	p.header = header{kind: kindObject, hash: o.Hash, variant: o.Variant, expires: seconds(o.Expires)}
	for _, b := range o.Body {
		p.length += uint64(len(b))
	}
	p.size = int64(p.length) + int64(len(o.Key)+len(o.Meta)) + headerSize
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if p.expires != 0 && !o.Expires.After(s.now()) {
		s.supersede(p)
		return false
	}
	if len(o.Key) <= maxKey && len(o.Meta) <= maxMeta && s.queue.add(p) {
		return true
	}
	s.drop(p)
	return false
}

func seconds(t time.Time) uint32 {
	if t.IsZero() {
		return 0
	}
	return uint32(min(max(t.Unix()+1, 1), 1<<32-1))
}

// drop counts an object that is not written, and deletes what it would have replaced. The queue is locked.
func (s *Store) drop(p *op) {
	s.meters.dropped.Inc()
	s.supersede(p)
}

// supersede deletes what an object that is not written would have replaced. The queue is locked.
func (s *Store) supersede(p *op) {
	s.remove(p.hash, p.variant, p.replaces != nil)
	p.done()
}

// Delete removes every variant of the hash. It holds at once; that it holds after a crash too is sure when a [Store.Flush] after it has returned. It
// reports whether there is something to be written: there may have been one.
func (s *Store) Delete(hash uint64) bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.remove(hash, 0, true)
}

// DeleteVariant removes one variant of the hash.
func (s *Store) DeleteVariant(hash uint64, variant uint32) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.remove(hash, variant, false)
}

// remove deletes, and reports whether there is something to be written. The queue is locked, so nothing is published meanwhile.
func (s *Store) remove(hash uint64, variant uint32, all bool) bool {
	known := s.queue.supersede(hash, variant, all)
	k := kindReplace
	if all {
		k = kindDelete
		known = s.index.removeAll(hash) > 0 || known
	} else {
		known = s.index.removeVariant(hash, variant) > 0 || known || s.index.has(hash, kindObject) // which may have made it leave the index
		s.index.bury(ident{hash: hash, variant: variant})
	}
	if !known && s.State() != Loading {
		return false
	}
	s.tombstone(hash, variant, k)
	return true
}

// tombstone queues a deletion; with too many of them everything on disk goes. The queue is locked.
func (s *Store) tombstone(hash uint64, variant uint32, k kind) {
	if s.queue.deletes >= maxDeletes {
		s.wipe()
		return
	}
	s.queue.add(&op{header: header{kind: k, hash: hash, variant: variant}})
}

// Clear removes everything.
func (s *Store) Clear() {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.wipe()
}

// wipe gives up all that is stored. The queue is locked.
func (s *Store) wipe() {
	for _, list := range [...][]*op{s.queue.flight, s.queue.ops} {
		for _, o := range list {
			o.gone = true
		}
	}
	kept := s.queue.ops[:0]
	for _, o := range s.queue.ops {
		if o.isDelete() {
			s.queue.deletes--
			continue
		}
		if !o.wipe {
			kept = append(kept, o)
		}
	}
	clear(s.queue.ops[len(kept):])
	s.queue.ops = kept
	s.index.giveUp()
	s.queue.add(&op{wipe: true})
}

// Flush waits until everything that has been queued is written, or dropped. It is an error when the disk fails: what waits then is written
// when that is over.
func (s *Store) Flush(ctx context.Context) error {
	if st := s.Status(); st.State == Degraded {
		return fmt.Errorf("disk: %w", st.Err)
	}
	o := &op{flushed: make(chan struct{})}
	s.queue.mu.Lock()
	if s.queue.closed {
		s.queue.mu.Unlock()
		return ErrClosed
	}
	if n := len(s.queue.ops); n > 0 && s.queue.ops[n-1].flushed != nil {
		o = s.queue.ops[n-1] // which waits for the same
	} else {
		s.queue.add(o)
	}
	s.queue.mu.Unlock()
	select {
	case <-o.flushed:
		return nil
	case <-s.stop:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Sync is Flush, and waits until what is written survives a loss of power too.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	s.mu.RLock()
	var open []*segment
	for _, g := range s.segments {
		if !g.synced {
			open = append(open, g)
		}
	}
	s.mu.RUnlock()
	for _, g := range open {
		if err := g.file.Sync(); err != nil && !s.isRemoved(g) {
			return fmt.Errorf("disk: sync: %w", err)
		}
	}
	return nil
}
