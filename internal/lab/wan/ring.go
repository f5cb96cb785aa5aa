package wan

import "encoding/binary"

// header precedes every record of a ring: length (4 bytes) and due time (8 bytes).
const header = 12

// ring is a first-in first-out queue of packets in one fixed buffer, without allocation. Every record is contiguous, so that a
// packet is read from a device straight into its place and written from there: what does not fit before the end of the
// buffer goes to its beginning, and end marks where the older records stop.
//
//	not wrapped:  ....[head ... tail)....        wrapped:  [0 ... tail)....[head ... end)..
type ring struct {
	buf        []byte
	head, tail int
	end        int // meaningful while wrapped
	wrapped    bool
	count      int // records, which tells full from empty when head meets tail
}

func newRing(size int) *ring { return &ring{buf: make([]byte, size)} }

// reserve returns room for a packet of up to n bytes, or nil. It is the caller's until the next call.
func (q *ring) reserve(n int) []byte {
	need := header + n
	if q.count == 0 {
		q.head, q.tail, q.wrapped = 0, 0, false
	}
	limit := len(q.buf)
	if q.wrapped {
		limit = q.head
	} else if limit-q.tail < need && q.head >= need {
		q.end, q.tail, q.wrapped = q.tail, 0, true
		limit = q.head
	}
	if limit-q.tail < need {
		return nil
	}
	return q.buf[q.tail+header : q.tail+need]
}

// commit queues the first n bytes of what reserve returned.
func (q *ring) commit(due int64, n int) {
	binary.LittleEndian.PutUint32(q.buf[q.tail:], uint32(n))
	binary.LittleEndian.PutUint64(q.buf[q.tail+4:], uint64(due))
	q.tail += header + n
	q.count++
}

// front returns the oldest packet and when it is due. It stays valid until pop.
func (q *ring) front() (due int64, packet []byte, ok bool) {
	if q.count == 0 {
		return 0, nil, false
	}
	q.unwrap()
	n := int(binary.LittleEndian.Uint32(q.buf[q.head:]))
	due = int64(binary.LittleEndian.Uint64(q.buf[q.head+4:]))
	return due, q.buf[q.head+header : q.head+header+n], true
}

// pop removes the oldest packet.
func (q *ring) pop() {
	q.unwrap()
	q.head += header + int(binary.LittleEndian.Uint32(q.buf[q.head:]))
	q.count--
}

func (q *ring) unwrap() {
	if q.wrapped && q.head == q.end {
		q.head, q.wrapped = 0, false
	}
}
