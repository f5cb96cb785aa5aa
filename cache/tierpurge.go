package cache

import (
	"context"
	"sync"
)

// Purges are kept on disk, so that they hold for what is there after a restart too. They are written by a goroutine of their own, as many
// at once as have come: the one who purges does not wait for the disk.

const (
	// maxPurgesWaiting bounds the purges that wait to be written; with more, everything on disk is given up.
	maxPurgesWaiting = 1 << 16
	// purgesAtOnce are written as one event of the disk's.
	purgesAtOnce = 1024
	// lifeGap is by how much the numbers of purges rise with each start: the last ones of the life before may not have been written.
	lifeGap = 1 << 32
)

// purgeWriter implements PurgeTier.
type purgeWriter struct {
	t    *tier
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	waiting []PurgeEvent
	idle    chan struct{} // closed when nothing waits; nil while nobody wants to know
	busy    bool
}

// startPurges brings the purges of earlier lives back, and keeps those that come.
func (t *tier) startPurges() {
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
	t.c.ApplyPurges(last+lifeGap, known...)
	t.purges = &purgeWriter{t: t, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	t.c.AttachPurges(t.purges)
	go t.purges.run()
}

// Purged implements PurgeTier.
func (w *purgeWriter) Purged(e PurgeEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= maxPurgesWaiting {
		w.waiting = w.waiting[:0]
		w.t.store.Clear()
	}
	w.waiting = append(w.waiting, e)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Applied implements PurgeTier: what is on disk is compared with purges when it is read.
func (w *purgeWriter) Applied() uint64 { return 0 }

func (w *purgeWriter) run() {
	defer close(w.done)
	for {
		select {
		case <-w.wake:
			w.write()
		case <-w.stop:
			w.write()
			return
		}
	}
}

// write writes what waits. An event that fails has the disk give up everything, which does for the purge as well.
func (w *purgeWriter) write() {
	for {
		w.mu.Lock()
		batch := w.waiting[:min(len(w.waiting), purgesAtOnce)]
		w.waiting = w.waiting[len(batch):]
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
		var b []byte
		for _, e := range batch {
			b, _ = e.AppendBinary(b) // which never fails
		}
		_, _ = w.t.store.AppendEvent(b)
	}
}

func (w *purgeWriter) close() {
	w.once.Do(func() { close(w.stop) })
	<-w.done
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
	case <-w.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Sync waits until everything that was stored, deleted and purged before is on disk. Without a disk it returns at once. A purge that must hold
// whatever happens next has to wait for it.
func (c *Cache) Sync(ctx context.Context) error {
	if c.tier == nil {
		return nil
	}
	if err := c.tier.purges.flush(ctx); err != nil {
		return err
	}
	return c.tier.store.Flush(ctx)
}

// afterPurges does to what was found on disk what purges want; false when it is purged.
func (t *tier) afterPurges(rec *record) bool {
	v, _ := t.c.purges.judge(&rec.key, &rec.obj.tags, rec.obj.began)
	if v.soft {
		rec.obj.soften(v.softAt)
	}
	return !v.hard
}
