package cache

import (
	"sync"
	"sync/atomic"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

// A stored response that the origin sent without a content coding may have coded forms as well: each is an Object of its own, with another
// body, entity tag and encoded block. The first request that wants a form has it made in the background, and is answered with what there is.

// codedOverhead is what coded takes, and formOverhead a kept form besides its fields' entries.
const (
	codedOverhead = 256
	formOverhead  = 512
)

// coded is what hangs off an object that may be served coded. It belongs to the object: whoever takes that out of the index calls drop.
type coded struct {
	c      *Cache
	policy *Compress
	number int    // the policy's; 0: see compressions
	view   *entry // that it hangs off; nil where that is not one of a packed object
	// varies: the object's own Vary names Accept-Encoding already.
	varies bool
	bodies *codedBodies // outlives the object when a 304 puts another one with the same body into its place
	forms  [coding.Count]atomic.Pointer[Object]

	mu      sync.Mutex
	charged int64 // for forms
	gone    bool  // the object has left the index: nothing more is kept
}

// codedBodies are the coded forms of one body.
type codedBodies struct {
	made    [coding.Count]atomic.Pointer[body]
	asked   [coding.Count]atomic.Bool // for, and not answered yet
	gaveUp  atomic.Bool               // it is not worth while, or there is no room: no more tries
	bytes   atomic.Int64              // of these bodies, and of the forms made of them
	owner   atomic.Uint64             // the slot's number among all, and its serial; 0: not in the index
	weighed int64                     // of bytes, what the slot's weight has; guarded by its shard's lock
	mu      sync.Mutex
	dropped bool // no more are added
}

// newCoded returns what hangs off o under the policy; nil when o is never served coded.
func newCoded(c *Cache, o *Object, p *Policy) *coded {
	if p == nil {
		return nil
	}
	cp := &p.Compress
	if !cp.Enabled || o.Status != 200 || !cp.fits(o.Length) || !transformable(o.Fields, p.TargetedFields) || !cp.covers(o.Fields.Get("content-type")) {
		return nil
	}
	return &coded{c: c, policy: cp, number: c.compressions.number(cp), varies: varyNames(o.Fields, "accept-encoding"), bodies: &codedBodies{}}
}

// fitting is d for a body that has turned out to have that length.
func (d *coded) fitting(length int64) *coded {
	if d == nil || d.policy.fits(length) {
		return d
	}
	d.drop() // whoever has the object as it arrived shall not ask for forms that nobody will give back
	return nil
}

// inherit takes over the bodies made for an object with the same body.
func (d *coded) inherit(from *coded) {
	if d != nil && from != nil {
		d.bodies = from.bodies
	}
}

// release gives back what the forms cost, but for their bodies.
func (d *coded) release() {
	if d == nil {
		return
	}
	d.mu.Lock()
	d.gone = true
	d.c.budget.release(d.charged)
	d.bodies.bytes.Add(-d.charged)
	d.charged = 0
	d.mu.Unlock()
	for i := range d.forms {
		if f := d.forms[i].Load(); f != nil {
			f.encoded.release()
		}
	}
}

// drop takes the forms and their bodies out of the store, as the object leaves it.
func (d *coded) drop() {
	if d == nil {
		return
	}
	d.release()
	d.bodies.drop()
}

func (b *codedBodies) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped {
		return
	}
	b.dropped = true
	for i := range b.made {
		if m := b.made[i].Load(); m != nil {
			b.bytes.Add(-m.size)
			m.detach()
		}
	}
}

// add keeps a body that has been made; false when the object has gone meanwhile, or there is one.
func (b *codedBodies) add(x coding.Coding, made *body) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dropped || b.made[x].Load() != nil {
		return false
	}
	b.made[x].Store(made)
	b.bytes.Add(made.size)
	return true
}

// own notes whose forms they are. The shard is locked.
func (d *coded) own(c *Cache, s *shard, id uint32) {
	if d != nil {
		x := s.table.slot(id)
		owner := uint64(s.owner(id))<<32 | uint64(x.serial)
		if d.bodies.owner.Swap(owner) != owner {
			d.bodies.weighed = 0
		}
		c.reweigh(x, d.bodies)
	}
}

