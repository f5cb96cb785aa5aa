package flood

import (
	"sync/atomic"
	"time"
)

// class is how likely a packet is to be a client's.
type class uint8

const (
	stranger   class = iota
	bearer           // has a token
	familiar         // its address has proved itself
	returning        // was here a moment ago
	persistent       // and more than once
	classes
)

// shape is what buckets of one kind have in common. They are kept in one number each, by the generic cell rate algorithm: the time until which what
// was taken is paid for at the rate. It may be ahead of now by the burst, or by that part of it that a class may use.
type shape struct {
	interval int64          // between two at the rate, in nanoseconds; 0: no limit
	ahead    [classes]int64 // how far a class may be ahead of now before it takes
}

// newShape lets strangers use half of the burst, and each class after it an eighth more.
func newShape(r Rate) (s shape) {
	if r.PerSecond <= 0 {
		return s
	}
	s.interval = max(1, int64(time.Second)/int64(r.PerSecond))
	for c, eighths := range [classes]int{4, 5, 6, 7, 8} {
		s.ahead[c] = int64(max(r.Burst*eighths/8, 1)-1) * s.interval
	}
	return s
}

// bucket is one of its own.
type bucket struct {
	shape
	paid atomic.Int64
}

// take takes one, unless the class may not.
func (b *bucket) take(now int64, c class) bool {
	if b.interval == 0 {
		return true
	}
	for {
		paid := b.paid.Load()
		if paid-now > b.ahead[c] {
			return false
		}
		if b.paid.CompareAndSwap(paid, max(paid, now)+b.interval) {
			return true
		}
	}
}

// give puts one back.
func (b *bucket) give(now int64) { back(&b.paid, now, b.interval) }

// pressed reports whether half of what strangers may use is gone.
func (b *bucket) pressed(now int64) bool {
	return b.interval > 0 && b.paid.Load()-now > b.ahead[stranger]/2
}

// back takes an interval off a cell that is ahead of now; one that is not has nothing to give back.
func back(cell *atomic.Int64, now, interval int64) {
	for {
		paid := cell.Load()
		if paid <= now || cell.CompareAndSwap(paid, paid-interval) {
			return
		}
	}
}

// prefixes are the buckets of all prefixes. There are not as many cells as prefixes: each prefix has a cell in either row, which it shares
// with others, and is shed when both are used up. A flood from everywhere puts a small part of itself into each cell.
type prefixes struct {
	shape
	rows [2][]atomic.Int64
}

func newPrefixes(r Rate) (p prefixes) {
	p.shape = newShape(r)
	if p.interval > 0 {
		for i := range p.rows {
			p.rows[i] = make([]atomic.Int64, prefixSize)
		}
	}
	return p
}

func (p *prefixes) cells(key uint64) (a, b *atomic.Int64) {
	return &p.rows[0][key%prefixSize], &p.rows[1][key>>32%prefixSize]
}

// has reports whether the class may take one.
func (p *prefixes) has(key uint64, now int64, c class) bool {
	if p.interval == 0 {
		return true
	}
	a, b := p.cells(key)
	return min(a.Load(), b.Load())-now <= p.ahead[c]
}

// pressed reports whether half of what strangers may use is gone.
func (p *prefixes) pressed(key uint64, now int64) bool {
	if p.interval == 0 {
		return false
	}
	a, b := p.cells(key)
	return min(a.Load(), b.Load())-now > p.ahead[stranger]/2
}

// take takes one.
func (p *prefixes) take(key uint64, now int64) {
	if p.interval == 0 {
		return
	}
	a, b := p.cells(key)
	paid := max(min(a.Load(), b.Load()), now) + p.interval
	raise(a, paid)
	raise(b, paid)
}

// give puts one back.
func (p *prefixes) give(key uint64, now int64) {
	if p.interval == 0 {
		return
	}
	a, b := p.cells(key)
	back(a, now, p.interval)
	back(b, now, p.interval)
}

// raise sets a cell that is less.
func raise(cell *atomic.Int64, to int64) {
	for {
		paid := cell.Load()
		if paid >= to || cell.CompareAndSwap(paid, to) {
			return
		}
	}
}
