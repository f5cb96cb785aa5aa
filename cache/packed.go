package cache

import (
	"encoding/binary"
	"time"
)

// A small object is stored packed, as bytes that the collector does not see. What is asked for is unpacked into a view, which serves like
// any other object; a bounded part of the budget holds views, by a clock: those that are asked for again stay.
//
//	packed = length of the record, received since the store was made, layout, record, body, forms
//
// The record has the wall clock's time; the other one lets a view's age follow the monotonic clock, as if it had never been packed.

const (
	// maxPacked is the largest packed object: a larger one costs the collector little for its size.
	maxPacked = 16 << 10
	// viewShare is the views' part of the budget: one in so many.
	viewShare = 16
	// maxViewBytes bounds it, and with it the collector's work.
	maxViewBytes = 64 << 20
	// maxSwept bounds the views that are looked at to make room for one.
	maxSwept = 64
	// usualLines is the number of lines that room is made for before it is known how many there are.
	usualLines = 32
)

// packed is an object in cells that no slot refers to yet.
type packed struct {
	cell uint32
	size uint32
}

// view is what is allocated together for an unpacked object.
type view struct {
	entry   entry
	obj     Object
	body    body
	encoded encoded
	chunk   [1]chunk
}

// packable reports whether the object's whole state is in what is packed. Parts are not: they become others.
func packable(o *Object) bool {
	return o.part == nil && o.body.frozen.Load() && o.body.size <= maxPacked && (o.coded == nil || o.coded.number > 0)
}

// pack puts a complete object into cells, evicting what must go. It fails when the object is too large or there is no room.
func (c *Cache) pack(key Key, o *Object, sel []selector) (p packed, ok bool) {
	if !packable(o) {
		return p, false
	}
	record := appendRecord(make([]byte, 0, 1024), key, o, sel)
	if len(record)+int(o.body.size) > maxPacked {
		return p, false
	}
	l, forms := c.layoutOf(o, len(record))
	head := c.headOf(make([]byte, 0, len(record)+32), record, o, &l)
	size := len(head) + l.body + l.coded()
	if p.cell = c.takeCells(chainLength(size)); p.cell == 0 {
		return p, false
	}
	p.size = uint32(size)
	x := cellCursor{c: c.cells, cell: p.cell}
	x.write(head)
	x.writeBody(o.body)
	for _, y := range packedCodings {
		x.writeBody(forms[y])
	}
	return p, true
}

// writeBody writes a complete body; nothing of nil.
func (x *cellCursor) writeBody(b *body) {
	if b != nil {
		for i := range b.chunks { // whose readers may be counted meanwhile
			x.write(b.chunks[i].data)
		}
	}
}

// takeCells takes a chain of n cells, evicting what must go; 0 when there is no room.
func (c *Cache) takeCells(n int) uint32 {
	for {
		if cell := c.cells.take(n); cell != 0 {
			return cell
		}
		if c.budget.take(c.cells.pageBytes()) {
			if c.cells.addPage() {
				continue
			}
			c.budget.release(c.cells.pageBytes())
		}
		if !c.evictOne() {
			return 0
		}
	}
}

// appendHead appends all of an object's packed form up to the body.
func (c *Cache) appendHead(dst []byte, key Key, o *Object, sel []selector, l *layout) []byte {
	return c.headOf(dst, appendRecord(nil, key, o, sel), o, l)
}

func (c *Cache) headOf(dst, record []byte, o *Object, l *layout) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(record)))
	dst = binary.AppendVarint(dst, int64(o.received.Sub(c.start)))
	return append(l.append(dst), record...)
}

// unpackHead reads it; at is where the body begins. The shard is locked.
func (c *Cache) unpackHead(s *shard, x *slot) (rec record, l layout, at int, ok bool) {
	s.scratch = append(s.scratch[:0], make([]byte, x.size)...)
	(&cellCursor{c: c.cells, cell: x.cell}).read(s.scratch)
	length, n := binary.Uvarint(s.scratch)
	since, m := binary.Varint(s.scratch[max(n, 0):])
	if n <= 0 || m <= 0 {
		return rec, l, 0, false
	}
	k := l.read(s.scratch[n+m:])
	if at = n + m + k; k <= 0 || length > uint64(len(s.scratch)-at) {
		return rec, l, 0, false
	}
	rec, err := parseRecord(s.scratch[at : at+int(length)])
	at += int(length)
	if l.policy == 0 {
		l.body = len(s.scratch) - at
	}
	if err != nil || at+l.body+l.coded() != len(s.scratch) {
		return rec, l, 0, false
	}
	rec.obj.received = c.start.Add(time.Duration(since))
	return rec, l, at, true
}

// free gives cells back.
func (c *Cache) freeCells(cell uint32) {
	if cell != 0 {
		c.budget.release(c.cells.put(cell))
	}
}

// shrink empties a page of cells, for those who need its memory for something else. It fails unless one part in `spare` of all cells is free.
func (c *Cache) shrink(spare int) bool {
	number, owners, ok := c.cells.beginEmptying(spare)
	if !ok {
		return false
	}
	for _, owner := range owners {
		c.move(owner, number)
	}
	released := c.cells.endEmptying(number)
	c.budget.release(released)
	return released > 0
}

