package disk

import "sync"

// The index knows where the newest record of each hash and variant is. It holds no pointers but those to its few blocks, so that the
// garbage collector has nothing to do with millions of entries: 32 bytes each, and 4 to 8 for the table that leads to them.

const (
	indexShards = 64 // a power of two
	blockSize   = 1024
	// maxVariants bounds the records of one hash; the oldest makes room.
	maxVariants = 128
	// indexCost is what a record takes in the index: 32 bytes, up to 8 of the table that leads to it.
	indexCost = 40
	// minRecords is the smallest bound of the index.
	minRecords = 16 << 10
)

// place is where a record is.
type place struct {
	segment uint32
	offset  uint32 // in units of align
	size    uint32
}

// entry is a record in the index.
type entry struct {
	hash    uint64
	place   place
	variant uint32
	next    uint32 // the next of the bucket, newest first; slot number plus one, 0: none
	flags   uint32 // its kind, and whether it has been read
}

const (
	flagKind = 0xff
	flagHot  = 1 << 8
)

type index struct{ shards [indexShards]indexShard }

type indexShard struct {
	mu      sync.Mutex
	buckets []uint32 // a power of two of them
	blocks  []*[blockSize]entry
	used    uint32 // slots handed out so far
	free    uint32 // a list through next, slot number plus one
	count   int
	dead    map[ident]struct{} // while older segments are still to be read: what they may not bring back
	allDead bool               // which is all of it
}

// ident is a hash and a variant; every variant when all is set.
type ident struct {
	hash    uint64
	variant uint32
	all     bool
}

func (x *index) shard(hash uint64) *indexShard { return &x.shards[hash>>58] }

// startLoading makes the index remember what goes.
func (x *index) startLoading() {
	for i := range x.shards {
		x.shards[i].dead = make(map[ident]struct{})
	}
}

func (x *index) endLoading() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		s.dead, s.allDead = nil, false
		s.mu.Unlock()
	}
}

func (s *indexShard) at(slot uint32) *entry { return &s.blocks[(slot-1)/blockSize][(slot-1)%blockSize] }

func (s *indexShard) bucket(hash uint64) *uint32 { return &s.buckets[hash&uint64(len(s.buckets)-1)] }

// alloc returns a free slot.
func (s *indexShard) alloc() uint32 {
	s.count++
	if slot := s.free; slot != 0 {
		s.free = s.at(slot).next
		return slot
	}
	if int(s.used) == len(s.blocks)*blockSize {
		s.blocks = append(s.blocks, new([blockSize]entry))
	}
	s.used++
	return s.used
}

// unlink takes the entry that *link leads to out.
func (s *indexShard) unlink(link *uint32) {
	slot := *link
	e := s.at(slot)
	if s.dead != nil && kind(e.flags&flagKind) != kindPart {
		s.dead[ident{hash: e.hash, variant: e.variant}] = struct{}{}
	}
	*link = e.next
	*e = entry{next: s.free}
	s.free = slot
	s.count--
}

func (s *indexShard) grow() {
	if s.count < len(s.buckets) {
		return
	}
	old := s.buckets
	s.buckets = make([]uint32, max(2*len(old), 64))
	for _, slot := range old {
		// The list is turned around twice, which keeps the newest first.
		var turned uint32
		for slot != 0 {
			e := s.at(slot)
			slot, turned, e.next = e.next, slot, turned
		}
		for turned != 0 {
			e := s.at(turned)
			b := s.bucket(e.hash)
			turned, *b, e.next = e.next, turned, *b
		}
	}
}

// same reports whether an entry stands for the same thing: parts and objects never do.
func (e *entry) same(hash uint64, k kind) bool {
	return e.hash == hash && (kind(e.flags&flagKind) == kindPart) == (k == kindPart)
}

// put notes the newest record of its hash and variant.
func (x *index) put(hash uint64, variant uint32, k kind, at place) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.grow()
	var oldest *uint32
	n := 0
	for link := s.bucket(hash); *link != 0; {
		e := s.at(*link)
		if !e.same(hash, k) {
			link = &e.next
			continue
		}
		if e.variant == variant {
			s.unlink(link)
			continue
		}
		oldest = link
		n++
		link = &e.next
	}
	if n >= maxVariants {
		s.unlink(oldest)
	}
	slot, b := s.alloc(), s.bucket(hash)
	*s.at(slot) = entry{hash: hash, place: at, variant: variant, next: *b, flags: uint32(k)}
	*b = slot
}

