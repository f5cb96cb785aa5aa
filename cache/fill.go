package cache

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
)

var (
	// ErrGone: the body passes through without being kept, and its beginning is gone.
	ErrGone = errors.New("cache: the beginning of the body is no longer held")
	// ErrLagging ends a reader that has kept everyone else from a body that passes through for too long.
	ErrLagging = errors.New("cache: the reader fell too far behind a response that is too large to store")
	// ErrAbandoned tells the leader that nothing is stored any more and nobody reads: the fetch may be given up.
	ErrAbandoned = errors.New("cache: nobody reads the response any more")
	// ErrIncomplete ends the readers of a body that was shorter or longer than its Content-Length.
	ErrIncomplete = errors.New("cache: the body's length is not what the header section said")
)

// Response is a header section from the origin.
type Response struct {
	Status int
	Fields message.Fields
	// Length is the body's length, -1 when it is not known.
	Length int64
	// Requested is when the request was sent, Received when the header section had come (RFC 9111 §4.2.3).
	Requested, Received time.Time

	// Of a 206 that may be stored, what it is of a representation of which length. Length is then its body's.
	part  *extent
	whole int64
	// tags are those of what it completes, for it when it has none itself.
	tags tagSet
}

// Fill is one fetch that any number of requests share.
type Fill struct {
	// immutable
	c     *Cache
	key   Key
	hash  uint64
	url   uint64 // the hash of the key's URL
	born  uint64 // the shard's purges by then
	began uint64 // the number of the last purge by then (purge.go)
	ask   string // the range that is fetched, as the Range field has it; "" for the whole

	slicing slicing // of a slice; set by its leader

	// settled is set by the leader's first decision; decided is closed once it can be read.
	settled atomic.Bool
	decided chan struct{}

	// guarded by the shard's lock, and immutable once decided is closed
	sel    []selector // before the response: by what is known of the resource; then: by the response's Vary
	obj    *Object
	reason Reason
	err    error

	// guarded by the shard's lock
	listed  bool // in shard.fills
	writing bool // its object is arriving: the Writer will unlist it
	next    *Fill
}

// newFill makes a fill. The shard is locked.
func (c *Cache) newFill(s *shard, key Key, hash uint64) *Fill {
	url := hash
	if key.selected {
		c.kinned.Store(true)
		url = key.urlHash(c.seed)
	}
	return &Fill{c: c, key: key.clone(), hash: hash, url: url, born: s.purges, began: c.purges.seq.Load(), decided: make(chan struct{})}
}

// Wanted reports whether a fetch in nobody's name is worth while: none is under way that would serve r, and the last answer to such a
// request could be shared. It takes a short lock and allocates nothing.
func (c *Cache) Wanted(now time.Time, key Key, r *message.Request) bool {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for f := s.fills[hash]; f != nil; f = f.next {
		if f.key == key && f.ask == "" && f.serves(now, r, &noDirectives) {
			return false
		}
	}
	return !s.refuses(crowd(hash, r, false), now)
}

// Refused reports whether the last answer to such a request could not be shared, so that a fetch in nobody's name is hardly worth while. ask is
// [Plan.Ask] for the fetch of a range, else "".
func (c *Cache) Refused(now time.Time, key Key, r *message.Request, ask string) bool {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return c.refuses(s, hash, r, ask, now)
}

// Begin starts the fetch for the key and the request's variant, or joins the one under way. The leader forwards, and must end the
// fill by exactly one call of Respond, NotModified or Fail (a panic or an early return included: a deferred Fail is harmless
// after the others). Everyone else calls Wait, or just goes away.
//
// A reload (no-cache) joins a fetch whose answer has not come yet, and not one that is arriving.
//
// After an answer that could not be shared, the key is remembered for 10 s, and every caller is made the leader of a fill of its
// own: nobody queues for nothing. HEAD leads a fill of its own too, for want of a body, but may join another's.
func (c *Cache) Begin(now time.Time, key Key, r *message.Request) (f *Fill, leader bool) {
	return c.begin(now, key, r, "")
}

