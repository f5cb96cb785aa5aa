package tunnel

import (
	"sync"
	"time"
)

const (
	maxHalves  = 256         // that wait for the other; the oldest goes
	halfExpiry = time.Second // after which nobody waits for a packet any more
)

// halves are packets of which one half is here, in a ring in the order in which they came. The other half is mostly right behind, so that the
// ring is short.
type halves struct {
	mu   sync.Mutex
	ring []half // maxHalves, once there is one
	head int    // of the oldest
	n    int
}

type half struct {
	pair     *pair  // nil: both were here
	sequence uint64 // of the first half
	part     piece
	octet1   uint8
	octet3   uint8 // without the part
	at       time.Duration
	b        []byte // kept for the next
}

// join puts a packet together in b, when both halves are here.
func (l *Link) join(at time.Duration, p *pair, part piece, sequence uint64, b, plain []byte) (Opened, error) {
	if part == second {
		sequence--
	}
	octet1, octet3 := b[1], b[3]&^pieceMask
	h := &l.halves
	h.mu.Lock()
	defer h.mu.Unlock()
	l.counts.halvesLost.Add(h.expire(at))
	other := h.find(p, sequence)
	if other == nil {
		l.counts.halvesLost.Add(h.add(half{pair: p, sequence: sequence, part: part, octet1: octet1, octet3: octet3, at: at}, plain))
		return Opened{}, nil
	}
	other.pair = nil
	h.shrink()
	if other.part == part || other.octet1 != octet1 || other.octet3 != octet3 {
		l.counts.malformed.Add(1)
		return Opened{}, ErrMalformed
	}
	a, z := other.b, plain
	if part == first {
		a, z = plain, other.b
	}
	o := Opened{Kind: Kind(octet1 & typeMask >> typeShift)}
	var ok bool
	if o.Client, a, ok = client(a, octet3); !ok || len(a) == 0 || len(z) == 0 || len(a)+len(z) > MaxPacket {
		l.counts.malformed.Add(1)
		return Opened{}, ErrMalformed
	}
	o.Packet = concatenate(b, a, z, part)
	l.counts.opened.Add(1)
	return o, nil
}

// concatenate writes a and z to where b is, when there is room. One of them is part of b: z when that is the newer one.
func concatenate(b, a, z []byte, newer piece) []byte {
	n := len(a) + len(z)
	if cap(b) < n {
		return append(append(make([]byte, 0, n), a...), z...)
	}
	b = b[:n]
	if newer == second { // what is part of b goes to its place before the other covers it
		copy(b[len(a):], z)
		copy(b, a)
	} else {
		copy(b, a)
		copy(b[len(a):], z)
	}
	return b
}

func (h *halves) slot(i int) *half { return &h.ring[(h.head+i)%maxHalves] }

// find looks from the newest to the oldest.
func (h *halves) find(p *pair, sequence uint64) *half {
	for i := h.n - 1; i >= 0; i-- {
		if s := h.slot(i); s.pair == p && s.sequence == sequence {
			return s
		}
	}
	return nil
}

// add keeps a half, and returns how many others had to go.
func (h *halves) add(n half, plain []byte) (lost uint64) {
	if h.ring == nil {
		h.ring = make([]half, maxHalves)
	}
	if h.n == maxHalves {
		if h.slot(0).pair != nil {
			lost = 1
		}
		h.drop()
	}
	s := h.slot(h.n)
	n.b = append(s.b[:0], plain...)
	*s = n
	h.n++
	return lost
}

// expire drops what is too old, and returns how many of it were still waiting.
func (h *halves) expire(at time.Duration) (lost uint64) {
	for h.n > 0 {
		s := h.slot(0)
		if s.pair != nil {
			if at-s.at <= halfExpiry {
				break
			}
			lost++
		}
		h.drop()
	}
	return lost
}

// shrink gives back the slots at both ends that nothing waits in.
func (h *halves) shrink() {
	for h.n > 0 && h.slot(h.n-1).pair == nil {
		h.n--
	}
	for h.n > 0 && h.slot(0).pair == nil {
		h.drop()
	}
}

// drop drops the oldest.
func (h *halves) drop() {
	h.slot(0).pair = nil
	h.head = (h.head + 1) % maxHalves
	h.n--
}
