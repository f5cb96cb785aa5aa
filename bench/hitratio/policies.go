package hitratio

import "container/list"

// Maker makes a policy.
type Maker struct {
	Name string
	Make func(capacity int64) Policy
}

// Policies are those of the comparison.
var Policies = []Maker{
	{"LRU", func(n int64) Policy { return NewLRU(n) }},
	{"S3-FIFO by objects", func(n int64) Policy { return newS3(n, 0.1, 1, true) }},
	{"S3-FIFO by bytes", func(n int64) Policy { return newS3(n, 0.1, 1, false) }},
	{"S3-FIFO by bytes, small 5 %", func(n int64) Policy { return newS3(n, 0.05, 1, false) }},
	{"small 20 %", func(n int64) Policy { return newS3(n, 0.2, 1, false) }},
	{"remembers 8 times as long", func(n int64) Policy { return newS3(n, 0.1, 8, false) }},
	{"by bytes, large ones for more hits", func(n int64) Policy {
		c := newS3(n, 0.1, 1, false)
		c.sized = true
		return c
	}},
	{"W-TinyLFU", func(n int64) Policy { return newTinyLFU(n) }},
	{"nearcast", func(n int64) Policy { return newStore(n) }},
}

// item is a stored object.
type item struct {
	Request
	hits int
	in   *segment
}

// segment is a list of items, the newest first, and their bytes.
type segment struct {
	list.List
	bytes int64
}

func (s *segment) push(x *item) *list.Element {
	x.in = s
	s.bytes += x.Size
	return s.PushFront(x)
}

func (s *segment) pull(e *list.Element) *item {
	x := s.Remove(e).(*item)
	s.bytes -= x.Size
	return x
}

// lru evicts what was not asked for the longest.
type lru struct {
	capacity int64
	index    map[uint64]*list.Element
	items    segment
}

// NewLRU is a cache that evicts what was not asked for the longest.
func NewLRU(capacity int64) Policy {
	return &lru{capacity: capacity, index: map[uint64]*list.Element{}}
}

func (c *lru) Get(r Request) bool {
	if e := c.index[r.Key]; e != nil {
		c.items.MoveToFront(e)
		return true
	}
	if r.Size > c.capacity {
		return false
	}
	for c.items.bytes+r.Size > c.capacity {
		delete(c.index, c.items.pull(c.items.Back()).Key)
	}
	c.index[r.Key] = c.items.push(&item{Request: r})
	return false
}

// s3 is S3-FIFO. The small queue's share, and when it is over that, counts in bytes or in objects.
type s3 struct {
	capacity    int64
	share       float64
	byObjects   bool
	index       map[uint64]*list.Element
	small, main segment
	ghost       map[uint64]int // when it was evicted from the small queue
	evicted     int
	sized       bool    // a large object must have more hits to be spared
	remembers   float64 // so many times the objects of the main queue
}

func newS3(capacity int64, share, remembers float64, byObjects bool) *s3 {
	return &s3{capacity: capacity, share: share, remembers: remembers, byObjects: byObjects, index: map[uint64]*list.Element{}, ghost: map[uint64]int{}}
}

func (c *s3) Get(r Request) bool {
	if e := c.index[r.Key]; e != nil {
		x := e.Value.(*item)
		x.hits = min(x.hits+1, 3)
		return true
	}
	if r.Size > c.capacity {
		return false
	}
	for c.small.bytes+c.main.bytes+r.Size > c.capacity {
		c.evict()
	}
	to := &c.small
	if at, ok := c.ghost[r.Key]; ok {
		delete(c.ghost, r.Key)
		if float64(c.evicted-at) <= c.remembers*float64(c.main.Len()+c.small.Len()) {
			to = &c.main
		}
	}
	c.index[r.Key] = to.push(&item{Request: r})
	return false
}

func (c *s3) smallIsOver() bool {
	if c.byObjects {
		return float64(c.small.Len()) >= c.share*float64(c.small.Len()+c.main.Len())
	}
	return float64(c.small.bytes) >= c.share*float64(c.small.bytes+c.main.bytes)
}

