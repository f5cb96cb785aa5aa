package cache

import (
	"cmp"
	"slices"

	"nearcast/proxy/message"
)

// combine makes one of the parts for r that touch and are of one version (RFC 9111 §3.4), as far as nobody reads them, and stores what has become
// complete as the resource's response. Their bytes are not copied, but for what overlaps and for small pieces. The shard is locked.
func (c *Cache) combine(s *shard, key Key, hash uint64, r *message.Request, p *Policy) {
	all := selected(c.current(s, hash, key.extents()), r)
	if len(all) > 0 {
		key = all[0].key.whole() // the store's own copy
	}
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Compare(a.obj.part.Start, b.obj.part.Start) })
	for i := 0; i < len(all); {
		e := all[i]
		if i+1 < len(all) && e.obj.part.End >= all[i+1].obj.part.Start {
			if joined := c.join(s, e, all[i+1]); joined != nil {
				c.place(s, key.extents(), hash, joined, func(*entry) bool { return false })
				all[i] = joined
				all = slices.Delete(all, i+1, i+2)
				c.counters.combined.Inc()
				continue
			}
		}
		if e.obj.part.End-e.obj.part.Start == e.obj.Length {
			c.complete(s, key, hash, r, e, p)
		}
		i++
	}
}

// join takes two entries, a beginning before b, out of the store and returns one with the bytes of both, which is not in it yet; nil when they don't
// belong together, or one of them is in use.
func (c *Cache) join(s *shard, a, b *entry) *entry {
	if !a.obj.SameVersion(b.obj) || !slices.Equal(a.sel, b.sel) {
		return nil
	}
	heldA, ok := a.body.seize()
	if !ok {
		return nil
	}
	heldB, ok := b.body.seize()
	if !ok {
		a.body.unseize(heldA)
		return nil
	}
	newer, older := a, b
	if b.obj.received.After(a.obj.received) {
		newer, older = b, a
	}
	o := *newer.obj
	o.part = &extent{Range{a.obj.part.Start, max(a.obj.part.End, b.obj.part.End)}, 0}
	o.began, o.tags = min(o.began, older.obj.began), o.tags.with(older.obj.tags)
	e := c.reshape(s, newer, &o)
	e.checked = min(e.checked, s.table.slot(older.id).checked.Load())
	older.obj.encoded.release()
	e.cost = metaCost(e.key, &o, e.sel)
	o.body = joinBodies(a.body, b.body, a.obj.part.End-b.obj.part.Start, heldA+heldB-e.cost)
	c.drop(s, a)
	c.drop(s, b)
	return e
}

// reshape is an entry for o, which takes what goes with old, whose body is seized, over from that.
func (c *Cache) reshape(s *shard, old *entry, o *Object) *entry {
	old.obj.encoded.release()
	o.encoded, o.serial = &encoded{c: c}, 0
	return &entry{key: old.key, obj: o, sel: old.sel, cost: old.cost, checked: s.table.slot(old.id).checked.Load()}
}

// complete moves an entry that has all of the representation to where the complete response belongs, unless something newer is there.
func (c *Cache) complete(s *shard, key Key, hash uint64, r *message.Request, e *entry, p *Policy) {
	if newest := match(c.current(s, hash, key), r); newest != nil && newest.obj.received.After(e.obj.received) {
		c.drop(s, e)
		return
	}
	held, ok := e.body.seize()
	if !ok {
		return
	}
	o := c.asWhole(e.obj, p)
	whole := c.reshape(s, e, o)
	o.body = joinBodies(e.body, nil, 0, held-whole.cost)
	if o.coded != nil {
		whole.cost += codedOverhead
	}
	c.dropExtents(s, key, hash, r)
	c.insert(s, key, hash, r, whole)
}

// joinBodies is a complete body with the bytes of a and then those of b but for its first skip ones, both seized. held is what both were charged
// for, but for what the entry costs that it is for: what it does not need is given back.
func joinBodies(a, b *body, skip, held int64) *body {
	joined := newBody(a.budget, 0)
	joined.chunks = make([]chunk, 0, len(a.chunks)+1)
	for _, c := range a.chunks {
		joined.chunks = append(joined.chunks, chunk{data: c.data})
	}
	if b != nil {
		for _, c := range b.chunks {
			cut := min(skip, int64(len(c.data)))
			skip -= cut
			joined.append(c.data[cut:], cut > 0)
		}
	}
	for _, c := range joined.chunks {
		joined.size += int64(len(c.data))
		joined.charged += int64(cap(c.data))
	}
	joined.phase = complete
	joined.frozen.Store(true)
	joined.budget.release(held - joined.charged)
	return joined
}

// append adds a piece. It is copied when it is only a part of what it lies in, and when there would else be many small ones.
func (b *body) append(p []byte, partial bool) {
	if len(p) == 0 {
		return
	}
	if last := len(b.chunks) - 1; last >= 0 {
		if d := b.chunks[last].data; len(d) < firstChunk && len(d)+len(p) <= maxChunk {
			b.chunks[last].data = append(append(make([]byte, 0, len(d)+len(p)), d...), p...)
			return
		}
	}
	if partial {
		p = append(make([]byte, 0, len(p)), p...)
	}
	b.chunks = append(b.chunks, chunk{data: p})
}

// seize takes a complete body that nobody reads out of the store's hands. Its charge is the caller's from then on: who still comes to read the body
// leaves nothing behind to give back.
func (b *body) seize() (charge int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.phase != complete || b.readers > 0 || b.detached || len(b.trailers) > 0 || !b.pins.CompareAndSwap(0, -gone) {
		return 0, false
	}
	charge, b.charged, b.detached = b.charged, 0, true
	return charge, true
}

// unseize gives it back.
func (b *body) unseize(charge int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.charged += charge
	b.detached = false
	b.pins.Add(gone)
}

// arrived is how many bytes there are.
func (b *body) arrived() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size
}
