package cache

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/cache/disk"
)

// Purges are kept on disk, so that they hold for what is there after a restart too. They are written by a goroutine of their own, as many
// at once as have come: the one who purges does not wait for the disk.

const (
	// maxPurgesWaiting bounds the purges that wait to be written; with more, those that the table has are written instead.
	maxPurgesWaiting = 1 << 14
	// purgesAtOnce are written as one event of the disk's.
	purgesAtOnce = 1024
	// lifeGap is by how much the numbers of purges rise with each start: the last ones of the life before may not have been written.
	lifeGap = 1 << 32
	// sweepRetry is how long a sweep that failed is not tried again.
	sweepRetry = 10 * time.Second
)

// purgeWriter implements PurgeTier.
type purgeWriter struct {
	t      *tier
	wake   chan struct{}
	sweep  chan struct{}
	ctx    context.Context // ends with close
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	// applied is the number of the last purge that everything on disk has been compared with.
	applied atomic.Uint64
	failed  atomic.Bool // a purge could not be written
	// The writer's own: at a size of compactAt bytes the purges that still count take the place of all in the events' file, and again when slack
	// more have come. So the file never has many more than the table, which a restart makes of it.
	compactAt, slack int64

	mu      sync.Mutex
	waiting []PurgeEvent
	lost    bool          // more than could wait: the table has them
	idle    chan struct{} // closed when nothing waits; nil while nobody wants to know
	busy    bool
}

// startPurges brings the purges of earlier lives back, and keeps those that come. With anew nothing is on disk that they could concern.
func (t *tier) startPurges(anew bool) {
	var last uint64
	var known []PurgeEvent
	for _, e := range t.store.Events() {
		for rest := e.Data; len(rest) > 0; {
			p, next, err := ParsePurgeEvent(rest)
			if err != nil { // of another version: what it was about is not known any more
				t.store.Clear()
				break
			}
			known, last, rest = append(known, p), max(last, p.Seq), next
		}
	}
	if anew {
		known = nil
	}
	w := &purgeWriter{t: t, wake: make(chan struct{}, 1), sweep: make(chan struct{}, 1), slack: int64(t.c.purges.limit) * purgeEventSize / 2}
	w.compactAt = w.slack
	t.c.purges.makeRoom(len(known))
	t.c.ApplyPurges(last+lifeGap, known...)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	t.purges = w
	t.c.AttachPurges(w)
	w.tasks.Go(w.run)
	w.tasks.Go(w.sweeps)
	w.look()
}

// Purged implements PurgeTier.
func (w *purgeWriter) Purged(e PurgeEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= maxPurgesWaiting {
		w.waiting, w.lost = nil, true
	}
	w.waiting = append(w.waiting, e)
	awaken(w.wake)
}

func awaken(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been told
	}
}

// Applied implements PurgeTier.
func (w *purgeWriter) Applied() uint64 { return w.applied.Load() }

func (w *purgeWriter) run() {
	for {
		select {
		case <-w.wake:
			w.write()
			w.look()
		case <-w.ctx.Done():
			w.write()
			return
		}
	}
}

