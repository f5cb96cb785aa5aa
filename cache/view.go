package cache

import (
	"sync/atomic"
	"unsafe"

	"nearcast/proxy/message"
)

// A view is a packed object that has been unpacked, and serves like any other object. Views take what of the budget nothing else needs, and what else
// needs it takes it from them again, but for their share. Their number is bounded, for the collector's sake. A clock chooses which go: those that are
// asked for again stay.

const (
	// viewShare is the part of the budget that views may have where objects are evicted for it: one in so many.
	viewShare = 16
	// maxViews bounds their number, which the collector's work goes by.
	maxViews = 64 << 10
	// maxSwept bounds the views that are looked at to make room.
	maxSwept = 64
	// maxReclaimed is how many make room at once.
	maxReclaimed = 8
	// usualLines and usualSelectors are the numbers of lines and selectors that a view has room for in itself.
	usualLines, usualSelectors = 16, 2
)

// view is what is allocated together for an unpacked object.
type view struct {
	entry   entry
	obj     Object
	body    body
	encoded encoded
	chunk   [1]chunk
	fields  [usualLines]message.Field
	sel     [usualSelectors]selector
}

// viewCost is what a view takes at most, its field lines apart for which it has no room: itself, and a copy of what is in the cells.
func viewCost(size uint32) int64 { return int64(unsafe.Sizeof(view{})) + int64(size)*9/8 }

// viewCost is that of an unpacked entry, exactly.
func (e *entry) viewCost(size uint32) int64 {
	n := viewCost(size) + 8*int64(len(e.obj.tags.hashes))
	if lines := len(e.obj.Fields) + len(e.body.trailers); lines > usualLines {
		n += int64(lines) * lineOverhead
	}
	if len(e.sel) > usualSelectors {
		n += int64(len(e.sel)) * lineOverhead
	}
	if e.obj.coded != nil {
		n += codedOverhead
	}
	return n
}

// viewSet is a shard's views, guarded by its lock.
type viewSet struct {
	all   []*entry
	hand  int // of the clock
	max   int
	share int64
	bytes atomic.Int64 // with the forms in which their field sections go out; to be read without the lock
}

// unpacked makes an entry of a packed slot, without the body if that is not wanted. It is nil when the bytes make no sense, which can't be. The
// shard is locked.
func (c *Cache) unpacked(s *shard, id uint32, withBody bool) *entry {
	x := s.table.slot(id)
	l, from, to, received, ok := c.packedHead(x)
	if !ok {
		return nil
	}
	n := to
	if withBody {
		n = int(x.size)
	}
	b := make([]byte, n)
	c.readCells(x, b)
	v := &view{}
	// Nobody changes b any more: strings may share it.
	d := decoder{
		rest: unsafe.String(unsafe.SliceData(b), to)[from:], trusted: true, fieldRoom: v.fields[:], selectorRoom: v.sel[:],
	}
	rec := record{obj: &v.obj}
	if !rec.parse(&d) {
		return nil
	}
	v.entry.id, v.entry.key, v.entry.hash, v.entry.obj, v.entry.sel, v.entry.body = id, rec.key, x.hash, &v.obj, rec.sel, &v.body
	v.obj.received, v.obj.body, v.obj.serial = received, &v.body, x.serial
	v.body.budget, v.body.phase, v.body.trailers = &c.budget, complete, rec.trailers
	v.body.size = int64(l.body)
	if withBody {
		v.encoded.c, v.encoded.views, v.obj.encoded = c, &s.views, &v.encoded
		if end := to + l.body; to < end {
			v.chunk[0].data = b[to:end:end]
			v.body.chunks = v.chunk[:]
		}
		c.unpackCoded(v, &l, b[to:])
		v.body.frozen.Store(true)
	}
	return &v.entry
}

// creditForView takes the bytes for a view, for which others go where there are none. Without any, evict says that objects may be evicted for it. The
// shard is locked.
func (c *Cache) creditForView(s *shard, size uint32) (credit int64, evict bool) {
	n, v := viewCost(size), &s.views
	for range maxSwept {
		if len(v.all) < v.max {
			if c.budget.take(n) {
				return n, false
			}
			if v.bytes.Load()+n <= v.share {
				return 0, true
			}
		}
		if len(v.all) == 0 {
			break
		}
		c.turnClock(s)
	}
	return 0, false
}

// turnClock drops the view under the clock's hand if it was not asked for since the hand came by. The shard is locked.
func (c *Cache) turnClock(s *shard) bool {
	v := &s.views
	v.hand++
	e := v.all[v.hand%len(v.all)]
	if e.used.Swap(false) || e.body.inUse() {
		return false
	}
	c.dropView(s, e)
	return true
}

// reclaimViews drops some of the views that have more than their share; false when there are none that may go.
func (c *Cache) reclaimViews() bool {
	for range shardCount {
		s := &c.shards[c.reclaimed.Add(1)%shardCount]
		if s.views.bytes.Load() > s.views.share && c.reclaimFrom(s) {
			return true
		}
	}
	return false
}

// reclaimFrom drops a few views. Where all have been asked for, one in four goes all the same: an object counts for more.
func (c *Cache) reclaimFrom(s *shard) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, dropped := &s.views, 0
	for i := 1; i <= maxSwept && dropped < maxReclaimed && v.bytes.Load() > v.share && len(v.all) > 0; i++ {
		if i%4 == 0 && dropped == 0 {
			v.all[(v.hand+1)%len(v.all)].used.Store(false)
		}
		if c.turnClock(s) {
			dropped++
		}
	}
	return dropped > 0
}

// makeView unpacks a slot. credit is what was taken for it; without enough the object serves but is not kept. The shard is locked.
func (c *Cache) makeView(s *shard, id uint32, credit int64) *entry {
	e := c.unpacked(s, id, true)
	if e == nil {
		c.budget.release(credit)
		return nil
	}
	v, x := &s.views, s.table.slot(id)
	n := e.viewCost(x.size)
	if credit < n && c.budget.take(n-credit) {
		credit = n
	}
	if credit < n || len(v.all) >= v.max {
		c.budget.release(credit)
		e.obj.encoded = nil
		e.obj.coded.drop()
		e.body.detach()
		return e
	}
	c.budget.release(credit - n)
	e.body.charged, e.cost = n, n
	if d := e.obj.coded; d != nil {
		d.view = e
		e.body.charged -= d.bodies.charge() // whoever sends a form holds that alone
	}
	v.all = append(v.all, e)
	v.bytes.Add(n)
	x.entry = uint32(len(v.all))
	c.views.Add(1)
	return e
}

// dropView leaves a slot packed. The shard is locked.
func (c *Cache) dropView(s *shard, e *entry) {
	v, x := &s.views, s.table.slot(e.id)
	last := len(v.all) - 1
	i := int(x.entry) - 1
	v.all[i] = v.all[last]
	s.table.slot(v.all[i].id).entry = x.entry
	v.all[last] = nil
	v.all = v.all[:last]
	x.entry = 0
	v.bytes.Add(-e.cost)
	e.gone = true
	e.obj.encoded.retire(e.body)
	e.obj.coded.drop()
	e.body.detach()
	c.views.Add(-1)
}
