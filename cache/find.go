package cache

import "nearcast/proxy/message"

// find returns the stored variant for r, or why there is none: ReasonNoVariant with an object means one that may serve while it is fresh, but
// that r does not select.
func (c *Cache) find(key *Key, r *message.Request) (*Object, Reason) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	o, size, reason := c.search(s, hash, key, r)
	s.mu.RUnlock()
	if size == 0 {
		return o, reason
	}
	return c.findPacked(s, hash, key, r, size)
}

// search looks among what needs no unpacking. When something that may be it does, or a purge concerns it, size is not 0. The shard is locked for reading.
func (c *Cache) search(s *shard, hash uint64, key *Key, r *message.Request) (o *Object, size uint32, reason Reason) {
	reason = ReasonNotStored
	var x *slot
	var second *entry
	for id := *s.table.head(hash); id != 0; id = x.chain {
		if x = s.table.slot(id); x.hash != hash {
			continue
		}
		e := s.resident(x)
		if e == nil {
			return nil, x.size, reason
		}
		if e.key != *key {
			continue
		}
		if !c.untouched(x, e) {
			return nil, max(x.size, 1), reason
		}
		if reason = ReasonNoVariant; matches(e.sel, r) {
			x.touch()
			if !e.used.Load() {
				e.used.Store(true)
			}
			return e.obj, 0, ReasonNone
		}
		if second == nil && e.inFirstLanguage(r) {
			second = e
		}
	}
	if second != nil {
		s.table.slot(second.id).touch()
		second.used.Store(true)
		return second.obj, 0, reason
	}
	return nil, 0, reason
}

// findPacked is find where something must be unpacked, whose size is given, or done as a purge wants.
func (c *Cache) findPacked(s *shard, hash uint64, key *Key, r *message.Request, size uint32) (*Object, Reason) {
	s.mu.Lock()
	credit, evict := c.creditForView(s, size)
	if evict {
		s.mu.Unlock()
		if n := viewCost(size); c.reserve(n) {
			credit = n
		}
		s.mu.Lock()
	}
	if credit == 0 {
		c.counters.refusedViews.Inc()
	}
	defer s.mu.Unlock()
	defer func() { c.budget.release(credit) }()
	reason := ReasonNotStored
	var second *entry
	var next uint32
	for id := *s.table.head(hash); id != 0; id = next {
		x := s.table.slot(id)
		if next = x.chain; x.hash != hash {
			continue
		}
		e := s.resident(x)
		if e == nil {
			e, credit = c.makeView(s, id, credit), 0
		}
		if e == nil || e.key != *key || !c.settle(s, e) {
			continue
		}
		if reason = ReasonNoVariant; matches(e.sel, r) {
			x.touch()
			return e.obj, ReasonNone
		}
		if second == nil && e.inFirstLanguage(r) {
			second = e
		}
	}
	if second != nil {
		s.table.slot(second.id).touch()
		return second.obj, reason
	}
	return nil, reason
}

// resident is the slot's entry; nil when it is packed only.
func (s *shard) resident(x *slot) *entry {
	switch {
	case x.entry == 0:
		return nil
	case x.cell != 0:
		return s.views.all[x.entry-1]
	}
	return s.loose[x.entry-1]
}

// variants are what is stored under the key, the newest first. Of what is packed only, the entries have no body, and end with the lock.
func (c *Cache) variants(s *shard, hash uint64, key Key) []*entry {
	return c.variantsWhere(s, hash, func(k *Key) bool { return *k == key })
}

// variantsWhere are those of the keys with the hash that are wanted.
func (c *Cache) variantsWhere(s *shard, hash uint64, wanted func(*Key) bool) (found []*entry) {
	var x *slot
	for id := *s.table.head(hash); id != 0; id = x.chain {
		if x = s.table.slot(id); x.hash != hash {
			continue
		}
		e := s.resident(x)
		if e == nil {
			e = c.unpacked(s, id, false)
		}
		if e != nil && wanted(&e.key) {
			found = append(found, e)
		}
	}
	return found
}

// match selects the variant for r: of several the newest (RFC 9111 §4.1).
func match(variants []*entry, r *message.Request) *entry {
	for _, e := range variants {
		if matches(e.sel, r) {
			return e
		}
	}
	return nil
}

// serving is the entry with a body that may serve. The shard is locked.
func (c *Cache) serving(s *shard, e *entry) *entry {
	x := s.table.slot(e.id)
	if x.cell == 0 || x.entry != 0 {
		return e
	}
	return c.makeView(s, e.id, 0)
}
