package cache

import (
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestAPurgeIsNeverForgotten compares a slot with one that remembers every purge.
func TestAPurgeIsNeverForgotten(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	exact := 0
	for range 200 {
		var p purgeSlot
		var all [5]uint64
		for number := uint64(1); number < 40; number++ {
			url := rnd.Uint64N(5)
			p.note(url+1, number)
			all[url] = number
			for u, last := range all {
				if got := p.last(uint64(u) + 1); got < last || got > number {
					t.Fatalf("URL %d, last purged at %d: %d", u, last, got)
				} else if got == last {
					exact++
				}
			}
		}
	}
	if exact < 200*39*2 {
		t.Errorf("%d exact answers: the last two are told apart", exact)
	}
	if n := unsafe.Sizeof(purgeSlot{}); n != purgeSlotBytes {
		t.Errorf("a slot has %d bytes", n)
	}
}

func TestPurgesOfOtherURLsLeaveAFillAlone(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	s := h.shard(f.hash)
	for _, other := range []uint64{1, 2} { // of the same slot
		s.notePurge(f.url ^ other<<48)
	}
	if got := w.Commit(nil); got != ReasonStored {
		t.Errorf("%v: it was not purged", got)
	}
}