// putOlder notes a record that is older than all that are known of its hash, unless one of those makes it obsolete.
func (x *index) putOlder(hash uint64, variant uint32, k kind, at place) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.allDead {
		return
	}
	if k != kindPart {
		if _, ok := s.dead[ident{hash: hash, all: true}]; ok {
			return
		}
		if _, ok := s.dead[ident{hash: hash, variant: variant}]; ok {
			return
		}
	}
	s.grow()
	n := 0
	link := s.bucket(hash)
	for *link != 0 {
		e := s.at(*link)
		if e.same(hash, k) {
			if n++; e.variant == variant || n >= maxVariants {
				return
			}
		}
		link = &e.next
	}
	slot := s.alloc() // may not move what link points into: blocks stay where they are
	*s.at(slot) = entry{hash: hash, place: at, variant: variant, flags: uint32(k)}
	*link = slot
}

// found is what the index says of a record.
type found struct {
	place
	variant uint32
	kind    kind
}

// find appends the records of a hash to dst, the newest first.
func (x *index) find(dst []found, hash uint64, k kind) []found {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buckets) == 0 {
		return dst
	}
	for slot := *s.bucket(hash); slot != 0; {
		e := s.at(slot)
		if e.same(hash, k) {
			dst = append(dst, found{e.place, e.variant, kind(e.flags & flagKind)})
		}
		slot = e.next
	}
	return dst
}

// heat marks the newest record of the hash as read; false when there is none.
func (x *index) heat(hash uint64, k kind) bool {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lookup(hash, k, nil)
	if e != nil {
		e.flags |= flagHot
	}
	return e != nil
}

// has reports whether there is a record of the hash.
func (x *index) has(hash uint64, k kind) bool {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(hash, k, nil) != nil
}

// lookup is the entry of the hash at that place, or its newest one.
func (s *indexShard) lookup(hash uint64, k kind, at *place) *entry {
	if len(s.buckets) == 0 {
		return nil
	}
	for slot := *s.bucket(hash); slot != 0; {
		e := s.at(slot)
		if e.same(hash, k) && (at == nil || e.place == *at) {
			return e
		}
		slot = e.next
	}
	return nil
}

// touch marks the record at that place as read.
func (x *index) touch(hash uint64, k kind, at place) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.lookup(hash, k, &at); e != nil {
		e.flags |= flagHot
	}
}

// state reports whether the record at that place is still the one that counts, and whether it has been read.
func (x *index) state(hash uint64, k kind, at place) (live, hot bool) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lookup(hash, k, &at)
	return e != nil, e != nil && e.flags&flagHot != 0
}

// move notes that a record has been appended anew; false when it has gone meanwhile. It counts as unread then.
func (x *index) move(hash uint64, k kind, from, to place) bool {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.lookup(hash, k, &from)
	if e == nil {
		return false
	}
	e.place = to
	e.flags &^= flagHot
	return true
}

// remove takes out the record at that place.
func (x *index) remove(hash uint64, k kind, at place) bool {
	return x.removeIf(hash, k, func(e *entry) bool { return e.place == at }) > 0
}

// removeVariant takes out one variant.
func (x *index) removeVariant(hash uint64, variant uint32) int {
	return x.removeIf(hash, kindObject, func(e *entry) bool { return e.variant == variant })
}

// removeAll takes out all variants of a hash, older ones that are still to be read from disk included.
func (x *index) removeAll(hash uint64) int {
	n := x.removeIf(hash, kindObject, func(*entry) bool { return true })
	x.bury(ident{hash: hash, all: true})
	return n
}

// bury keeps records of that hash and variant that are still to be read from disk out of the index.
func (x *index) bury(id ident) {
	s := x.shard(id.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead != nil {
		s.dead[id] = struct{}{}
	}
}

func (x *index) removeIf(hash uint64, k kind, which func(*entry) bool) (n int) {
	s := x.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.buckets) == 0 {
		return 0
	}
	for link := s.bucket(hash); *link != 0; {
		e := s.at(*link)
		if e.same(hash, k) && which(e) {
			s.unlink(link)
			n++
			continue
		}
		link = &e.next
	}
	return n
}

// giveUp empties the index, and keeps what is still to be read from disk out of it.
func (x *index) giveUp() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		s.buckets, s.blocks, s.used, s.free, s.count = nil, nil, 0, 0, 0
		s.allDead = true
		s.mu.Unlock()
	}
}

// size is the number of entries and the bytes that they take.
func (x *index) size() (entries int, bytes int64) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		entries += s.count
		bytes += int64(len(s.buckets))*4 + int64(len(s.blocks))*blockSize*32
		s.mu.Unlock()
	}
	return entries, bytes
}
