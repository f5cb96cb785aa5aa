package cache

import (
	"hash/crc32"
	"sync"
	"time"

	"nearcast/cache/disk"
	"nearcast/proxy/message"
)

// The disk is a second tier below memory. An object is written when it is stored, not when memory evicts it: what is asked for most is
// never evicted, and would be missing after a crash; and what takes the place of something on disk must be noted at that time in
// any case. So every object is written once, and memory gives up objects without a write.
//
// All changes of the disk's index are made under the lock of the key's shard, so that the disk sees them in memory's order.

// lingerTime is how long past its freshness a response is worth keeping on disk that a 304 may make fresh again, or that may serve while no origin
// can be reached.
const lingerTime = 24 * time.Hour

// DiskConfig is the disk tier's part of the configuration.
type DiskConfig struct {
	// Path is the directory, absolute or relative to the configuration file. It is made when it is not there; its parent must be. Required.
	Path string `yaml:"path"`
	// Size is the hard budget in bytes of everything in the directory. At least 64 MiB. Default 10 GiB. Besides the memory budget the disk takes 40 bytes of
	// memory for each object, at most a quarter of that budget, with more objects the oldest go; and up to 80 MiB for what waits to be written.
	Size Size `yaml:"size"`
	// MaxObject is the largest body that is stored on disk. Default 1 GiB; at most a quarter of Size is used.
	MaxObject Size `yaml:"max_object"`
}

// SetDefaults fills in the defaults.
func (c *DiskConfig) SetDefaults() { c.Size, c.MaxObject = 10<<30, 1<<30 }

// Validate calls report with the key and the fault of each value that can't be.
func (c *DiskConfig) Validate(report func(key, fault string)) {
	if c.Path == "" {
		report("path", "is missing: the directory for cached objects")
	}
	if c.Size < disk.MinSize {
		report("size", "must be at least 64MiB")
	}
	if c.MaxObject < 0 {
		report("max_object", "must not be negative")
	}
}

// tier is the disk below a Cache. A nil tier stores and finds nothing.
type tier struct {
	c         *Cache
	store     *disk.Store
	maxObject int64
	purges    *purgeWriter

	mu    sync.Mutex
	loads map[uint64]chan struct{} // reads under way, closed when they end
	tees  map[uint64]struct{}      // bodies that are written as they pass
}

func newTier(c *Cache, maxObject int64) *tier {
	return &tier{c: c, maxObject: maxObject, loads: make(map[uint64]chan struct{}), tees: make(map[uint64]struct{})}
}

// urlHash is the hash of the key's URL: keys that rules tell apart share it, so that a purge finds them all.
func (t *tier) urlHash(key Key) uint64 {
	url := key.url()
	b := make([]byte, 0, 256)
	for _, s := range [...]string{url.service, url.scheme, url.authority, url.path, url.query} {
		b = appendString(b, s)
	}
	if url.hasQuery {
		b = append(b, '?')
	}
	return t.store.Hash(b)
}

// Of a variant's number the upper half tells keys of one URL apart, the lower half variants of one key. Where two meet, one takes
// the other's place, which costs a fetch: what is served is compared in full.
func kinOf(key Key) uint32 { return crc32.ChecksumIEEE([]byte(key.query)) &^ 0xffff }

func variantOf(key Key, sel []selector) uint32 {
	var b []byte
	for _, s := range sel {
		b = appendLine(b, s.name, s.value)
	}
	return kinOf(key) | crc32.ChecksumIEEE(b)&0xffff
}

// lastUse is when the object is worth nothing any more.
func (o *Object) lastUse() time.Time {
	stale := time.Duration(0)
	if !o.neverStale {
		stale = max(o.staleWhileRevalidate, o.staleIfError, lingerTime)
	}
	if hasValidator(o.Fields) {
		stale = max(stale, lingerTime)
	}
	return o.received.Add(max(o.lifetime-o.initialAge, 0) + stale)
}

// change is an object on its way to disk.
type change struct {
	t *tier
	o disk.Object
}

// prepare makes the disk's form of a complete object; the fields are the request's, and are kept.
func (t *tier) prepare(key Key, o *Object, sel []selector, fields message.Fields) change {
	if t == nil || o.part != nil || o.body.source == nil && !o.body.frozen.Load() { // parts are put together in memory
		return change{}
	}
	ch := change{t, disk.Object{
		Hash: t.urlHash(key), Variant: variantOf(key, sel), Expires: o.lastUse(),
		Meta:     recordOf(key, o, sel), // which has the key
		Replaces: replaces(key, fields),
	}}
	for i := range o.body.chunks {
		ch.o.Body = append(ch.o.Body, o.body.chunks[i].data)
	}
	return ch
}

