package cache

import (
	"time"

	"nearcast/proxy/message"
)

// A large resource can be kept in slices: parts of one size that begin at its multiples, each fetched, stored and evicted by itself, under the
// resource's key with the slice's number. What they have in common is their head: an Object without a body that has the length of the whole,
// the validators, and a generation, which every slice of it carries. A purge of the resource takes the head away, and with it all slices, however many:
// the next head has another generation. A slice of another version replaces the head as well.

// unsliceableTime is how long a resource is remembered whose origin does not send slices.
const unsliceableTime = time.Minute

func (k Key) slice(n int64) Key { k.part = part(n + 1); return k }

func (k Key) whole() Key { k.part = wholePart; return k }

// slicing is what the fill of a slice knows.
type slicing struct {
	want Range  // where the slice lies, but for the last one's end
	born uint64 // the purges of the resource's shard when the fill began
	only bool   // what comes is all of the resource
}

// SliceHead returns what is known of the slices for r, nil for nothing, and whether it may answer by itself.
func (c *Cache) SliceHead(now time.Time, key Key, r *message.Request, p *Policy) (head *Object, fresh bool) {
	if head = c.exactly(key.head(), r); head == nil {
		return nil, false
	}
	d := p.directivesOf(r)
	return head, judge(now, head, &d, p).State == Hit
}

// exactly is find for what r selects alone.
func (c *Cache) exactly(key Key, r *message.Request) *Object {
	o, reason := c.find(&key, r)
	if reason != ReasonNone {
		return nil
	}
	return o
}

// Slice judges the stored slice of that number for r, as Lookup does a response: Hit, Stale, or Miss when there is none.
func (c *Cache) Slice(now time.Time, key Key, r *message.Request, n int64, p *Policy) Result {
	head := c.exactly(key.head(), r)
	if head == nil {
		return Result{State: Miss, Reason: ReasonNotStored}
	}
	o := c.exactly(key.slice(n), r)
	if o == nil || o.part == nil || o.part.gen != head.part.gen {
		return Result{State: Miss, Reason: ReasonNotStored}
	}
	d := p.directivesOf(r)
	return judge(now, o, &d, p)
}

// TooLarge reports whether a body of that length is larger than max_object.
func (c *Cache) TooLarge(length int64) bool { return length > c.maxObject }

// Unsliceable reports whether the origin is remembered not to send slices of the resource.
func (c *Cache) Unsliceable(now time.Time, key Key, r *message.Request) bool {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.refuses(unsliceable(hash, r), now)
}

// unsliceable is under what that is remembered, in a slot of its own.
func unsliceable(hash uint64, r *message.Request) uint64 { return crowd(hash, r, false) ^ 1<<42 }

// FirstByte is where the answer to r begins in a representation of which head is known, or nothing with nil. ok is false for what slices don't serve:
// several ranges, a Range that is ignored, one that can't be satisfied.
func FirstByte(r *message.Request, head *Object) (at int64, ok bool) {
	var buf [MaxRanges]rangeSpec
	specs, ok := rangeSet(r.Fields, buf[:0])
	if !ok || len(specs) != 1 {
		return 0, false
	}
	if head == nil {
		return max(specs[0].first, 0), true // of a suffix the first slice tells where it is
	}
	rg, status := ParseRange(r, head)
	switch status {
	case 206:
		return rg.Start, true
	case 200: // If-Range
		return 0, true
	}
	return 0, false
}

// BeginSlice is Begin for one slice of that size. The leader asks for [Fill.Ask] and ends the fill with RespondSlice instead of Respond.
func (c *Cache) BeginSlice(now time.Time, key Key, r *message.Request, n, size int64) (f *Fill, leader bool) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	born := s.purges
	s.mu.RUnlock()
	spec := rangeSpec{n * size, (n+1)*size - 1}
	if f, leader = c.begin(now, key.slice(n), r, spec.String()); leader {
		f.slicing = slicing{want: Range{n * size, (n + 1) * size}, born: born}
	}
	return f, leader
}

// Ask is the value of the Range field with which the leader of a part or a slice asks the origin; "" for the whole.
func (f *Fill) Ask() string { return f.ask }

// RespondSlice is Respond for the answer to a slice's request. Without a Writer the resource is not to be served in slices, at least not for now.
func (f *Fill) RespondSlice(r *message.Request, resp Response, p *Policy) (*Writer, Reason) {
	c := f.c
	rg, total, ok := parseContentRange(resp.Fields)
	if resp.Status != 206 || !ok || total < 0 || strongValidator(resp.Fields, resp.Received) == "" ||
		rg.Start != f.slicing.want.Start || rg.End != min(f.slicing.want.End, total) || resp.Length >= 0 && resp.Length != rg.End-rg.Start {
		switch {
		case resp.Status == 200, resp.Status == 206:
			c.noteUnsliceable(f.key.whole(), r, resp.Received.Add(unsliceableTime))
		case resp.Status == 416: // which is about this slice
		case resp.Status < 500, c.exactly(f.key.head(), r) == nil: // not to ask twice each time; what is stored may serve a failing origin's clients
			c.noteUnsliceable(f.key.whole(), r, resp.Received.Add(refusalTime))
		}
		f.refuse(r, &resp, ReasonPartial)
		return nil, ReasonPartial
	}
	resp.part, resp.whole, resp.Length = &extent{rg, 0}, total, rg.End-rg.Start
	resp.Fields = ofRepresentation(resp.Fields)
	t, d, reason := storable(r, &resp, p)
	if reason == ReasonStored && !t.useful(p) {
		c.noteUnsliceable(f.key.whole(), r, resp.Received.Add(unsliceableTime))
		f.refuse(r, &resp, ReasonUnusable)
		return nil, ReasonUnusable
	}
	switch {
	case reason != ReasonStored:
		c.noteUnsliceable(f.key.whole(), r, resp.Received.Add(unsliceableTime))
	case rg.Start == 0 && rg.End == total:
		f.slicing.only = true
	default:
		resp.part.gen = c.generation(f.key.whole(), r, resp, p, t, &d, f.slicing.born, f.began)
		c.counters.slices.Inc()
	}
	return f.Respond(r, resp, p)
}

