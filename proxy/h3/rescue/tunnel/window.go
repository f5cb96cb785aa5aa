package tunnel

import "sync"

// windowBits is how far back numbers are told apart: a socket that is read a third of a second later than others, at 100,000 packets a second.
const windowBits = 32768

// window remembers which numbers were used, as RFC 6479: a ring of words, the newest of which is cleared as it is entered. It takes each number
// once, and none that is too old to tell.
type window struct {
	mu   sync.Mutex
	top  uint64 // the highest number
	bits [windowBits/64 + 1]uint64
}

// take reports whether the number is new, and remembers it.
func (w *window) take(n uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	const words = uint64(len(w.bits))
	if n > w.top {
		from, to := w.top/64, n/64
		for i := from + 1; i <= to && i <= from+words; i++ {
			w.bits[i%words] = 0
		}
		w.top = n
	} else if w.top-n >= windowBits {
		return false
	}
	word, bit := &w.bits[n/64%words], uint64(1)<<(n%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// reset begins anew: n and what is below it count as used.
func (w *window) reset(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.top = n
	for i := range w.bits {
		w.bits[i] = ^uint64(0)
	}
	const words = uint64(len(w.bits))
	w.bits[n/64%words] = 1<<(n%64+1) - 1 // the higher numbers of that word are new; n%64 == 63 gives all
}
