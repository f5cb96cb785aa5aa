package cache

import (
	"sync"
	"sync/atomic"

	"nearcast/proxy/message"
)

// encodedOverhead is what one kept form takes besides its bytes.
const encodedOverhead = 24

// encoded keeps the forms in which a stored object's field section goes out, one for each protocol. Their bytes are the budget's, from
// when they are made until the object leaves the index.
type encoded struct {
	c     *Cache
	views *viewSet // of which the object is; nil: it is none of them
	forms [message.HTTP3 + 1]atomic.Pointer[[]byte]

	mu      sync.Mutex
	charged int64
	gone    bool // the object has left the index: nothing more is kept
}

// Encoded implements message.Block: the form is made once for each protocol and kept as long as the object is stored. One that the budget
// has no room for is made anew each time.
func (o *Object) Encoded(p message.Protocol, encode func(dst []byte, f message.Fields) []byte) []byte {
	e := o.encoded
	if e == nil || int(p) >= len(e.forms) {
		return encode(nil, o.Fields)
	}
	if b := e.forms[p].Load(); b != nil {
		return *b
	}
	b := encode(nil, o.Fields)
	b = append(make([]byte, 0, len(b)), b...) // to size: it is kept
	e.keep(p, b)
	return b
}

// keep pays for a form and keeps it. The room is made without e's lock: it may be this very object that is evicted for it.
func (e *encoded) keep(p message.Protocol, b []byte) {
	n := int64(cap(b)) + encodedOverhead
	if !e.c.reserve(n) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone || !e.forms[p].CompareAndSwap(nil, &b) {
		e.c.budget.release(n)
		return
	}
	e.count(n)
}

// count notes bytes that the forms take. e is locked.
func (e *encoded) count(n int64) {
	e.charged += n
	if e.views != nil {
		e.views.bytes.Add(n)
	}
}

// retire leaves what the forms have cost to the body, until nobody reads it any more: who sends the one sends the other.
func (e *encoded) retire(b *body) {
	if e == nil {
		return
	}
	e.mu.Lock()
	n := e.charged
	e.gone = true
	e.count(-n)
	e.mu.Unlock()
	b.charge(n)
}

// release gives back what the forms have cost. Whoever sends one still may: like the object's fields, it is gone with its last user.
func (e *encoded) release() {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	e.c.budget.release(e.charged)
	e.count(-e.charged)
}

var _ message.Block = (*Object)(nil)
