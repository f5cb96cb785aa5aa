package cache

import (
	"context"
	"io"
	"time"

	"nearcast/cache/disk"
	"nearcast/proxy/message"
)

// Load looks on disk for what Lookup has not found in memory, and judges it. What fits into memory is stored there, the rest is read from
// disk as it is served. It waits for the disk, and so is not for the goroutine that reads a connection. Without a disk, or without a
// stored response, it returns found.
func (c *Cache) Load(ctx context.Context, now time.Time, key Key, r *message.Request, p *Policy, found Result) Result {
	t := c.tier()
	if t == nil || !found.absent || found.Reason == ReasonRequestNoStore {
		return found
	}
	o := t.load(ctx, key, r, p)
	if o == nil {
		found.Untold = found.Untold || t.has(key)
		return found
	}
	return c.judgeFor(now, &key, o, ReasonNone, r, p)
}

// load finds the variant for r on disk. Only one reads for a URL at a time: what it brings into memory serves the others.
func (t *tier) load(ctx context.Context, key Key, r *message.Request, p *Policy) *Object {
	hash := t.urlHash(key)
	if !t.store.Has(hash) {
		return nil
	}
	t.mu.Lock()
	before := t.loads[hash]
	done := make(chan struct{})
	if before == nil {
		t.loads[hash] = done
	}
	t.mu.Unlock()
	if before != nil {
		select {
		case <-before:
		case <-ctx.Done():
			return nil
		}
		if o, _ := t.c.find(&key, r); o != nil {
			return o
		}
		return t.read(ctx, hash, key, r, p)
	}
	defer func() {
		t.mu.Lock()
		delete(t.loads, hash)
		t.mu.Unlock()
		close(done)
	}()
	if o, _ := t.c.find(&key, r); o != nil { // somebody has been quicker
		return o
	}
	return t.read(ctx, hash, key, r, p)
}

// read reads the variant for r.
func (t *tier) read(ctx context.Context, hash uint64, key Key, r *message.Request, p *Policy) *Object {
	c := t.c
	memoryHash := key.hash(c.seed)
	s := c.shard(memoryHash)
	s.mu.Lock()
	f := c.newFill(s, key, memoryHash) // remembers which purges there have been
	s.mu.Unlock()
	var rec record
	kin, since := kinOf(key), t.purges.applied.Load()
	got, err := t.store.GetAmong(ctx, hash, func(v uint32) bool { return v&^0xffff == kin }, func(_, meta []byte) bool {
		x, err := parseRecord(meta)
		if err != nil || x.key != key || !matches(x.sel, r) {
			return false
		}
		rec = x // the last one is the one
		return true
	})
	if err != nil || rec.obj.Length >= 0 && rec.obj.Length != got.Length {
		return nil
	}
	rec.obj.Length = got.Length
	if !t.afterPurges(&rec, since) || rec.obj.received.After(time.Now()) { // or the clock has gone back: nobody knows how old it is
		t.store.DeleteVariant(hash, got.Variant)
		return nil
	}
	f.began = rec.obj.began
	if got.Length <= c.maxObject {
		if o, ok := t.admit(ctx, f, rec, got, r, p); ok {
			return o
		}
	}
	rec.obj.body = &body{budget: &c.budget, phase: complete, size: got.Length, source: got, trailers: rec.trailers, room: make(chan struct{}, 1)}
	return rec.obj
}

// admit stores in memory what was found on disk; false when there is no room for it. The object is nil when its body can't be read, or was purged.
func (t *tier) admit(ctx context.Context, f *Fill, rec record, got *disk.Record, r *message.Request, p *Policy) (o *Object, ok bool) {
	c := t.c
	cost := metaCost(f.key, rec.obj, rec.sel)
	if !c.reserve(cost) {
		return nil, false
	}
	obj := *rec.obj
	obj.body = newBody(&c.budget, 0)
	obj.coded = newCoded(c, &obj, p)
	w := &Writer{fill: f, obj: &obj, request: &message.Request{Method: "GET", Fields: r.Fields}, cost: cost, sel: rec.sel, loaded: true}
	for at := int64(0); at < got.Length; {
		p, err := got.Chunk(ctx, at)
		if err != nil {
			w.Abort(err)
			return nil, true
		}
		if _, err := w.Write(p); err != nil {
			w.Abort(err)
			return nil, w.gaveUp == ReasonNone
		}
		at += int64(len(p))
	}
	if reason := w.Commit(rec.trailers); reason == ReasonNoMemory {
		return nil, false
	}
	o, _ = c.find(&f.key, r)
	return o, true
}

// storedReader reads a body that is on disk only.
type storedReader struct {
	rec disk.Record // one of its own: it remembers where it is
	at  int64
}

func newStoredReader(rec *disk.Record, at int64) *storedReader {
	return &storedReader{rec: *rec, at: at}
}

// nextStored is Next of a body that is on disk only.
func (r *Reader) nextStored() ([]byte, error) {
	s := r.stored
	if r.left <= 0 || s.at >= s.rec.Length {
		return nil, io.EOF
	}
	p, err := s.rec.Chunk(r.ctx, s.at)
	s.rec.Patient = true
	switch {
	case r.ctx.Err() != nil:
		return nil, context.Cause(r.ctx)
	case err != nil:
		return nil, &message.Error{Blame: message.BlameEdge, Status: 502, Reason: "disk cache failed", Err: err}
	}
	p = p[:min(int64(len(p)), r.left)]
	s.at += int64(len(p))
	r.left -= int64(len(p))
	return p, nil
}