// move takes a chain out of the page that is being emptied.
func (c *Cache) move(owner, number uint32) {
	s := &c.shards[owner%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	id := owner / shardCount
	if id > s.table.room() {
		return
	}
	x := s.table.slot(id)
	if x.queue == 0 || !c.cells.touches(x.cell, number) {
		return // it has gone meanwhile
	}
	to := c.cells.take(chainLength(int(x.size)))
	if to == 0 {
		return
	}
	s.scratch = append(s.scratch[:0], make([]byte, x.size)...)
	(&cellCursor{c: c.cells, cell: x.cell}).read(s.scratch)
	(&cellCursor{c: c.cells, cell: to}).write(s.scratch)
	c.freeCells(x.cell)
	x.cell = to
	c.cells.own(to, s.owner(id))
}

// owner is a slot's number among those of all shards.
func (s *shard) owner(id uint32) uint32 { return id*shardCount + s.number }

// unpacked makes an entry of a packed slot, without the body. It is nil when the bytes make no sense, which can't be. The shard is locked.
func (c *Cache) unpacked(s *shard, id uint32, withBody bool) *entry {
	x := s.table.slot(id)
	rec, l, at, ok := c.unpackHead(s, x)
	if !ok {
		return nil
	}
	v := &view{obj: *rec.obj}
	v.entry = entry{id: id, key: rec.key, hash: x.hash, obj: &v.obj, sel: rec.sel, body: &v.body}
	v.obj.body, v.obj.serial = &v.body, x.serial
	v.body.budget, v.body.phase, v.body.trailers = &c.budget, complete, rec.trailers
	v.body.size = int64(l.body)
	if withBody {
		v.encoded.c, v.obj.encoded = c, &v.encoded
		if l.body > 0 {
			v.chunk[0].data = append(make([]byte, 0, l.body), s.scratch[at:at+l.body]...)
			v.body.chunks = v.chunk[:]
		}
		c.unpackCoded(v, &l, s.scratch[at:])
		v.body.frozen.Store(true)
	}
	return &v.entry
}

// roomForView makes room for the view of a packed object of that size, and returns the bytes it has taken of the budget, 0 when there is none.
func (c *Cache) roomForView(s *shard, size uint32) int64 {
	n := int64(objectOverhead + lineOverhead*usualLines + 2*int(size))
	s.mu.Lock()
	fits := s.sweep(c, n)
	s.mu.Unlock()
	if !fits || !c.reserve(n) {
		c.counters.refusedViews.Inc()
		return 0
	}
	return n
}

// sweep makes n bytes of room among the shard's views: those that were not asked for since the last time go.
func (s *shard) sweep(c *Cache, n int64) bool {
	for range maxSwept {
		if s.viewBytes+n <= s.viewLimit || len(s.views) == 0 {
			break
		}
		s.hand++
		e := s.views[s.hand%len(s.views)]
		if !e.used.Swap(false) && !e.body.inUse() {
			c.dropView(s, e)
		}
	}
	return s.viewBytes+n <= s.viewLimit
}

// makeView unpacks a slot. credit is what was taken for it; without one the object serves but is not kept. The shard is locked.
func (c *Cache) makeView(s *shard, id uint32, credit int64) *entry {
	e := c.unpacked(s, id, true)
	if e == nil {
		c.budget.release(credit)
		return nil
	}
	n, forms := metaCost(e.key, e.obj, e.sel)+e.body.size, int64(0)
	if e.obj.coded != nil {
		forms = e.obj.coded.bodies.bytes()
	}
	n += forms
	if credit < n && c.budget.take(n-credit) {
		credit = n
	}
	if credit < n || s.viewBytes+n > s.viewLimit {
		c.budget.release(credit)
		e.obj.encoded = nil
		e.obj.coded.drop()
		e.body.detach()
		return e
	}
	c.budget.release(credit - n)
	e.body.charged, e.cost = n-forms, n
	if e.obj.coded != nil {
		e.obj.coded.bodies.charge()
		e.obj.coded.view = e
	}
	s.views = append(s.views, e)
	s.viewBytes += n
	s.table.slot(id).entry = uint32(len(s.views))
	c.views.Add(1)
	return e
}

// dropView leaves a slot packed. The shard is locked.
func (c *Cache) dropView(s *shard, e *entry) {
	x := s.table.slot(e.id)
	last := len(s.views) - 1
	i := int(x.entry) - 1
	s.views[i] = s.views[last]
	s.table.slot(s.views[i].id).entry = x.entry
	s.views[last] = nil
	s.views = s.views[:last]
	x.entry = 0
	s.viewBytes -= e.cost
	e.gone = true
	e.obj.encoded.retire(e.body)
	e.obj.coded.drop()
	e.body.detach()
	c.views.Add(-1)
}

// repack puts another head before the same body, in the same cells; false when it is longer than what is there. It does nothing to what is
// not packed. The shard is locked.
func (c *Cache) repack(s *shard, e *entry, o *Object) bool {
	x := s.table.slot(e.id)
	if x.cell == 0 {
		return true
	}
	_, l, at, ok := c.unpackHead(s, x)
	if !ok {
		return false
	}
	b := append(c.appendHead(nil, e.key, o, e.sel, &l), s.scratch[at:]...)
	if len(b) > int(x.size) {
		return false
	}
	(&cellCursor{c: c.cells, cell: x.cell}).write(b)
	x.size = uint32(len(b))
	return true
}
