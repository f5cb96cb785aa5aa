package cache

import (
	"nearcast/proxy/message"
)

// Respond gives the fill its header section and decides whether the response is stored. With a Writer, the leader writes the body
// to it, and serves its own client from w.Object() (make that reader before the first Write). Without one, the Reason says why,
// the waiters have been released, and the leader streams to its client directly.
//
// r is the request as the client sent it. Neither r nor resp.Fields is kept.
func (f *Fill) Respond(r *message.Request, resp Response, p *Policy) (*Writer, Reason) {
	c := f.c
	if r.Method == "HEAD" {
		return nil, f.head(r, &resp, p)
	}
	t, d, reason := storable(r, &resp, p)
	if reason == ReasonStored && resp.Length > c.maxObject && !c.tier().takes(resp.Length) {
		reason = ReasonTooLarge
	}
	if reason == ReasonStored && f.outlives(r, &resp, p) {
		reason = ReasonStaleKept
	}
	if reason != ReasonStored {
		f.refuse(r, &resp, reason)
		return nil, reason
	}
	return f.keep(r, &resp, t, &d, p)
}

// keep makes the object. It is apart from Respond since the frames of one fetch, each in a goroutine of its own, then stay within 4 KiB
// of stack, which is not copied to a larger one for every response.
func (f *Fill) keep(r *message.Request, resp *Response, t terms, d *directives, p *Policy) (*Writer, Reason) {
	c := f.c
	tags := p.tagsOf(resp)
	if tags.all {
		c.counters.overtagged.Inc()
	}
	resp.Fields = p.withoutTags(resp.Fields)
	o := newObject(resp, t, d, nil)
	o.purgeable = purgeable{f.began, tags}
	o.coded = newCoded(c, o, p)
	sel := selectorsOf(resp.Fields, r)
	cost, first := metaCost(f.key, o, sel), firstChunkOf(resp.Length)
	if !c.reserveFill(0, cost+first) {
		f.refuse(r, resp, ReasonNoMemory)
		return nil, ReasonNoMemory
	}
	o.body = newBody(&c.budget, first)
	o.body.storing.Store(true)
	none := newDirectives()
	shared := judge(resp.Received, o, &none, p)
	f.decide(func() {
		f.sel = sel
		if shared.State == Hit || shared.ServeStaleWhileRevalidate {
			f.obj, f.writing = o, true
			return
		}
		f.reason = ReasonUnusable
		f.remember(r, f.reason, resp.Received)
	})
	own := &message.Request{Method: r.Method, Fields: compact(r.Fields)} // r ends with its client, the writer does not
	return &Writer{fill: f, obj: o, request: own, cost: cost, held: cost + first, sel: sel, policy: p}, ReasonStored
}

// firstChunkOf is the size of a body's first chunk.
func firstChunkOf(length int64) int64 {
	if length < 0 {
		return firstChunk
	}
	return min(length, maxChunk)
}

// refuse ends the fill without an object, and remembers the key where the next response will hardly be another one.
// A failing origin is not remembered: the next crowd had better not go there all at once.
func (f *Fill) refuse(r *message.Request, resp *Response, reason Reason) {
	f.c.counters.reject(reason)
	f.decide(func() {
		f.reason = reason
		f.endStaleUse(r, resp, reason)
		if resp.Status < 500 && resp.Status != 425 && r.Method != "HEAD" && reason != ReasonMethod && reason != ReasonRequestNoStore {
			f.remember(r, reason, resp.Received)
		}
	})
}

