package h3

import (
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

// inboxSize is how many datagrams wait for a generation that does not read its socket, or came in by another one. QUIC sends again what is dropped.
const inboxSize = 512

// inbox is a bounded queue of datagrams. Its memory comes with the first that need it.
type inbox struct {
	waiting atomic.Int32 // what is in the ring, to see without the lock

	mu    sync.Mutex
	ring  []datagram
	first int
}

// datagram is a copy of what a socket has read.
type datagram struct {
	data, oob []byte
	addr      net.Addr
}

// put takes a copy of m; false when the inbox is full.
func (q *inbox) put(m *ipv4.Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := int(q.waiting.Load())
	if n == inboxSize {
		return false
	}
	if q.ring == nil {
		q.ring = make([]datagram, inboxSize)
	}
	d := &q.ring[(q.first+n)%inboxSize]
	d.data = append(d.data[:0], m.Buffers[0][:m.N]...)
	d.oob = append(d.oob[:0], m.OOB[:m.NN]...)
	d.addr = m.Addr
	q.waiting.Add(1)
	return true
}

// take moves as many datagrams to ms as there are and fit.
func (q *inbox) take(ms []ipv4.Message) (n int) {
	if q.waiting.Load() == 0 {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for ; n < len(ms) && q.waiting.Load() > 0; n++ {
		m, d := &ms[n], &q.ring[q.first]
		m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], d.data), copy(m.OOB, d.oob), 0, d.addr
		d.addr = nil
		q.first = (q.first + 1) % inboxSize
		q.waiting.Add(-1)
	}
	return n
}
