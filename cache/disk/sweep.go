package disk

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	// sweepRead is what a sweep reads of a record first: a key and meta of common length.
	sweepRead = 4 << 10
	// sweepBurst is the number of records after which a sweep rests for sweepShare times as long as they took, and sweepRest at least.
	sweepBurst = 256
	sweepShare = 3
	sweepRest  = time.Millisecond
)

// Sweep deletes the records for which keep is false, of those that were stored before it was called and are still there when it ends. When it has
// returned without an error, the deletions survive a crash and a loss of power. It takes a quarter of one core and of the disk's time at most.
func (s *Store) Sweep(ctx context.Context, keep func(key, meta []byte) bool) error {
	if err := s.Flush(ctx); err != nil {
		return err
	}
	seen, began := 0, time.Now()
	for i := range s.index.shards {
		for _, e := range s.index.shards[i].objects() {
			s.judge(e, keep)
			if seen++; seen < sweepBurst {
				continue
			}
			t := time.NewTimer(max(sweepRest, sweepShare*time.Since(began)))
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return context.Cause(ctx)
			case <-s.closing:
				t.Stop()
				return ErrClosed
			}
			seen, began = 0, time.Now()
		}
	}
	return s.Sync(ctx)
}

// objects are the shard's records but for parts, in the order in which they are on disk.
func (s *indexShard) objects() []entry {
	s.mu.Lock()
	all := make([]entry, 0, s.count)
	for _, slot := range s.buckets {
		for slot != 0 {
			e := s.at(slot)
			if kind(e.flags&flagKind) != kindPart {
				all = append(all, *e)
			}
			slot = e.next
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.place.segment, b.place.segment), cmp.Compare(a.place.offset, b.place.offset))
	})
	return all
}

// judge deletes a record that is not to be kept, or can't be read. One that has moved has been judged then, one that has been replaced needs no judging.
func (s *Store) judge(e entry, keep func(key, meta []byte) bool) {
	k := kind(e.flags & flagKind)
	f := found{e.place, e.variant, k}
	r, err := s.openAt(nil, e.hash, f, sweepRead)
	if err == nil && keep(r.Key, r.Meta) {
		return
	}
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.index.remove(e.hash, k, e.place) {
		s.meters.swept.Inc()
		s.tombstone(e.hash, e.variant, kindReplace)
	}
}