// endStaleUse keeps the stored response from serving while it is revalidated, when it has been: the origin has answered with
// something else, which would not be seen as long as nobody waits for an answer. It may still serve when the origin fails.
func (f *Fill) endStaleUse(r *message.Request, resp *Response, reason Reason) {
	switch {
	case resp.Status >= 500, resp.Status == 425, r.Method == "HEAD", reason == ReasonMethod, reason == ReasonRequestNoStore, reason == ReasonAuthorization,
		reason == ReasonNoMemory:
		return // which says nothing about other requests for it
	}
	e := f.stored(f.c.shard(f.hash), r)
	if e == nil || e.obj.staleWhileRevalidate == 0 || e.obj.TTL(resp.Received) > 0 {
		return
	}
	o := *e.obj
	o.staleWhileRevalidate = 0
	f.c.repack(f.c.shard(f.hash), e, &o)
	e.obj = &o
}

// stored is the entry that r would select; nil when there is none. The shard is locked.
func (f *Fill) stored(s *shard, r *message.Request) *entry {
	return match(f.c.variants(s, f.hash, f.key), r)
}

// Writer takes the body of a response that is being stored. It is used by one goroutine, and must end by Commit or Abort: until
// then its readers wait. A deferred Abort is harmless after Commit.
type Writer struct {
	fill    *Fill
	obj     *Object
	request *message.Request // its fields, which select the variants that the object replaces
	sel     []selector
	cost    int64
	held    int64  // what it has taken of the budget as a fill
	gaveUp  Reason // why the body is not kept; ReasonNone while it is
	done    bool
	tee     *tee // to the disk, of a body that memory does not keep; nil: none
	loaded  bool // from the disk
	policy  *Policy
}

// Object is what the writer fills.
func (w *Writer) Object() *Object { return w.obj }

// Write appends to the body. The bytes are copied. A body that outgrows max_object or the budget is not stored, but goes on to the
// readers it has, through a window of at most 1 MiB: Write then blocks while the slowest reader is a whole window behind. A
// reader that does not finish a chunk for 10 s while it holds up the others ends with ErrLagging. ErrAbandoned when there is no
// reader left, ErrIncomplete when the body is longer than the header section said.
func (w *Writer) Write(p []byte) (int, error) {
	b, total := w.obj.body, len(p)
	if w.done {
		return 0, ErrAbandoned
	}
	if n := w.obj.bodyLength(); n >= 0 && b.size+int64(total) > n {
		w.abort(ErrIncomplete)
		return 0, ErrIncomplete
	}
	if w.gaveUp == ReasonNone && b.size+int64(total) > w.fill.c.maxObject {
		w.giveUp(ReasonTooLarge)
	}
	w.tee.write(p)
	for {
		if p = b.fill(p); len(p) == 0 {
			return total, nil
		}
		if err := w.makeRoom(); err != nil {
			return total - len(p), err
		}
	}
}

// makeRoom adds a chunk to the body.
func (w *Writer) makeRoom() error {
	b := w.obj.body
	if w.gaveUp == ReasonNone {
		n := w.nextChunk()
		if w.fill.c.reserveFill(w.held, n) {
			w.held += n
			b.grow(n)
			return nil
		}
		w.giveUp(ReasonNoMemory)
	}
	return b.growPassing()
}

// nextChunk is the size of the next chunk: what is left of a known length, or as much as there is already.
func (w *Writer) nextChunk() int64 {
	size := w.obj.body.size
	if n := w.obj.bodyLength(); n >= 0 {
		return min(n-size, maxChunk)
	}
	return min(max(size, firstChunk), maxChunk)
}

// giveUp goes on without storing.
func (w *Writer) giveUp(reason Reason) {
	f := w.fill
	w.gaveUp = reason
	f.c.counters.reject(reason)
	s := f.c.shard(f.hash)
	s.mu.Lock()
	f.c.unlist(s, f)
	f.remember(w.request, reason, w.obj.received)
	s.mu.Unlock()
	f.c.budget.release(w.cost)
	w.letGo(w.held - window)
	if reason == ReasonTooLarge {
		w.tee = f.c.tier().begin(w)
	}
	w.obj.body.pass()
}

// letGo takes n bytes off what fills under way hold.
func (w *Writer) letGo(n int64) {
	if n > 0 {
		w.held -= n
		w.fill.c.arriving.Add(-n)
	}
}

