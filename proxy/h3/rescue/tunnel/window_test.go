package tunnel

import (
	"math/rand/v2"
	"testing"
)

// The window takes what a set would take, within its reach.
func TestWindow(t *testing.T) {
	r := rand.New(newRandom(1))
	for range 50 {
		var w window
		top := uint64(0)
		if r.IntN(2) == 0 {
			top = r.Uint64N(1 << 20)
			w.reset(top)
			for n := range min(top, 2*windowBits) {
				if w.take(top - n) {
					t.Fatalf("%d is new after a reset to %d", top-n, top)
				}
			}
		}
		start := top
		used := map[uint64]bool{}
		for range 20_000 {
			n := top
			switch r.IntN(20) {
			case 0:
				n += r.Uint64N(3 * windowBits)
			case 1, 2, 3:
				n += r.Uint64N(200)
			case 4, 5, 6:
				n -= min(n, r.Uint64N(2*windowBits))
			default:
				n += r.Uint64N(3)
				n -= min(n, r.Uint64N(100))
			}
			reset := start != 0 && n <= start
			want := !used[n] && !reset && (n > top || top-n < windowBits)
			if got := w.take(n); got != want {
				t.Fatalf("%d after %d: %v", n, top, got)
			}
			used[n] = true
			top = max(top, n)
		}
	}
}

func TestWindowReach(t *testing.T) {
	var w window
	w.take(1 << 20)
	if windowBits < 4096 || !w.take(1<<20-4096) || !w.take(1<<20-windowBits+1) || w.take(1<<20-windowBits) {
		t.Fatal("the window is not as far as it says")
	}
}
