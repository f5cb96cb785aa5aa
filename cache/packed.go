package cache

import (
	"encoding/binary"
	"time"
	"unsafe"
)

// A small object is stored packed, as bytes that the collector does not see. What is asked for is unpacked into a view (view.go).
//
//	packed = length of the record, received since the store was made, layout, record, body, forms
//
// The record has the wall clock's time; the other one lets a view's age follow the monotonic clock, as if it had never been packed.

// maxPacked is the largest packed object: a larger one costs the collector little for its size.
const maxPacked = 16 << 10

// packed is an object in cells that no slot refers to yet.
type packed struct {
	cell uint32
	size uint32
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
	var buf [1024]byte
	record := appendRecord(buf[:0], key, o, sel)
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
		if !c.reclaimViews() && !c.evictOne() {
			return 0
		}
	}
}

// appendHead appends all of an object's packed form up to the body.
func (c *Cache) appendHead(dst []byte, key Key, o *Object, sel []selector, l *layout) []byte {
	return c.headOf(dst, recordOf(key, o, sel), o, l)
}

func (c *Cache) headOf(dst, record []byte, o *Object, l *layout) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(record)))
	dst = binary.AppendVarint(dst, int64(o.received.Sub(c.start)))
	return append(l.append(dst), record...)
}

// packedHead is where the record of what is packed in a slot lies, what stands behind it, and when the object was received. The shard is locked.
func (c *Cache) packedHead(x *slot) (l layout, from, to int, received time.Time, ok bool) {
	first := c.cells.bytes(x.cell)
	first = first[:min(len(first), int(x.size))]
	length, n := binary.Uvarint(first)
	since, m := binary.Varint(first[max(n, 0):])
	if n <= 0 || m <= 0 {
		return l, 0, 0, received, false
	}
	k := l.read(first[n+m:])
	if from = n + m + k; k <= 0 || length > uint64(int(x.size)-from) {
		return l, 0, 0, received, false
	}
	if to = from + int(length); l.policy == 0 {
		l.body = int(x.size) - to
	}
	return l, from, to, c.start.Add(time.Duration(since)), to+l.body+l.coded() == int(x.size)
}

// readCells reads the first bytes of what is packed in a slot.
func (c *Cache) readCells(x *slot, b []byte) { (&cellCursor{c: c.cells, cell: x.cell}).read(b) }

// scratchFor is n bytes that are the shard's until it is unlocked.
func (s *shard) scratchFor(n int) []byte {
	if n > cap(s.scratch) {
		s.scratch = make([]byte, n)
	}
	return s.scratch[:n]
}

// brief is what purges go by of a packed object.
type brief struct {
	key    Key
	obj    Object
	hashes []uint64
}

// briefly reads no more of a slot than purges go by. It is valid until the shard is unlocked; nil when the bytes make no sense.
func (c *Cache) briefly(s *shard, x *slot) *brief {
	_, from, to, _, ok := c.packedHead(x)
	if !ok {
		return nil
	}
	b := s.scratchFor(to)
	c.readCells(x, b)
	d, f := decoder{rest: unsafe.String(unsafe.SliceData(b), to)[from:], trusted: true}, &s.brief
	d.head(&f.key, &f.obj)
	for range 3 { // selectors, fields, trailers
		d.skipLines()
	}
	f.obj.began, f.hashes = d.uvarint(), d.hashes(f.hashes)
	if f.obj.tags.hashes = f.hashes; d.bad {
		return nil
	}
	return f
}

// freeCells gives cells back.
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
	b := s.scratchFor(int(x.size))
	c.readCells(x, b)
	(&cellCursor{c: c.cells, cell: to}).write(b)
	c.freeCells(x.cell)
	x.cell = to
	c.cells.own(to, s.owner(id))
}

// owner is a slot's number among those of all shards.
func (s *shard) owner(id uint32) uint32 { return id*shardCount + s.number }

// repack puts another head before the same body, in the same cells; false when it is longer than what is there. It does nothing to what is
// not packed. The shard is locked.
func (c *Cache) repack(s *shard, e *entry, o *Object) bool {
	x := s.table.slot(e.id)
	if x.cell == 0 {
		return true
	}
	l, _, at, _, ok := c.packedHead(x)
	if !ok {
		return false
	}
	old := s.scratchFor(int(x.size))
	c.readCells(x, old)
	b := append(c.appendHead(nil, e.key, o, e.sel, &l), old[at:]...)
	if len(b) > int(x.size) {
		return false
	}
	(&cellCursor{c: c.cells, cell: x.cell}).write(b)
	x.size = uint32(len(b))
	return true
}