// weigh has the forms count in their object's queue, as the rest of it does.
func (c *Cache) weigh(b *codedBodies) {
	owner := b.owner.Load()
	if owner == 0 {
		return // it is done when the object is stored
	}
	number, serial := uint32(owner>>32), uint32(owner)
	s := &c.shards[number%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if id := number / shardCount; id <= s.table.room() {
		if x := s.table.slot(id); x.queue != noQueue && x.serial == serial {
			c.reweigh(x, b)
		}
	}
}

// reweigh is weigh for the slot. The shard is locked.
func (c *Cache) reweigh(x *slot, b *codedBodies) {
	n := b.bytes.Load() - b.weighed
	b.weighed += n
	c.resize(x, n)
}

// gone reports whether the body that they are made of has left the index.
func (b *codedBodies) gone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// VaryByCoding reports whether responses made of o need a Vary: Accept-Encoding that o.Fields does not have, since o may be served in
// other codings too (RFC 9110 §12.5.5).
func (o *Object) VaryByCoding() bool { return o.coded != nil && !o.coded.varies }

// Form returns o in the form that answers r: o itself, or one with a content coding. It does not block, and allocates only when a form is first
// used after it was made. Of an object that is still arriving there is only what a 304 needs. A form has no forms itself.
func (o *Object) Form(r *message.Request) *Object {
	d := o.coded
	if d == nil || r.Method != "GET" && r.Method != "HEAD" {
		return o
	}
	w := wishesOf(r)
	if !w.accept.Given() || w.noTransform || w.ranged && w.accept.Weight(coding.Identity) > 0 {
		return o
	}
	if w.conditional {
		if f := d.known(o, r, &w); f != nil {
			return f
		}
	}
	if !o.body.frozen.Load() || len(o.body.trailers) > 0 {
		return o
	}
	if f := d.best(o, &w); f != nil {
		return f
	}
	return o
}

// wishes are what a request says that decides on the form of its answer.
type wishes struct {
	accept      coding.Accept
	ranged      bool // ranges are of the form without a coding, whose entity tag alone a part may have
	conditional bool // it has an If-None-Match
	noTransform bool // RFC 9111 §5.2.1.6
}

func wishesOf(r *message.Request) (w wishes) {
	for i := range r.Fields {
		switch f := &r.Fields[i]; f.Name {
		case "accept-encoding":
			w.accept.Add(f.Value)
		case "range":
			w.ranged = r.Method == "GET"
		case "if-none-match":
			w.conditional = true
		case "cache-control":
			w.noTransform = w.noTransform || forbidsTransform(f.Value)
		}
	}
	return w
}

// known returns the form that the client has already, by its If-None-Match: the answer is a 304, for which no body need have been made.
func (d *coded) known(o *Object, r *message.Request, w *wishes) *Object {
	tag := o.Fields.Get("etag")
	if tag == "" {
		return nil
	}
	if w.accept.Weight(coding.Identity) > 0 && tagListed(r.Fields, "if-none-match", tag, weakly) {
		return o
	}
	for _, x := range d.policy.Encodings {
		if w.accept.Weight(x) == 0 || !codedTagListed(r.Fields, tag, x) {
			continue
		}
		if f := d.form(o, x); f != nil {
			return f
		}
	}
	return nil
}

// best returns the form made that the client likes best, and has a better one made. nil: none is better than o itself.
func (d *coded) best(o *Object, w *wishes) *Object {
	least := w.accept.Weight(coding.Identity)
	bestMade, bestWanted := coding.Identity, coding.Identity
	made, wanted := max(least-1, 0), max(least-1, 0) // on a level with identity, a coding saves bytes
	for _, x := range d.policy.Encodings {
		n := w.accept.Weight(x)
		if n > wanted {
			bestWanted, wanted = x, n
		}
		if n > made && d.bodies.made[x].Load() != nil {
			bestMade, made = x, n
		}
	}
	if bestWanted != bestMade && !d.bodies.gaveUp.Load() {
		d.c.coder.ask(d, o, bestWanted)
	}
	if bestMade == coding.Identity {
		return nil
	}
	return d.form(o, bestMade)
}

// form returns o in a coding, made of the body for it if there is one. nil: there is no room for it.
func (d *coded) form(o *Object, x coding.Coding) *Object {
	made := d.bodies.made[x].Load()
	if f := d.forms[x].Load(); f != nil && (f.body == made || made == nil) {
		return f
	}
	f := *o
	f.Fields = codedFields(o.Fields, x, d.varies)
	f.encoded, f.coded, f.form = &encoded{c: d.c}, nil, true
	if f.body, f.Length = made, -1; made == nil {
		f.body = unmade
	} else {
		f.Length = made.size
	}
	if !o.body.frozen.Load() { // it may never be stored, and nobody would give back what the form costs
		f.encoded = nil
		return &f
	}
	return d.keep(x, &f)
}

// unmade is the body of a form that only ever answers 304.
var unmade = func() *body {
	b := newBody(&budget{}, 0)
	b.finish(ErrGone, nil)
	return b
}()

// keep pays for a form and keeps it. As in encoded.keep, the room is made without the lock.
func (d *coded) keep(x coding.Coding, f *Object) *Object {
	n := int64(formOverhead + lineOverhead*len(f.Fields))
	if !d.c.reserve(n) {
		return nil
	}
	defer d.c.weigh(d.bodies) // when d is unlocked
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		d.c.budget.release(n)
		f.encoded = nil
		return f // it goes with its last user
	}
	if old := d.forms[x].Swap(f); old != nil {
		d.c.budget.release(n) // it has been paid for
		old.encoded.release()
		return f
	}
	d.charged += n
	d.bodies.bytes.Add(n)
	return f
}
