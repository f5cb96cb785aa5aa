package cache

import (
	"nearcast/proxy/message"
)

// NotModified ends the fill with a 304: stored's fields are updated and its freshness begins anew (RFC 9111 §3.2, §4.3.4). The
// leader and the waiters serve what it returns. It returns nil, and the fill stays open, when the 304 is not about stored:
// fetch again without conditions.
func (f *Fill) NotModified(r *message.Request, resp Response, stored *Object, p *Policy) *Object {
	if !selects(resp.Fields, stored) {
		return nil
	}
	asGet := *r
	asGet.Method = "GET"
	merged := resp
	merged.Status, merged.Length = stored.Status, stored.Length
	merged.Fields = updated(stored.Fields, resp.Fields)
	t, d, reason := storable(&asGet, &merged, p)
	o := newObject(&merged, t, &d, stored.body)
	switch reason {
	case ReasonStored:
		f.refresh(&asGet, stored, o, p)
	case ReasonAuthorization, ReasonRequestNoStore: // says nothing about other requests for it
		f.refuse(r, &merged, reason)
	default:
		f.remove(stored)
		f.refuse(r, &merged, reason)
	}
	return o
}

// selects reports whether a 304 is about o: its entity tag, when it has one, is o's (RFC 9111 §4.3.4).
func selects(f message.Fields, o *Object) bool {
	tag := f.Get("etag")
	return tag == "" || weakly.equal(tag, o.Fields.Get("etag"))
}

// updated is the stored field section with that of a 304 laid over it (RFC 9111 §3.2).
func updated(stored, fresh message.Fields) message.Fields {
	merged := make(message.Fields, 0, len(stored)+len(fresh))
	for _, x := range stored {
		// Without a Date of its own the 304 is as old as its receipt.
		if x.Name != "date" && (!fresh.Has(x.Name) || describesBody(x.Name)) {
			merged = append(merged, x)
		}
	}
	for _, x := range fresh {
		if !describesBody(x.Name) {
			merged = append(merged, x)
		}
	}
	return merged
}

// describesBody names the fields that say how the stored bytes are to be read; a 304 sends no other bytes. Its entity tag is the stored one,
// or names it weakly. A cookie in a 304 belongs to the client that asked.
func describesBody(name string) bool {
	switch name {
	case "content-length", "content-encoding", "content-range", "etag", "set-cookie":
		return true
	}
	return false
}

// refresh puts o in the place of stored, unless that has gone meanwhile, and hands it to the waiters.
func (f *Fill) refresh(r *message.Request, stored, o *Object, p *Policy) {
	c := f.c
	sel := selectorsOf(o.Fields, r)
	cost := metaCost(f.key, o, sel)
	before := metaCost(f.key, stored, nil) // at least: its selectors may have been fewer, when the 304 has a Vary of its own
	more := max(cost-before, 0)
	affordable := c.reserve(more)
	none := newDirectives()
	shared := judge(o.received, o, &none, p)
	decided := f.decide(func() {
		s := c.shard(f.hash)
		if e := s.entryOf(f, stored); e != nil && affordable && cost-e.cost <= more {
			c.budget.release(more - (cost - e.cost))
			c.queues.resize(e, cost-e.cost)
			o.encoded = &encoded{c: c}
			e.obj.encoded.release()
			e.obj, e.sel, e.cost = o, sel, cost
		} else {
			if e != nil {
				c.drop(s, e)
			}
			if affordable {
				c.budget.release(more)
			}
		}
		if f.sel = sel; shared.State == Hit || shared.ServeStaleWhileRevalidate {
			f.obj = o
			return
		}
		f.reason = ReasonUnusable
		s.remember(crowd(f.hash, r), o.received.Add(refusalTime))
	})
	if !decided && affordable {
		c.budget.release(more)
	}
}

// entryOf is the entry that holds exactly that object.
func (s *shard) entryOf(f *Fill, o *Object) *entry {
	res := s.resource(f.hash, f.key)
	if res == nil {
		return nil
	}
	for _, e := range res.variants {
		if e.obj == o {
			return e
		}
	}
	return nil
}

// remove takes an object out of the store.
func (f *Fill) remove(o *Object) {
	s := f.c.shard(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entryOf(f, o); e != nil {
		f.c.drop(s, e)
	}
}
