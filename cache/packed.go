package cache

import (
	"encoding/binary"
	"time"
)

// A small object is stored packed, as bytes that the collector does not see. What is asked for is unpacked into a view, which serves like
// any other object; a bounded part of the budget holds views, by a clock: those that are asked for again stay.
//
//	packed = length of the record, received since the store was made, record, body
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

// packable reports whether the object's whole state is in its record and its body.
// What may be served in other codings is not: their forms hang off the object. Nor are parts: they become others.
func packable(o *Object) bool {
	return o.part == nil && o.body.frozen.Load() && o.body.size <= maxPacked && o.coded == nil
}

// pack puts a complete object into cells, evicting what must go. It fails when the object is too large or there is no room.
func (c *Cache) pack(key Key, o *Object, sel []selector) (p packed, ok bool) {
	if !packable(o) {
		return p, false
	}
	head := c.appendHead(make([]byte, 0, 1024), key, o, sel)
	size := len(head) + int(o.body.size)
	if size > maxPacked {
		return p, false
	}
	for {
		if p.cell = c.cells.take(chainLength(size)); p.cell != 0 {
			break
		}
		if c.budget.take(c.cells.pageBytes()) {
			if c.cells.addPage() {
				continue
			}
			c.budget.release(c.cells.pageBytes())
		}
		if !c.evictOne() {
			return p, false
		}
	}
	p.size = uint32(size)
	x := cellCursor{c: c.cells, cell: p.cell}
	x.write(head)
	for i := range o.body.chunks { // whose readers may be counted meanwhile
		x.write(o.body.chunks[i].data)
	}
	return p, true
}

// appendHead appends all of an object's packed form but the body.
func (c *Cache) appendHead(dst []byte, key Key, o *Object, sel []selector) []byte {
	record := appendRecord(make([]byte, 0, len(o.Fields)*32+256), key, o, sel) // not on the stack: see Fill.keep
	dst = binary.AppendUvarint(dst, uint64(len(record)))
	dst = binary.AppendVarint(dst, int64(o.received.Sub(c.start)))
	return append(dst, record...)
}

// unpackHead reads it; at is where the body begins. The shard is locked.
func (c *Cache) unpackHead(s *shard, x *slot) (rec record, at int, ok bool) {
	s.scratch = append(s.scratch[:0], make([]byte, x.size)...)
	(&cellCursor{c: c.cells, cell: x.cell}).read(s.scratch)
	length, n := binary.Uvarint(s.scratch)
	since, m := binary.Varint(s.scratch[max(n, 0):])
	if at = n + m; n <= 0 || m <= 0 || length > uint64(len(s.scratch)-at) {
		return rec, 0, false
	}
	rec, err := parseRecord(s.scratch[at : at+int(length)])
	if err != nil {
		return rec, 0, false
	}
	rec.obj.received = c.start.Add(time.Duration(since))
	return rec, at + int(length), true
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
	rec, at, ok := c.unpackHead(s, x)
	if !ok {
		return nil
	}
	v := &view{obj: *rec.obj}
	v.entry = entry{id: id, key: rec.key, hash: x.hash, obj: &v.obj, sel: rec.sel, body: &v.body}
	v.obj.body, v.obj.serial = &v.body, x.serial
	v.body.budget, v.body.phase, v.body.trailers = &c.budget, complete, rec.trailers
	v.body.size = int64(int(x.size) - at)
	if withBody {
		v.encoded.c, v.obj.encoded = c, &v.encoded
		if at < int(x.size) {
			v.chunk[0].data = append(make([]byte, 0, int(x.size)-at), s.scratch[at:]...)
			v.body.chunks = v.chunk[:]
		}
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
	n := metaCost(e.key, e.obj, e.sel) + e.body.size
	if credit < n && c.budget.take(n-credit) {
		credit = n
	}
	if credit < n || s.viewBytes+n > s.viewLimit {
		c.budget.release(credit)
		e.obj.encoded = nil
		e.body.detach()
		return e
	}
	c.budget.release(credit - n)
	e.body.charged, e.cost = n, n
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
	_, at, ok := c.unpackHead(s, x)
	if !ok {
		return false
	}
	b := append(c.appendHead(nil, e.key, o, e.sel), s.scratch[at:]...)
	if len(b) > int(x.size) {
		return false
	}
	(&cellCursor{c: c.cells, cell: x.cell}).write(b)
	x.size = uint32(len(b))
	return true
}
