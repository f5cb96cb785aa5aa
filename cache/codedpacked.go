package cache

import (
	"encoding/binary"
	"sync"

	"nearcast/cache/coding"
)

// A small object that may be served coded is packed like others, its forms with it: behind its body, in the order of their codings. A view of it
// has them all; one that is made later is added to the cells, so that the next view need not have it made again.

// maxPackedForms is the largest packed object with its forms. What would make it larger goes with the view.
const maxPackedForms = 2 * maxPacked

// maxCompressions bounds the policies that packed objects refer to. Objects of more are not packed.
const maxCompressions = 255

// compressions are the policies by number, from 1 on: cells hold no pointers.
type compressions struct {
	mu  sync.Mutex
	all []*Compress
}

// number is a policy's; 0 when there are too many.
func (t *compressions) number(p *Compress) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, x := range t.all {
		if x == p {
			return i + 1
		}
	}
	if len(t.all) == maxCompressions {
		return 0
	}
	t.all = append(t.all, p)
	return len(t.all)
}

// policy is the one with that number; nil when there is none.
func (t *compressions) policy(number int) *Compress {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number < 1 || number > len(t.all) {
		return nil
	}
	return t.all[number-1]
}

// layout says what stands behind the record of a packed object.
//
//	layout = policy [body *form]     the numbers of bytes, where the object may be served coded; else all the rest is the body
type layout struct {
	policy int // its number; 0 where there is none
	body   int
	forms  [coding.Count]int
}

// packedCodings are those that are made, in their order.
var packedCodings = [...]coding.Coding{coding.Gzip, coding.Brotli, coding.Zstd}

func (l *layout) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(l.policy))
	if l.policy == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(l.body))
	for _, x := range packedCodings {
		dst = binary.AppendUvarint(dst, uint64(l.forms[x]))
	}
	return dst
}

// read reads it from the front of b, and returns how many bytes it takes; 0 or less when it makes no sense.
func (l *layout) read(b []byte) (n int) {
	var numbers [2 + len(packedCodings)]int
	for i := range numbers {
		x, m := binary.Uvarint(b[n:])
		if m <= 0 || x > maxPackedForms {
			return 0
		}
		numbers[i] = int(x)
		if n += m; numbers[0] == 0 {
			break
		}
	}
	l.policy, l.body = numbers[0], numbers[1]
	for i, x := range packedCodings {
		l.forms[x] = numbers[2+i]
	}
	return n
}

// coded is all that the forms take.
func (l *layout) coded() (n int) {
	for _, x := range packedCodings {
		n += l.forms[x]
	}
	return n
}

// upTo is where the form begins, counted from the body.
func (l *layout) upTo(x coding.Coding) int {
	n := l.body
	for _, y := range packedCodings {
		if y == x {
			break
		}
		n += l.forms[y]
	}
	return n
}

// layoutOf is that of a complete object, with the bodies of the forms that are packed with it.
func (c *Cache) layoutOf(o *Object, head int) (l layout, forms [coding.Count]*body) {
	l.body = int(o.body.size)
	if o.coded == nil {
		return l, forms
	}
	l.policy = o.coded.number
	total := head + l.body
	for _, x := range packedCodings {
		if made := o.coded.bodies.made[x].Load(); made != nil && total+int(made.size) <= maxPackedForms {
			forms[x], l.forms[x] = made, int(made.size)
			total += int(made.size)
		}
	}
	return l, forms
}

// unpackCoded gives a view what hangs off it. b is what stands behind the record, and is kept.
func (c *Cache) unpackCoded(v *view, l *layout, b []byte) {
	policy := c.compressions.policy(l.policy)
	if policy == nil {
		return
	}
	d := &coded{c: c, policy: policy, number: l.policy, varies: varyNames(v.obj.Fields, "accept-encoding"), bodies: &codedBodies{}}
	for _, x := range packedCodings {
		if n := l.forms[x]; n > 0 {
			made := newBody(&c.budget, 0)
			at := l.upTo(x)
			made.chunks = []chunk{{data: b[at : at+n : at+n]}}
			made.size = int64(n)
			made.keep(nil, 0)
			d.bodies.made[x].Store(made)
		}
	}
	v.obj.coded = d
}

// charge gives each body the part of a charge that is for its bytes, and returns their sum.
func (b *codedBodies) charge() (n int64) {
	for i := range b.made {
		if made := b.made[i].Load(); made != nil {
			made.charge(made.size)
			n += made.size
		}
	}
	return n
}

// packForm adds a form that has been made to the cells of the object whose view d hangs off. Where there is no room it goes with the view.
func (c *Cache) packForm(d *coded, x coding.Coding, made *body) {
	e := d.view
	if e == nil {
		return
	}
	s := c.shard(e.hash)
	s.mu.Lock()
	size := 0
	if !e.gone {
		size = int(s.table.slot(e.id).size) + int(made.size) + binary.MaxVarintLen32
		e.cost += made.size
		s.views.bytes.Add(made.size)
	}
	s.mu.Unlock()
	if size == 0 || size > maxPackedForms {
		return
	}
	cell := c.takeCells(chainLength(size))
	if cell == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.repackWith(s, e, x, made, cell, size) {
		c.freeCells(cell)
	}
}

// repackWith puts a view's object, and the form, into the chain for size bytes; false when it does not take the chain. The shard is locked.
func (c *Cache) repackWith(s *shard, e *entry, x coding.Coding, made *body, cell uint32, size int) bool {
	if e.gone {
		return false
	}
	slot := s.table.slot(e.id)
	l, _, at, _, ok := c.packedHead(slot)
	if !ok || l.policy == 0 || l.forms[x] != 0 {
		return false
	}
	old := s.scratchFor(int(slot.size))
	c.readCells(slot, old)
	rest, before := old[at:], l.upTo(x)
	l.forms[x] = int(made.size)
	b := append(c.appendHead(make([]byte, 0, size), e.key, e.obj, e.sel, &l), rest[:before]...)
	for i := range made.chunks {
		b = append(b, made.chunks[i].data...)
	}
	b = append(b, rest[before:]...)
	if chainLength(len(b)) > chainLength(size) {
		return false
	}
	(&cellCursor{c: c.cells, cell: cell}).write(b)
	c.resize(slot, int64(chainLength(size))*cellCost+slotCost-slot.weight)
	c.freeCells(slot.cell)
	slot.cell, slot.size = cell, uint32(len(b))
	c.cells.own(cell, s.owner(e.id))
	return true
}
