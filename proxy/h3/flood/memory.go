package flood

import (
	"sync/atomic"
	"time"
)

// tick is a time of 2^24 ns, some 17 ms. Its low 24 bits are kept, which go round once in three days.
type tick uint32

const tickMask = 1<<24 - 1

func ticks(d time.Duration) tick { return tick(d >> 24) }

// ways is the number of places for a key: what fits in half a cache line.
const ways = 4

// memory remembers keys for a while, in a table of fixed size. An entry is one word:
//
//	32 bits of the key | 24 bits time | 8 bits state
//
// so that it is read and written at once. Two writers at the same place may lose one's entry; another key passes for this one with a probability
// of 2^-30. Both make a packet's luck better or worse, and no more.
type memory struct {
	places []atomic.Uint64
}

func newMemory(entries int) memory { return memory{make([]atomic.Uint64, entries)} }

// entry is what is remembered of a key.
type entry struct {
	at    tick
	age   tick
	state uint8
}

// mark is the part of the key that is kept, never 0: a place that is 0 is empty.
func mark(key uint64) uint64 { return key>>32 | 1 }

// set is where the key may be.
func (m *memory) set(key uint64) []atomic.Uint64 {
	i := key % uint64(len(m.places)/ways) * ways
	return m.places[i : i+ways]
}

// get returns what is remembered of the key, if that is not older than life.
func (m *memory) get(key uint64, now tick, life time.Duration) (entry, bool) {
	set, mark := m.set(key), mark(key)
	for i := range set {
		if w := set[i].Load(); w>>32 == mark {
			e := entry{at: tick(w >> 8 & tickMask), state: uint8(w)}
			e.age = (now - e.at) & tickMask
			return e, e.age <= ticks(life)
		}
	}
	return entry{}, false
}

// put changes what is remembered of the key, if it is.
func (m *memory) put(key uint64, at tick, state uint8) {
	set, mark := m.set(key), mark(key)
	for i := range set {
		if set[i].Load()>>32 == mark {
			set[i].Store(word(mark, at, state))
			return
		}
	}
}

// add remembers the key, in place of the oldest when there is no room. forgot is true when that was not older than life.
func (m *memory) add(key uint64, now tick, state uint8, life time.Duration) (forgot bool) {
	set, mark := m.set(key), mark(key)
	place, oldest := 0, tick(0)
	forgot = true
	for i := range set {
		w := set[i].Load()
		if w>>32 == mark {
			place, forgot = i, false
			break
		}
		age := (now - tick(w>>8)) & tickMask
		if w == 0 {
			age = tickMask
		}
		if age >= oldest {
			place, oldest, forgot = i, age, age <= ticks(life)
		}
	}
	set[place].Store(word(mark, now, state))
	return forgot
}

func word(mark uint64, at tick, state uint8) uint64 {
	return mark<<32 | uint64(at&tickMask)<<8 | uint64(state)
}
