package cache

import (
	"context"
	"time"

	"nearcast/proxy/message"
)

// Object is a stored response, or one that is arriving. It is immutable but for its body, which grows until it is complete.
// Fields must not be modified: every reader shares them.
type Object struct {
	Status int
	// Fields holds what may be reused: no connection-specific fields, no Age, no Content-Length, no field that private or
	// no-cache names. It always has a Date. The leader answers its own client with the fields it received, not with these.
	Fields message.Fields
	// Length is the body's length in bytes, -1 while it is arriving and the origin has not said. Of a part (Status 206) it is the length of the
	// whole representation.
	Length int64

	received time.Time
	terms
	part *extent // what of the representation the body is; nil: all of it
	purgeable
	body    *body
	encoded *encoded // nil unless it is in the index
	serial  uint32   // the slot's, when it was stored
	coded   *coded   // nil unless it may be served in a content coding
	form    bool     // it is one: see coded
}

// newObject is the stored form of a response whose terms have been worked out.
func newObject(resp *Response, t terms, d *directives, b *body) *Object {
	o := &Object{
		Status: resp.Status, Fields: storedFields(resp, d), Length: resp.Length,
		received: resp.Received, terms: t, part: resp.part, body: b,
	}
	if o.part != nil {
		o.Length = resp.whole
	}
	return o
}

// Age is the object's current age (RFC 9111 §4.2.3).
func (o *Object) Age(now time.Time) time.Duration {
	return o.initialAge + max(now.Sub(o.received), 0)
}

// TTL is the freshness that is left; negative when the object is stale.
func (o *Object) TTL(now time.Time) time.Duration {
	ttl := o.lifetime - o.Age(now)
	if o.softened {
		ttl = min(ttl, 0)
	}
	return ttl
}

// Bytes returns the whole body when it is complete and in one piece: the short way for small objects. The slice is shared and
// must not be modified.
func (o *Object) Bytes() ([]byte, bool) {
	if !o.body.frozen.Load() {
		return nil, false
	}
	switch len(o.body.chunks) {
	case 0:
		return nil, true
	case 1:
		return o.body.chunks[0].data, true
	}
	return nil, false
}

// Trailers returns the trailer section; nil when there is none or the body has not ended.
func (o *Object) Trailers() message.Fields {
	o.body.mu.Lock()
	defer o.body.mu.Unlock()
	return o.body.trailers
}

// NewReader returns a reader of the part rg, Whole for all of it. It fails with ErrGone when the body has begun to pass through
// without being kept, and its beginning with it: the caller then fetches for itself. So make the reader before the header
// section is sent. It fails with ErrNotHeld when the object is a part that rg is not within. Close must be called. A wait for bytes that are
// still to come ends with ctx.
func (o *Object) NewReader(ctx context.Context, rg Range) (*Reader, error) {
	rg, ok := o.within(rg)
	if !ok {
		return nil, ErrNotHeld
	}
	r := &Reader{ctx: ctx, body: o.body, skip: rg.Start, left: max(rg.End-rg.Start, 0)}
	n := o.bodyLength()
	r.tail, r.short = n-rg.Start, rg != Whole && (n < 0 || rg.End < n)
	if src := o.body.source; src != nil {
		r.stored = newStoredReader(src, rg.Start)
	}
	if !o.body.open(r) {
		return nil, ErrGone
	}
	return r, nil
}

// lineOverhead and objectOverhead are what a stored object takes besides its bytes: the field list's entries, and the structures and
// index slots of one variant.
const (
	lineOverhead   = 32
	objectOverhead = 832
)

// metaCost is what an object under the key takes in the budget, its body apart.
func metaCost(key Key, o *Object, sel []selector) int64 {
	n := objectOverhead + key.size() + stringBytes(o.Fields) + lineOverhead*len(o.Fields) + o.tags.size()
	if key.selected {
		n += kinOverhead
	}
	for _, s := range sel {
		n += len(s.name) + len(s.value) + lineOverhead
	}
	if o.coded != nil {
		n += codedOverhead
	}
	return int64(n)
}

// Complete reports whether the whole body is there: its parts may then be read in any order.
func (o *Object) Complete() bool { return o.body.frozen.Load() }