// promote stores a slice that is all of its resource as a complete response, which needs no head.
func (w *Writer) promote(reason Reason) Reason {
	f, c := w.fill, w.fill.c
	s := c.shard(f.hash)
	s.mu.Lock()
	c.unlist(s, f)
	s.mu.Unlock()
	key := f.key.whole()
	whole := &Fill{c: c, key: key, hash: key.hash(c.seed), url: key.urlHash(c.seed), born: f.slicing.born, began: f.began}
	own := *w
	own.fill, own.obj = whole, c.asWhole(w.obj, w.policy)
	if own.obj.coded != nil {
		own.cost += codedOverhead
	}
	return own.publish(reason)
}

// asWhole is a part that is all of the representation as a complete response. It has paid for what it may be served coded by.
func (c *Cache) asWhole(part *Object, p *Policy) *Object {
	o := *part
	o.Status, o.part = 200, nil
	if d := newCoded(c, &o, p); d != nil && c.budget.take(codedOverhead) {
		o.coded = d
	}
	return &o
}

// Continues reports whether a response is the part rg of o's representation.
func (o *Object) Continues(resp *Response, rg Range) bool {
	got, total, ok := parseContentRange(resp.Fields)
	v := o.validator()
	return resp.Status == 206 && ok && got == rg && total == o.Length && v != "" && v == strongValidator(resp.Fields, resp.Received)
}

// Conditional are the fields of a request for the part rg of o's version (RFC 9110 §13.1.5).
func (o *Object) Conditional(rg Range) message.Fields {
	spec := rangeSpec{rg.Start, rg.End - 1}
	return message.Fields{{Name: "range", Value: spec.String()}, {Name: "if-range", Value: o.validator()}}
}

// Head is the object without its body, for whoever needs what it says for longer than what it holds. It can't be read.
func (o *Object) Head() *Object {
	h := *o
	h.body, h.encoded = nil, nil
	return &h
}

func (c *Cache) noteUnsliceable(key Key, r *message.Request, until time.Time) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remember(unsliceable(hash, r), until)
}

// NoteLarge makes a head from the fill's answer, which was too large to store, so that the next request for it is served in slices.
func (f *Fill) NoteLarge(r *message.Request, resp Response, p *Policy) {
	c := f.c
	if resp.Status != 200 || resp.Length < 0 || strongValidator(resp.Fields, resp.Received) == "" || !c.TooLarge(resp.Length) || c.Unsliceable(resp.Received, f.key, r) {
		return
	}
	resp.part, resp.whole = &extent{}, resp.Length
	t, d, reason := storable(r, &resp, p)
	if reason == ReasonStored {
		c.generation(f.key, r, resp, p, t, &d, f.born, f.began)
	}
}

// generation is that of the resource's slices of resp's version, for which a head is made if there is none. It is 0, which no head has, when there was a
// purge since the fetch began, or no memory.
func (c *Cache) generation(key Key, r *message.Request, resp Response, p *Policy, t terms, d *directives, born, began uint64) uint64 {
	tags := p.tagsOf(&resp)
	resp.Fields = p.withoutTags(resp.Fields)
	head := newObject(&resp, t, d, newBody(&c.budget, 0))
	head.Status, head.part = 206, &extent{Range{}, c.generations.Add(1)}
	head.body.keep(nil, 0)
	head.encoded, head.purgeable = &encoded{c: c}, purgeable{began, tags}
	sel := selectorsOf(resp.Fields, r)
	cost := metaCost(key, head, sel)
	if !c.reserve(cost) {
		return 0
	}
	hash := key.hash(c.seed)
	s := c.shard(hash)
	room := c.lockForInsert(s)
	defer s.mu.Unlock()
	gen := head.part.gen
	e := match(c.current(s, hash, key.head()), r)
	switch {
	case !room || s.lastPurge(key.urlHash(c.seed)) > born:
		gen = 0
	case e != nil && e.obj.SameVersion(head):
		gen = e.obj.part.gen
		if head.received.After(e.obj.received) { // what it says counts from now on
			head.part.gen = gen
			c.replace(s, e, &entry{obj: head, sel: sel, cost: cost, checked: began}, r)
			return gen
		}
	default:
		c.insert(s, key.head(), hash, r, &entry{obj: head, sel: sel, cost: cost, checked: began})
		return gen
	}
	c.budget.release(cost)
	c.trim(s)
	return gen
}
