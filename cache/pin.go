package cache

// Pieces is a part of a complete body, held in memory from [Object.Pin] until Close. It implements message.Pieces. It is used by one
// goroutine at a time; its zero value holds nothing, and it may be used again after Close.
type Pieces struct {
	body       *body
	index      int   // the next chunk
	skip, left int64 // bytes of it before the part; bytes of the part that are still to come
}

// Pin makes p hold the part rg of the object's body, so that it is neither evicted nor given back to the budget. It takes no lock and
// allocates nothing. It fails for what a [Reader] must serve: a body that is still arriving, one with a trailer section, one that
// has left the store, whose bytes are no longer counted, one that broke off, and a part of the body that the object does not hold.
func (o *Object) Pin(p *Pieces, rg Range) bool {
	b := o.body
	rg, ok := o.within(rg)
	if !ok || !b.frozen.Load() || len(b.trailers) > 0 || o.part == nil && b.err != nil || !b.pin() {
		return false
	}
	*p = Pieces{body: b, skip: rg.Start, left: max(min(rg.End, b.size)-rg.Start, 0)}
	return true
}

// Next returns the next piece, nil after the last. The bytes stay valid until Close.
func (p *Pieces) Next() []byte {
	for p.left > 0 && p.index < len(p.body.chunks) {
		data := p.body.chunks[p.index].data
		p.index++
		if p.skip >= int64(len(data)) {
			p.skip -= int64(len(data))
			continue
		}
		data = data[p.skip:]
		p.skip = 0
		data = data[:min(int64(len(data)), p.left)]
		p.left -= int64(len(data))
		return data
	}
	return nil
}

// Close lets go of the body. It does nothing when nothing is held.
func (p *Pieces) Close() {
	b := p.body
	if b == nil {
		return
	}
	*p = Pieces{}
	b.unpin()
}
