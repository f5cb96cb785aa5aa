package cache

import (
	"math"
	"sync"
	"unsafe"
)

// Small objects are kept packed: the record, then the body, in a chain of cells of one size. So there is no room that fits nothing, a
// chain of any length can be moved, and the collector has nothing to look at: cells are in pages outside its heap.

const (
	// cellSize: half of it is what the last cell of a chain leaves unused on average.
	cellSize = 128
	// cellCost is what a cell takes with its two links.
	cellCost = cellSize + 8
	// The number of cells of a page is a power of two between these: fewer would not fill pages of the system's.
	minPageBits, maxPageBits = 9, 13
	// sampledPages is how many pages are looked at for the emptiest.
	sampledPages = 16
)

// cells is the memory of packed objects. A cell's number is 1 + its place; 0 is none.
//
// Its lock guards which cells are free. What is in a chain, and the chain's own links, belong to the shard that it is stored in.
type cells struct {
	bits  uint
	pages []cellPage // all that there can be: pages are never moved

	mu     sync.Mutex
	limit  heapLimit
	others int64    // bytes outside of the heap that are none of the cells
	mapped int      // pages that have memory
	free   int      // cells of open pages
	open   []uint32 // pages that have free cells, but for the one that is being emptied
	absent []uint32 // pages without memory
	cursor int      // where the next look for an empty page begins
}

// cellPage is a page: the cells, then for each the next one of its chain, then its owner.
type cellPage struct {
	memory []byte
	first  uint32 // of the free cells
	free   int
	isOpen bool
	closed bool // it is being emptied
}

// newCells returns an empty memory that never takes more than limit bytes.
func newCells(limit int64) *cells {
	c := &cells{bits: minPageBits, limit: newHeapLimit()}
	for c.bits < maxPageBits && cellCost<<c.bits < limit/1024 {
		c.bits++
	}
	c.pages = make([]cellPage, min(limit/c.pageBytes(), math.MaxUint32>>c.bits)) // cells have numbers of 32 bits
	c.absent = make([]uint32, len(c.pages))
	for i := range c.absent {
		c.absent[i] = uint32(len(c.pages) - 1 - i)
	}
	return c
}

func (c *cells) pageBytes() int64 { return cellCost << c.bits }

func (c *cells) perPage() int { return 1 << c.bits }

// tableBytes is what the table of pages takes.
func (c *cells) tableBytes() int64 {
	return int64(len(c.pages)) * (int64(unsafe.Sizeof(cellPage{})) + 8)
}

// held is the bytes of its pages.
func (c *cells) held() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.mapped) * c.pageBytes()
}

func (c *cells) page(cell uint32) *cellPage { return &c.pages[(cell-1)>>c.bits] }

// place is the number of a cell in its page.
func (c *cells) place(cell uint32) int { return int(cell-1) & (c.perPage() - 1) }

func (c *cells) bytes(cell uint32) []byte {
	i := c.place(cell) * cellSize
	return c.page(cell).memory[i : i+cellSize : i+cellSize]
}

// links are a cell's next one in its chain, and its owner.
func (c *cells) links(cell uint32) (next, owner *uint32) {
	m := c.page(cell).memory
	words := unsafe.Slice((*uint32)(unsafe.Pointer(&m[cellSize<<c.bits])), 2<<c.bits)
	i := c.place(cell)
	return &words[i], &words[c.perPage()+i]
}

func (c *cells) next(cell uint32) uint32 {
	n, _ := c.links(cell)
	return *n
}

// chainLength is the number of cells for n bytes.
func chainLength(n int) int { return (n + cellSize - 1) / cellSize }

// addPage takes memory that the budget has been charged with; false when the system has none.
func (c *cells) addPage() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.absent) == 0 {
		return false
	}
	memory := mapMemory(int(c.pageBytes()))
	if memory == nil {
		return false
	}
	number := c.absent[len(c.absent)-1]
	c.absent = c.absent[:len(c.absent)-1]
	p := &c.pages[number]
	*p = cellPage{memory: memory, first: number<<c.bits + 1, free: c.perPage(), isOpen: true}
	for cell := p.first; cell < p.first+uint32(c.perPage())-1; cell++ {
		next, _ := c.links(cell)
		*next = cell + 1
	}
	c.open = append(c.open, number)
	c.free += p.free
	c.mapped++
	c.noteLimit()
	return true
}

// take returns a chain of n cells, 0 when there are not so many.
func (c *cells) take(n int) (first uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free < n {
		return 0
	}
	c.free -= n
	for ; n > 0; n-- {
		number := c.open[len(c.open)-1]
		p := &c.pages[number]
		cell := p.first
		next, owner := c.links(cell)
		p.first, *next, *owner = *next, first, 0
		first = cell
		if p.free--; p.free == 0 {
			p.isOpen = false
			c.open = c.open[:len(c.open)-1]
		}
	}
	return first
}

