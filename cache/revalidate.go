package cache

import (
	"nearcast/proxy/message"
)

// NotModified ends the fill with a 304 that answers Conditions(stored): stored's fields are updated and its freshness begins anew (RFC 9111
// §3.2, §4.3.4). The leader and the waiters serve what it returns.
//
// The 304 is about stored whatever entity tag or date it has. The condition named nothing else, so the origin has said that stored's
// bytes are current; RFC 9111 §4.3.4 looks for another match since a cache may name several responses at once. To fetch again
// on each difference would defeat the cache before every origin that alters its tags, as those do that compress or have many servers.
func (f *Fill) NotModified(r *message.Request, resp Response, stored *Object, p *Policy) *Object {
	return f.freshen(r, resp, stored, p)
}

// freshen ends the fill with stored's successor.
func (f *Fill) freshen(r *message.Request, resp Response, stored *Object, p *Policy) *Object {
	asGet := *r
	asGet.Method = "GET"
	merged := resp
	merged.Status, merged.Length = stored.Status, stored.Length
	if merged.part = stored.part; merged.part != nil {
		merged.whole, merged.Length = stored.Length, stored.bodyLength()
	}
	merged.Fields = updated(stored.Fields, resp.Fields, p)
	t, d, reason := storable(&asGet, &merged, p)
	resp.tags = stored.tags
	tags := p.tagsOf(&resp)
	merged.Fields = p.withoutTags(merged.Fields)
	o := newObject(&merged, t, &d, stored.body)
	o.purgeable = purgeable{f.began, tags}
	if r.Method == "HEAD" && stored.softened { // whose answer validates nothing
		o.soften(o.received)
	}
	switch reason {
	case ReasonStored:
		f.refresh(&asGet, stored, o, p)
	case ReasonAuthorization, ReasonRequestNoStore: // says nothing about other requests for it
		f.refuse(r, &merged, reason)
	default:
		f.remove(stored, selectorsOf(stored.Fields, &asGet))
		f.refuse(r, &merged, reason)
	}
	return o
}

// updated is the stored field section with that of a 304, or of the answer to HEAD, laid over it (RFC 9111 §3.2).
func updated(stored, fresh message.Fields, p *Policy) message.Fields {
	merged := make(message.Fields, 0, len(stored)+len(fresh))
	keeps := func(name string) bool {
		return keepsStored(name) || name == "set-cookie" && !sharesCookies(fresh, p)
	}
	for _, x := range stored {
		// Without a Date of its own the 304 is as old as its receipt.
		if x.Name != "date" && (!fresh.Has(x.Name) || keeps(x.Name)) {
			merged = append(merged, x)
		}
	}
	for _, x := range fresh {
		if !keeps(x.Name) {
			merged = append(merged, x)
		}
	}
	return merged
}

// keepsStored names the fields that an update leaves alone: those that say how the stored bytes are to be read, or are a digest or the tag
// of just these bytes, as it brings no others.
func keepsStored(name string) bool {
	switch name {
	case "content-length", "content-encoding", "content-range", "content-md5", "content-digest", "repr-digest", "digest", "etag":
		return true
	}
	return false
}

// sharesCookies reports whether the cookies of an update are for everybody: it must say so itself, by a lifetime or public. What was said of the
// stored response was said of another answer, and a cookie that comes with a 304 is most often the session of the client that asked
// (RFC 9111 §7.3).
func sharesCookies(fresh message.Fields, p *Policy) bool {
	if p.SetCookie != CookieStore || !fresh.Has("set-cookie") {
		return false
	}
	d, targeted := responseDirectives(fresh, p)
	_, from := lifetime(&Response{Fields: fresh}, &d, targeted, p)
	return from.explicit() || d.has(flagPublic)
}

// refresh puts o in the place of stored, unless that has gone meanwhile, and hands it to the waiters.
func (f *Fill) refresh(r *message.Request, stored, o *Object, p *Policy) {
	c := f.c
	o.coded = newCoded(c, o, p)
	o.coded.inherit(stored.coded)
	sel := selectorsOf(o.Fields, r)
	// o takes the place of a packed object packed; that of another takes what it costs more.
	form, isPacked := c.pack(f.key, o, sel)
	cost, more := metaCost(f.key, o, sel), int64(0)
	if !isPacked {
		// What stored costs at least: its selectors may have been fewer, when the 304 has a Vary of its own.
		more = max(cost-metaCost(f.key, stored, nil), 0)
	}
	affordable := c.reserve(more)
	kept := false
	none := newDirectives()
	shared := judge(o.received, o, &none, p)
	f.decide(func() {
		s := c.shard(f.hash)
		e := c.entryOf(s, f, stored)
		if e != nil && !c.settle(s, e) {
			e = nil // purged meanwhile
		}
		v, checked := f.comparedWithPurges(o)
		if e == nil && c.purgedHard(f.key, stored) {
			// The origin confirms what an operator wants gone.
			c.tier().removed(f.key, selectorsOf(stored.Fields, r))
			f.reason = ReasonInvalidated
			return
		}
		if v.soft {
			shared = Result{} // nobody who came after the purge may have it as fresh
		}
		switch {
		case e != nil && v.hard:
			c.drop(s, e)
		case e != nil && isPacked:
			c.replace(s, e, &entry{obj: o, sel: sel, packed: form, checked: checked}, r)
			form.cell = 0
		case e != nil && affordable && s.table.slot(e.id).cell == 0 && cost-e.cost <= more:
			more -= cost - e.cost
			c.resize(s.table.slot(e.id), cost-e.cost)
			e.body.charge(cost - e.cost)
			o.encoded, o.serial = &encoded{c: c}, e.obj.serial
			e.obj.encoded.release()
			if old := e.obj.coded; old != nil {
				if old.release(); o.coded == nil {
					old.drop()
				}
				c.reweigh(s.table.slot(e.id), old.bodies)
			}
			o.coded.own(c, s, e.id)
			e.obj, e.sel, e.cost, kept = o, sel, cost, true
			s.table.slot(e.id).checked.Store(checked)
		case e != nil:
			c.drop(s, e)
		}
		c.tier().refreshed(f, s, r, o, sel)
		if f.sel = sel; shared.State == Hit || shared.ServeStaleWhileRevalidate {
			f.obj = o
			return
		}
		f.reason = ReasonUnusable
		f.remember(r, f.reason, o.received)
	})
	if !kept {
		o.coded.release() // nobody else will
	}
	if affordable {
		c.budget.release(more)
	}
	c.freeCells(form.cell)
}

// purgedHard reports whether a hard purge concerns what has left the store. It may say so of what was only evicted, long ago.
func (c *Cache) purgedHard(key Key, o *Object) bool {
	v, _ := c.purges.judge(&key, &o.tags, o.began)
	return v.hard
}

// entryOf is the entry that holds exactly that object, or the bytes that it was unpacked from.
func (c *Cache) entryOf(s *shard, f *Fill, o *Object) *entry {
	for _, e := range c.variants(s, f.hash, f.key) {
		if e.obj == o || o.serial != 0 && e.obj.serial == o.serial {
			return e
		}
	}
	return nil
}

// remove takes an object out of the store.
func (f *Fill) remove(o *Object, sel []selector) {
	s := f.c.shard(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := f.c.entryOf(s, f, o); e != nil {
		f.c.drop(s, e)
		f.c.trim(s)
	}
	f.c.tier().removed(f.key, sel)
}
