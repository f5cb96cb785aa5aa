package tunnel

import "time"

const (
	maxLost     = 3                // probes in a row, before a size counts as too large (RFC 8899 §5.1.2, MAX_PROBES)
	granularity = 8                // octets between what is confirmed and what is too large that are not worth a probe
	raiseAfter  = 60 * time.Second // until a larger size is tried again: routes change more often than §5.1.1 thinks
	checkAfter  = 30 * time.Second // until a size that is not in use is tried again
)

// search finds what the path carries, in the way of RFC 8899: padded hellos, of which the peer confirms the latest. Datagrams that are too large
// vanish without a word.
type search struct {
	confirmed int // octets of UDP payload
	tooLarge  int // the least size that is known to be lost

	size     int    // of the probe that is under way; 0: none
	first    uint64 // its hello's number, the first one's of that size
	lost     int    // of that size
	deadline time.Duration

	used      bool // larger datagrams than the base since the last check
	checked   time.Duration
	exhausted time.Duration // when the search had ended
}

func newSearch() search { return search{confirmed: BaseDatagram, tooLarge: MaxDatagram + 1} }

// next returns the size of a probe to be sent now, 0 for none. hole: what was confirmed has turned out to be lost.
func (s *search) next(at, rtt, interval time.Duration, used bool) (size int, hole bool) {
	s.used = s.used || used
	if s.size > 0 {
		if at < s.deadline {
			return 0, false
		}
		if s.lost++; s.lost >= maxLost {
			hole = s.fail(at)
		}
	}
	if s.size == 0 {
		s.size, s.first, s.lost = s.pick(at, interval), 0, 0
	}
	if s.size > 0 {
		s.deadline = at + rtt + rtt/2 + 2*interval // the peer confirms in its next hello
	}
	return s.size, hole
}

// fail is for a size that was lost too often.
func (s *search) fail(at time.Duration) (hole bool) {
	s.tooLarge, s.size = s.size, 0
	if s.tooLarge <= s.confirmed {
		s.confirmed, hole = BaseDatagram, true
	}
	s.exhausted = at
	return hole
}

// pick returns what to try next: the largest first, which most paths carry, then what halves the rest.
func (s *search) pick(at, interval time.Duration) int {
	if s.confirmed > BaseDatagram && (at-s.checked > checkAfter || s.used && at-s.checked >= 4*interval) {
		s.checked, s.used = at, false
		return s.confirmed
	}
	if s.tooLarge <= MaxDatagram && at-s.exhausted > raiseAfter {
		s.tooLarge = MaxDatagram + 1
	}
	switch {
	case s.tooLarge-s.confirmed <= granularity && (s.tooLarge <= MaxDatagram || s.confirmed == MaxDatagram):
		return 0
	case s.tooLarge > MaxDatagram:
		return MaxDatagram
	}
	return (s.confirmed + s.tooLarge) / 2
}

// sent says which hello the probe was.
func (s *search) sent(number uint64) {
	if s.first == 0 {
		s.first = number
	}
}

// acked takes the confirmation of a probe.
func (s *search) acked(number uint64, size int, at time.Duration) {
	if s.size == 0 || s.first == 0 || number < s.first || size != s.size {
		return // an old one: what it says may not be true any more
	}
	s.size, s.checked = 0, at
	if size > s.confirmed {
		s.confirmed, s.exhausted = size, at
	}
}

// pause is for when the peer does not answer at all.
func (s *search) pause() { s.size, s.lost = 0, 0 }
