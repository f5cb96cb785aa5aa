package h2

// history remembers what became of the last 64 streams that a client could open, so that frames on a closed stream are answered as
// RFC 9113 §5.1 has it. The i-th bit stands for the i-th stream before the last.
type history struct{ opened, resets uint64 }

type fate uint8

const (
	neverOpened fate = iota
	endedByBoth      // or reset by the client: nothing may come
	resetByUs        // something may have been on its way
	forgotten
)

// open notes the stream id, which comes after last.
func (h *history) open(id, last uint32) {
	n := (id - last + 1) / 2 // streams ahead
	h.opened = h.opened<<n | 1
	h.resets <<= n
}

func (h *history) reset(id, last uint32) {
	if n := (last - id) / 2; n < 64 {
		h.resets |= 1 << n
	}
}

// clientReset notes that the client has ended the stream for its part, too: nothing can be on its way any more.
func (h *history) clientReset(id, last uint32) {
	if n := (last - id) / 2; n < 64 {
		h.resets &^= 1 << n
	}
}

// fate is what became of the stream id.
func (h *history) fate(id, last uint32) fate {
	n := (last - id) / 2
	switch {
	case n >= 64:
		return forgotten
	case h.opened>>n&1 == 0:
		return neverOpened
	case h.resets>>n&1 == 1:
		return resetByUs
	}
	return endedByBoth
}