// own notes whose a chain is.
func (c *cells) own(first, owner uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cell := first; cell != 0; {
		next, o := c.links(cell)
		*o, cell = owner, *next
	}
}

// put gives a chain back, and returns the number of bytes that this gives back to the budget: pages that are empty now.
func (c *cells) put(first uint32) (released int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cell := first; cell != 0; {
		next, owner := c.links(cell)
		p, number := c.page(cell), (cell-1)>>c.bits
		*owner = 0
		cell, *next, p.first = *next, p.first, cell
		p.free++
		if p.closed {
			continue // whoever empties it sees to it
		}
		c.free++
		switch {
		case !p.isOpen:
			p.isOpen = true
			c.open = append(c.open, number)
		case p.free == c.perPage() && c.free > c.perPage(): // one empty page is kept
			released += c.drop(number)
		}
	}
	return released + c.dropIdle()
}

// dropIdle gives all pages back when nothing is stored any more.
func (c *cells) dropIdle() (released int64) {
	for c.free == c.mapped<<c.bits && len(c.open) > 0 {
		released += c.drop(c.open[0])
	}
	return released
}

// drop gives an empty page back to the system.
func (c *cells) drop(number uint32) int64 {
	p := &c.pages[number]
	c.shut(number)
	unmapMemory(p.memory)
	*p = cellPage{}
	c.absent = append(c.absent, number)
	c.mapped--
	c.noteLimit()
	return c.pageBytes()
}

// noteOthers notes n bytes more outside of the heap that are none of the cells.
func (c *cells) noteOthers(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others += n
	c.noteLimit()
}

func (c *cells) noteLimit() { c.limit.note(int64(c.mapped)*c.pageBytes() + c.others) }

// shut keeps take from a page.
func (c *cells) shut(number uint32) {
	p := &c.pages[number]
	if !p.isOpen {
		return
	}
	for i, n := range c.open {
		if n == number {
			c.open[i] = c.open[len(c.open)-1]
			c.open = c.open[:len(c.open)-1]
			break
		}
	}
	p.isOpen = false
	c.free -= p.free
}

// beginEmptying closes the emptiest of some pages and returns the owners of its chains. It does nothing unless so many cells are free
// that the others can take what is in it: more than a page, and more than one in spare.
func (c *cells) beginEmptying(spare int) (number uint32, owners []uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := c.mapped << c.bits
	if c.free <= c.perPage() || c.free*spare < total {
		return 0, nil, false
	}
	best := -1
	for range min(sampledPages, len(c.open)) {
		c.cursor++
		n := int(c.open[c.cursor%len(c.open)])
		if best < 0 || c.pages[n].free > c.pages[best].free {
			best = n
		}
	}
	if best < 0 {
		return 0, nil, false
	}
	number = uint32(best)
	p := &c.pages[number]
	c.shut(number)
	p.closed = true
	last := uint32(0)
	for i := range c.perPage() {
		_, owner := c.links(number<<c.bits + uint32(i) + 1)
		if *owner != 0 && *owner != last {
			last = *owner
			owners = append(owners, last)
		}
	}
	return number, owners, true
}

// endEmptying drops the page if it is empty, else opens it again. It returns the bytes that are given back.
func (c *cells) endEmptying(number uint32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.pages[number]
	p.closed = false
	if p.free == c.perPage() {
		released := c.drop(number)
		return released + c.dropIdle()
	}
	if p.free > 0 {
		p.isOpen = true
		c.open = append(c.open, number)
		c.free += p.free
	}
	return 0
}

// touches reports whether the chain has a cell in the page.
func (c *cells) touches(first, number uint32) bool {
	for cell := first; cell != 0; cell = c.next(cell) {
		if (cell-1)>>c.bits == number {
			return true
		}
	}
	return false
}

// cellCursor is a place in a chain, for reading and writing.
type cellCursor struct {
	c    *cells
	cell uint32
	off  int
}

func (x *cellCursor) write(p []byte) {
	for len(p) > 0 && x.cell != 0 {
		n := copy(x.c.bytes(x.cell)[x.off:], p)
		p = p[n:]
		x.advance(n)
	}
}

func (x *cellCursor) read(p []byte) {
	for len(p) > 0 && x.cell != 0 {
		n := copy(p, x.c.bytes(x.cell)[x.off:])
		p = p[n:]
		x.advance(n)
	}
}

func (x *cellCursor) advance(n int) {
	if x.off += n; x.off == cellSize {
		x.cell, x.off = x.c.next(x.cell), 0
	}
}
