package bgp

import (
	"encoding/binary"
	"slices"
)

// Segment types of AS_PATH, RFC 4271 section 4.3 and RFC 5065.
const (
	segmentSet            = 1
	segmentSequence       = 2
	segmentConfedSequence = 3
	segmentConfedSet      = 4
)

// communityGracefulShutdown is GRACEFUL_SHUTDOWN, RFC 8326: the route is about to be withdrawn.
const communityGracefulShutdown = 65535 << 16

// origin is what an AS path says of who announced the prefix.
type origin uint8

const (
	originUnclear origin = iota // the path can't be read, or is not a mere sequence
	originOurs                  // our AS number
	originForeign               // another one
	originNone                  // nobody beyond the neighbor itself
)

// decodeASPath appends the AS numbers of an AS_PATH, whose numbers have width octets. Segments of confederations are left out, as they
// do not count (RFC 5065 section 5.3). set says that there is an AS_SET: where it stands the order is not known. A segment
// of another type, an empty one, and one longer than the attribute make a path malformed (RFC 7606 section 7.2).
func decodeASPath(to []uint32, b []byte, width int) (numbers []uint32, set, ok bool) {
	for len(b) > 0 {
		if len(b) < 2 {
			return to, set, false
		}
		kind, n := b[0], int(b[1])
		b = b[2:]
		if n == 0 || len(b) < n*width || kind < segmentSet || kind > segmentConfedSet {
			return to, set, false
		}
		set = set || kind == segmentSet
		for i := range n {
			if kind == segmentConfedSequence || kind == segmentConfedSet {
				break
			}
			if width == 2 {
				to = append(to, uint32(binary.BigEndian.Uint16(b[2*i:])))
			} else {
				to = append(to, binary.BigEndian.Uint32(b[4*i:]))
			}
		}
		b = b[n*width:]
	}
	return to, set, true
}

// asPath is the AS numbers of the UPDATE scanned last, the neighbor's first. They are valid until the next scan.
//
// On a session with two-octet numbers AS4_PATH has the last of them in full, and the path is what AS_PATH has more than it, before
// it (RFC 6793 section 4.2.3). On others, and when it is malformed, it is ignored (sections 4.1 and 6).
func (s *scanner) asPath() (numbers []uint32, set, ok bool) {
	a := &s.attributes
	if !a.seen[attrASPath] {
		return nil, false, false
	}
	width := 2
	if s.fourOctet {
		width = 4
	}
	s.numbers[0], set, ok = decodeASPath(s.numbers[0][:0], a.asPath, width)
	if !ok || s.fourOctet || !a.seen[attrAS4Path] {
		return s.numbers[0], set, ok
	}
	long, longSet, longOK := decodeASPath(s.numbers[1][:0], a.as4Path, 4)
	s.numbers[1] = long
	if first := len(s.numbers[0]) - len(long); longOK && first >= 0 {
		copy(s.numbers[0][first:], long)
		set = set || longSet
	}
	return s.numbers[0], set, true
}

// originOf says who announced a path that a neighbor told of. Ours is a path at whose end there is our AS number, as often as it was
// prepended; upstream is the AS number before that, which took the announcement from us or from an edge elsewhere. With nothing before
// it, as from a route server or an internal neighbor, upstream is the neighbor's.
func originOf(numbers []uint32, neighbor, own uint32) (o origin, upstream uint32) {
	if slices.Contains(numbers, asTrans) {
		return originUnclear, 0 // a number that did not fit, with no AS4_PATH to tell which
	}
	end := len(numbers)
	for end > 0 && numbers[end-1] == own {
		end--
	}
	switch {
	case end < len(numbers) && end > 0:
		return originOurs, numbers[end-1]
	case end < len(numbers):
		return originOurs, neighbor
	case !slices.ContainsFunc(numbers, func(n uint32) bool { return n != neighbor }):
		return originNone, 0
	}
	return originForeign, 0
}

// gracefulShutdown says whether the UPDATE scanned last has the community; ok is false when its communities can't be read.
func (s *scanner) gracefulShutdown() (has, ok bool) {
	b := s.attributes.communities
	if len(b)%4 != 0 {
		return false, false
	}
	for ; len(b) > 0; b = b[4:] {
		has = has || binary.BigEndian.Uint32(b) == communityGracefulShutdown
	}
	return has, true
}
