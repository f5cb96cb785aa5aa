package cache

// A body that breaks off is an incomplete response (RFC 9112 §8). What has come of it is stored as a part (RFC 9111 §3.3), so that the next request
// asks for the rest alone.

// minPrefix is the least of a complete response that is worth a request for its rest.
const minPrefix = 16 << 10

// prefix is the part that has come of a response that breaks off; nil when it is of no use.
func (w *Writer) prefix() *Object {
	o, n := *w.obj, w.obj.body.size
	rg := Range{0, n}
	switch {
	case w.gaveUp != ReasonNone, w.loaded, w.fill.key.part != wholePart, n == 0, o.noCache:
		return nil
	case o.part != nil:
		rg = Range{o.part.Start, o.part.Start + n}
	case o.Status != 200, n < minPrefix, n >= o.Length, o.validator() == "":
		return nil
	}
	o.Status, o.part, o.coded = 206, &extent{rg, 0}, nil
	o.Fields, o.encoded = ofRepresentation(o.Fields), &encoded{c: w.fill.c}
	return &o
}

// keepPrefix ends the body with err and stores what has come; false when that is of no use, and nothing was done.
func (w *Writer) keepPrefix(err error) bool {
	o := w.prefix()
	if o == nil {
		return false
	}
	f, c := w.fill, w.fill.c
	w.done = true
	w.letGo(w.held)
	w.tee.abort()
	w.obj.coded.drop()
	w.obj.body.keepCut(err)
	defer w.obj.body.decided()
	cost := min(metaCost(f.key, o, w.sel), w.cost)
	c.budget.release(w.cost - cost)
	w.cost = cost

	s := c.shard(f.hash)
	room := c.lockForInsert(s)
	defer s.mu.Unlock()
	c.unlist(s, f)
	v, checked := f.comparedWithPurges(o)
	w.publishExtent(s, &entry{obj: o, sel: w.sel, cost: cost, checked: checked}, room, v, ReasonStored)
	return true
}