// replaces says of what is stored whether a new response to a request with these fields takes its place.
func replaces(key Key, fields message.Fields) func(_, meta []byte) bool {
	r := &message.Request{Method: "GET", Fields: fields}
	return func(_, meta []byte) bool {
		rec, err := parseRecord(meta)
		return err != nil || rec.key == key && matches(rec.sel, r)
	}
}

// put queues it. The key's shard is locked.
func (ch change) put() {
	if ch.t != nil {
		ch.t.store.Put(ch.o)
	}
}

// refreshed notes that a stored response has new fields, unless it was purged or replaced meanwhile. A large body stays where it is. The
// key's shard is locked.
func (t *tier) refreshed(f *Fill, s *shard, r *message.Request, o *Object, sel []selector) {
	if t == nil || s.purgedSince(f) {
		return
	}
	if e := f.stored(s, r); e != nil && e.obj.received.After(o.received) {
		return
	}
	if v, _ := f.comparedWithPurges(o); !v.untouched() {
		t.removed(f.key, sel)
		return
	}
	ch := t.prepare(f.key, o, sel, compact(r.Fields))
	switch src := o.body.source; {
	case src == nil:
		ch.put()
	case src.Variant == ch.o.Variant:
		t.store.Rewrite(src, ch.o.Key, ch.o.Meta, ch.o.Expires)
	default: // it varies by other fields now
		t.store.DeleteVariant(ch.o.Hash, src.Variant)
	}
}

// removed takes a variant off the disk. The key's shard is locked.
func (t *tier) removed(key Key, sel []selector) {
	if t != nil {
		t.store.DeleteVariant(t.urlHash(key), variantOf(key, sel))
	}
}

// purged takes all variants of the URL off the disk. It reports whether there were any, and whether there may have been, so that a deletion is to be
// written. The key's shard is locked.
func (t *tier) purged(key Key) (had, noted bool) {
	if t == nil {
		return false, false
	}
	hash := t.urlHash(key)
	had = t.store.Has(hash)
	return had, t.store.Delete(hash)
}

// takes reports whether a body of that length, too large for memory, may go to disk.
func (t *tier) takes(length int64) bool {
	return t != nil && length <= t.maxObject && t.store.State() == disk.Ready
}

// tee writes a body to disk as it passes. A nil tee does nothing.
type tee struct {
	t      *tier
	hash   uint64
	left   int64
	stream *disk.Stream
}

// begin starts one with what has arrived; nil when the disk does not take it or is at it already.
func (t *tier) begin(w *Writer) *tee {
	if w.loaded || w.obj.part != nil || !t.takes(max(w.obj.Length, w.obj.body.size)) {
		return nil
	}
	x := &tee{t: t, hash: t.urlHash(w.fill.key) ^ uint64(variantOf(w.fill.key, w.sel)), left: t.maxObject}
	t.mu.Lock()
	_, busy := t.tees[x.hash]
	t.tees[x.hash] = struct{}{}
	t.mu.Unlock()
	if busy {
		return nil
	}
	x.stream = t.store.Create(t.urlHash(w.fill.key), variantOf(w.fill.key, w.sel), w.obj.lastUse())
	if x.stream == nil {
		x.end()
		return nil
	}
	for i := range w.obj.body.chunks { // which nobody but the writer changes
		x.write(w.obj.body.chunks[i].data)
	}
	return x
}

func (x *tee) end() {
	x.t.mu.Lock()
	defer x.t.mu.Unlock()
	delete(x.t.tees, x.hash)
}

func (x *tee) write(p []byte) {
	if x == nil || x.stream == nil {
		return
	}
	if x.left -= int64(len(p)); x.left < 0 || !x.stream.Write(p) {
		x.abort()
	}
}

func (x *tee) abort() {
	if x != nil && x.stream != nil {
		x.stream.Abort()
		x.stream = nil
		x.end()
	}
}

// commit makes the object known to the disk, unless it was purged meanwhile. Its body has ended.
func (x *tee) commit(w *Writer) {
	if x == nil || x.stream == nil {
		return
	}
	f := w.fill
	final := *w.obj
	final.Length = w.obj.body.size
	meta := recordOf(f.key, &final, w.sel)
	s := f.c.shard(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := f.comparedWithPurges(&final)
	if newest := f.stored(s, w.request); !v.untouched() || s.purgedSince(f) || newest != nil && newest.obj.received.After(final.received) {
		x.abort()
		return
	}
	x.stream.Commit(nil, meta, replaces(f.key, w.request.Fields))
	x.stream = nil
	x.end()
}