func (c *s3) evict() {
	for {
		if from := &c.small; from.Len() > 0 && (c.smallIsOver() || c.main.Len() == 0) {
			x := from.pull(from.Back())
			if x.hits > 1+min(c.penalty(x), 1) {
				x.hits = 0
				c.index[x.Key] = c.main.push(x)
				continue
			}
			delete(c.index, x.Key)
			c.evicted++
			c.ghost[x.Key] = c.evicted
			return
		}
		x := c.main.pull(c.main.Back())
		if x.hits > c.penalty(x) {
			x.hits -= 1 + c.penalty(x)
			c.index[x.Key] = c.main.push(x)
			continue
		}
		delete(c.index, x.Key)
		return
	}
}

// penalty is how many hits more than others the item must have to be spared.
func (c *s3) penalty(x *item) int {
	average := (c.small.bytes + c.main.bytes + x.Size) / int64(c.small.Len()+c.main.Len()+1)
	switch {
	case !c.sized || x.Size <= 2*average:
		return 0
	case x.Size <= 8*average:
		return 1
	}
	return 2
}

// tinyLFU is W-TinyLFU: a window of a hundredth, then a segmented LRU that takes what is asked for more often than what must go.
type tinyLFU struct {
	capacity                     int64
	index                        map[uint64]*list.Element
	window, probation, protected segment
	sketch                       []uint8 // four counters a key, up to 15
	counted                      int
}

func newTinyLFU(capacity int64) *tinyLFU {
	n := 1 << 12
	for int64(n) < capacity/512 && n < 1<<22 {
		n *= 2
	}
	return &tinyLFU{capacity: capacity, index: map[uint64]*list.Element{}, sketch: make([]uint8, n)}
}

func (c *tinyLFU) cells(key uint64) (at [4]int) {
	h := key*0x9e3779b97f4a7c15 + 1
	for i := range at {
		h = (h ^ h>>29) * 0xbf58476d1ce4e5b9
		at[i] = int(h >> 20 % uint64(len(c.sketch)))
	}
	return at
}

func (c *tinyLFU) count(key uint64) {
	for _, i := range c.cells(key) {
		if c.sketch[i] < 15 {
			c.sketch[i]++
		}
	}
	if c.counted++; c.counted >= 10*len(c.index)+1000 {
		c.counted = 0
		for i := range c.sketch {
			c.sketch[i] /= 2
		}
	}
}

func (c *tinyLFU) frequency(key uint64) uint8 {
	n := uint8(15)
	for _, i := range c.cells(key) {
		n = min(n, c.sketch[i])
	}
	return n
}

func (c *tinyLFU) Get(r Request) bool {
	c.count(r.Key)
	if e := c.index[r.Key]; e != nil {
		x := e.Value.(*item)
		if x.in != &c.probation {
			x.in.MoveToFront(e)
			return true
		}
		c.index[r.Key] = c.protected.push(c.probation.pull(e))
		for c.protected.bytes > c.capacity*99/100*8/10 {
			y := c.protected.pull(c.protected.Back())
			c.index[y.Key] = c.probation.push(y)
		}
		return true
	}
	if r.Size > c.capacity {
		return false
	}
	c.index[r.Key] = c.window.push(&item{Request: r})
	for c.window.bytes > c.capacity/100 && c.window.Len() > 0 {
		c.admit(c.window.pull(c.window.Back()))
	}
	return false
}

// admit takes what leaves the window into the main part, unless what would have to go is asked for more often.
func (c *tinyLFU) admit(x *item) {
	main := c.capacity - c.capacity/100
	for c.probation.bytes+c.protected.bytes+x.Size > main {
		from := &c.probation
		if from.Len() == 0 {
			from = &c.protected
		}
		if from.Len() == 0 || c.frequency(x.Key) <= c.frequency(from.Back().Value.(*item).Key) {
			delete(c.index, x.Key)
			return
		}
		delete(c.index, from.pull(from.Back()).Key)
	}
	c.index[x.Key] = c.probation.push(x)
}