// Commit ends the body and stores the object. trailers may be nil. The Reason is ReasonStored or why it was not stored.
func (w *Writer) Commit(trailers message.Fields) Reason {
	b, f := w.obj.body, w.fill
	switch {
	case w.done:
		return ReasonNone
	case w.obj.bodyLength() >= 0 && b.size != w.obj.bodyLength():
		w.Abort(ErrIncomplete)
		return ReasonIncomplete
	case w.gaveUp != ReasonNone:
		w.done = true
		w.letGo(w.held)
		b.finish(nil, trailers)
		w.tee.commit(w)
		b.detach()
		return w.gaveUp
	}
	w.done = true
	w.letGo(w.held)
	reason, extra := ReasonStored, int64(stringBytes(trailers)+lineOverhead*len(trailers))
	if !f.c.reserve(extra) {
		reason, extra = ReasonNoMemory, 0
	}
	b.keep(compact(trailers), extra)
	defer b.decided()
	return w.publish(reason)
}

// publish moves a complete object from the fill into the index, unless there is a reason against it.
func (w *Writer) publish(reason Reason) Reason {
	f, b := w.fill, w.obj.body
	if f.slicing.only {
		return w.promote(reason)
	}
	final := *w.obj
	if final.part == nil {
		final.Length = b.size
	}
	final.encoded, final.coded = &encoded{c: f.c}, w.obj.coded.fitting(b.size)
	var ch change
	if !w.loaded {
		ch = f.c.tier().prepare(f.key, &final, w.sel, w.request.Fields)
	}
	e := &entry{obj: &final, sel: w.sel, cost: w.cost}
	if reason == ReasonStored {
		e.packed, _ = f.c.pack(f.key, &final, w.sel)
	}

	s := f.c.shard(f.hash)
	room := f.c.lockForInsert(s)
	defer s.mu.Unlock()
	f.c.unlist(s, f)
	v, checked := f.comparedWithPurges(&final)
	e.checked = checked
	if final.part != nil && f.key.part == wholePart {
		return w.publishExtent(s, e, room, v, reason)
	}
	switch newest := f.stored(s, w.request); {
	case !room:
		reason = ReasonNoMemory
	case s.purgedSince(f), v.hard:
		reason = ReasonInvalidated
	case newest != nil && newest.obj.received.After(final.received): // whose body was quicker (RFC 9111 §4)
		reason = ReasonSuperseded
	}
	if reason != ReasonStored {
		f.c.counters.reject(reason)
		f.c.budget.release(w.cost)
		f.c.freeCells(e.packed.cell)
		b.detach()
		f.c.trim(s)
		w.obj.coded.drop()
		return reason
	}
	f.c.dropExtents(s, f.key, f.hash, w.request)
	f.c.insert(s, f.key, f.hash, w.request, e)
	if v.soft && !w.loaded { // a restart might not know of it
		ch = change{}
		f.c.tier().removed(f.key, w.sel)
	}
	ch.put()
	f.c.counters.inserts.Inc()
	return ReasonStored
}

// Abort ends the body with an error, which its readers see. What has come is stored as a part, where the rest can be asked for: see prefix.go. It
// does nothing after Commit.
func (w *Writer) Abort(err error) {
	if err == nil {
		err = ErrIncomplete
	}
	if !w.done && !w.keepPrefix(err) {
		w.abort(err)
	}
}

// abort is Abort for a body of which nothing is kept.
func (w *Writer) abort(err error) {
	w.done = true
	w.letGo(w.held)
	f := w.fill
	s := f.c.shard(f.hash)
	s.mu.Lock()
	f.c.unlist(s, f)
	s.mu.Unlock()
	w.tee.abort()
	w.obj.body.finish(err, nil)
	w.obj.body.detach()
	if w.gaveUp == ReasonNone {
		f.c.counters.reject(ReasonIncomplete)
		f.c.budget.release(w.cost)
	}
}