// write writes what waits.
func (w *purgeWriter) write() {
	for {
		w.mu.Lock()
		batch, lost := w.waiting[:min(len(w.waiting), purgesAtOnce)], w.lost
		w.waiting, w.lost = w.waiting[len(batch):], false
		if w.busy = len(batch) > 0; !w.busy {
			w.waiting = nil
			if w.idle != nil {
				close(w.idle)
				w.idle = nil
			}
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		if (lost || w.t.store.EventBytes() >= w.compactAt) && w.compact() {
			continue // the table has the batch too
		}
		if lost {
			w.failed.Store(true)
			w.t.store.Clear()
		}
		var b []byte
		for _, e := range batch {
			b, _ = e.AppendBinary(b) // which never fails
		}
		if _, err := w.t.store.AppendEvent(b); err != nil { // the disk gives up everything, which does for the purges as well
			w.failed.Store(true)
		}
	}
}

// compact puts what the table has in the place of all events on disk: of each target the last purge, but for those that everything has been compared with.
func (w *purgeWriter) compact() bool {
	var list [][]byte
	for at := range slices.Chunk(w.t.c.PurgeLog(), purgesAtOnce) {
		var b []byte
		for _, e := range at {
			b, _ = e.AppendBinary(b)
		}
		list = append(list, b)
	}
	err := w.t.store.ReplaceEvents(list)
	w.compactAt = w.t.store.EventBytes() + w.slack
	return err == nil
}

// look has the disk swept when the table fills up.
func (w *purgeWriter) look() {
	if w.t.c.purges.crowded() {
		awaken(w.sweep)
	}
}

// sweeps compares everything on disk with the purges there are, whenever the table fills up, so that it may forget.
func (w *purgeWriter) sweeps() {
	for {
		select {
		case <-w.sweep:
		case <-w.ctx.Done():
			return
		}
		upTo := w.t.c.PurgeSeq()
		if upTo <= w.applied.Load() {
			continue
		}
		w.t.c.settleStores()
		if w.t.store.Sweep(w.ctx, w.t.worthKeeping) == nil {
			w.applied.Store(upTo)
			continue
		}
		if !rest(w.ctx, sweepRetry) {
			return
		}
		awaken(w.sweep)
	}
}

// settleStores waits until whatever is being stored, and has been compared with purges, is known to the tier: both happen under the shard's lock.
func (c *Cache) settleStores() {
	for i := range c.shards {
		c.shards[i].await()
	}
}

// await waits for the lock, and wants nothing more.
func (s *shard) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

// worthKeeping reports of what is on disk whether it can be read, and no purge concerns it.
func (t *tier) worthKeeping(_, meta []byte) bool {
	since := t.purges.applied.Load()
	rec, err := parseRecord(meta)
	if err != nil {
		return false
	}
	v, _ := t.c.purges.judge(&rec.key, &rec.obj.tags, max(rec.obj.began, since))
	return v.untouched()
}

func (w *purgeWriter) close() {
	w.cancel()
	w.tasks.Wait()
}

// flush waits until nothing waits.
func (w *purgeWriter) flush(ctx context.Context) error {
	w.mu.Lock()
	if len(w.waiting) == 0 && !w.busy {
		w.mu.Unlock()
		return nil
	}
	if w.idle == nil {
		w.idle = make(chan struct{})
	}
	idle := w.idle
	w.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-w.ctx.Done():
		return disk.ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Sync waits until everything that was stored, deleted and purged before is on disk. Without a disk it returns at once. What an unsafe method has
// invalidated is sure to be gone after a crash once it has returned.
func (c *Cache) Sync(ctx context.Context) error {
	t := c.tier()
	if t == nil {
		return nil
	}
	if err := t.purges.flush(ctx); err != nil {
		return err
	}
	return t.store.Flush(ctx)
}

// SyncPurges waits until the purges that were made before are on disk. Without a disk it returns at once. A purge that must hold whatever happens
// next has to wait for it.
func (c *Cache) SyncPurges(ctx context.Context) error {
	t := c.tier()
	if t == nil {
		return nil
	}
	if err := t.purges.flush(ctx); err != nil {
		return err
	}
	if !t.purges.failed.Load() {
		return nil
	}
	// All that was on disk is being given up instead.
	err := t.store.Flush(ctx)
	if err == nil {
		t.purges.failed.Store(false)
	}
	return err
}

// afterPurges does to what was found on disk what purges want; false when it is purged. since is what everything on disk had been compared with before it
// was looked for.
func (t *tier) afterPurges(rec *record, since uint64) bool {
	rec.obj.began = max(rec.obj.began, since)
	v, _ := t.c.purges.judge(&rec.key, &rec.obj.tags, rec.obj.began)
	if v.soft {
		rec.obj.soften(v.softAt)
	}
	return !v.hard
}