func (c *Cache) begin(now time.Time, key Key, r *message.Request, ask string) (f *Fill, leader bool) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	d := requestDirectives(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.refuses(s, hash, r, ask, now) {
		f = c.newFill(s, key, hash)
		f.ask = ask
		return f, true
	}
	for f = s.fills[hash]; f != nil; f = f.next {
		if f.key == key && (f.ask == ask || f.reaches(r)) && f.serves(now, r, &d) {
			c.counters.collapsed.Inc()
			return f, false
		}
	}
	f = c.newFill(s, key, hash)
	f.ask = ask
	if variants := c.current(s, hash, key); len(variants) > 0 {
		// A fill may have ended between Lookup and here.
		if e := match(variants, r); e != nil && key.part == wholePart && judge(now, e.obj, &d, &Policy{}).State == Hit {
			if e = c.serving(s, e); e != nil {
				f.obj, f.sel = e.obj, e.sel
				f.settled.Store(true)
				close(f.decided)
				return f, false
			}
		}
		f.sel = reselect(variants[0].sel, r)
	}
	if r.Method == "GET" {
		f.listed, f.next, s.fills[hash] = true, s.fills[hash], f
		c.fills.Add(1)
	}
	return f, true
}

// crowd is what is remembered of a key: requests with credentials get other answers than those without, and those for a part too.
func crowd(hash uint64, r *message.Request, part bool) uint64 {
	if part {
		hash ^= 1 << 41 // which has a slot of its own in shard.refused
	}
	if r.Fields.Has("authorization") {
		return ^hash
	}
	return hash
}

// serves reports whether what the fill brings may serve r, as far as is known.
func (f *Fill) serves(now time.Time, r *message.Request, d *directives) bool {
	if !matches(f.sel, r) || f.purged() {
		return false
	}
	if f.obj == nil {
		return true
	}
	res := judge(now, f.obj, d, &Policy{})
	return res.State == Hit || res.ServeStaleWhileRevalidate
}

// Wait returns when the leader knows the header section:
//   - an object, to be read as it arrives;
//   - ReasonOtherVariant: the response is not for this request, or purged; Begin again (a few times at most);
//   - another Reason, without object and error: fetch for yourself, without Begin;
//   - an error: ctx ended, or what the leader gave to Fail.
//
// A waiter that leaves costs nothing.
func (f *Fill) Wait(ctx context.Context, r *message.Request) (*Object, Reason, error) {
	select {
	case <-f.decided:
	case <-ctx.Done():
		return nil, ReasonNone, context.Cause(ctx)
	}
	switch {
	case f.err != nil:
		return nil, ReasonFailed, f.err
	case f.obj == nil:
		return nil, f.reason, nil
	case !matches(f.sel, r), f.purged(): // r may have come after the purge
		return nil, ReasonOtherVariant, nil
	}
	return f.obj, ReasonNone, nil
}

// Fail ends the fill: every waiter gets err. It does nothing when the fill has already ended. It is also what the leader calls when
// it answers with a stale object instead of the origin's error: the waiters then do the same with theirs.
func (f *Fill) Fail(err error) {
	if err == nil {
		err = errors.New("cache: the fetch failed")
	}
	f.decide(func() { f.err = err })
}

// decide makes the leader's decision known, once; false when there was one already. Without an object that is still arriving the
// fill takes nobody more.
func (f *Fill) decide(note func()) bool {
	if !f.settled.CompareAndSwap(false, true) {
		return false
	}
	s := f.c.shard(f.hash)
	s.mu.Lock()
	note()
	if !f.writing {
		f.c.unlist(s, f)
	}
	s.mu.Unlock()
	close(f.decided)
	return true
}

// unlist takes the fill out of the table: nobody joins it any more.
func (c *Cache) unlist(s *shard, f *Fill) {
	if !f.listed {
		return
	}
	f.listed = false
	c.fills.Add(-1)
	if s.fills[f.hash] == f {
		if f.next == nil {
			delete(s.fills, f.hash)
		} else {
			s.fills[f.hash] = f.next
		}
		return
	}
	for p := s.fills[f.hash]; p != nil; p = p.next {
		if p.next == f {
			p.next = f.next
			return
		}
	}
}
