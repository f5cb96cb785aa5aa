package bgp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Indices of the two families.
const (
	inet4 = iota
	inet6
	numFamilies
)

// familyIndex is ok for the families that are used here.
func familyIndex(afi, safi byte) (f int, ok bool) {
	return int(afi) - 1, (afi == 1 || afi == 2) && safi == 1
}

// watchList is the prefixes that are looked for in routers' UPDATEs. It does not change.
type watchList struct {
	prefixes []watchedPrefix
	index    map[nlri]int
	lengths  [numFamilies][129]bool // that a watched prefix has: most NLRI is passed over by its length alone
}

// watchedPrefix is an anycast prefix or, with a region, its beacon.
type watchedPrefix struct {
	prefix netip.Prefix
	region string
	own    bool // the edge's own region's
}

// foreign says whether the prefix is another region's beacon.
func (w watchedPrefix) foreign() bool { return w.region != "" && !w.own }

// nlri is a prefix as a key. An IPv4 address is the first four bytes.
type nlri struct {
	family, bits byte
	addr         [16]byte
}

func newWatchList(c *Config) *watchList {
	w := &watchList{index: map[nlri]int{}}
	for _, p := range c.Prefixes {
		w.add(watchedPrefix{prefix: p})
	}
	for _, b := range c.beacons {
		w.add(watchedPrefix{prefix: b.Prefix, region: b.Region, own: b.Region == c.region})
	}
	return w
}

func (w *watchList) add(p watchedPrefix) {
	f := inet4
	if p.prefix.Addr().Is6() {
		f = inet6
	}
	key := nlri{family: byte(f), bits: byte(p.prefix.Bits())}
	copy(key.addr[:], p.prefix.Addr().AsSlice())
	w.index[key] = len(w.prefixes)
	w.lengths[f][key.bits] = true
	w.prefixes = append(w.prefixes, p)
}

// find is the index of the watched prefix among n bytes of NLRI, b; bits after the prefix's length are of no significance (RFC 4271 section 4.3).
func (w *watchList) find(f, bits int, b []byte) (int, bool) {
	if !w.lengths[f][bits] {
		return 0, false
	}
	key := nlri{family: byte(f), bits: byte(bits)}
	copy(key.addr[:], b)
	if rest := bits % 8; rest != 0 {
		key.addr[bits/8] &= 0xff << (8 - rest)
	}
	i, ok := w.index[key]
	return i, ok
}

// sighting is a watched prefix in an UPDATE.
type sighting struct {
	prefix    int    // in the watch list
	id        uint32 // RFC 7911, 0 without
	announced bool   // else withdrawn
}

// scanner looks for watched prefixes in one session's UPDATEs. It belongs to one goroutine, and allocates only for what it finds.
type scanner struct {
	// immutable
	watched   *watchList
	agreed    [numFamilies]bool // families of the session; what comes of others is passed over
	addPath   [numFamilies]bool // NLRI have path identifiers
	fourOctet bool              // AS numbers in AS_PATH are of four octets (RFC 6793)

	// of the UPDATE that was scanned last
	found      []sighting // in the order in which they count: withdrawals first (RFC 4271 section 4.3)
	attributes attributes
	numbers    [2][]uint32 // room for AS_PATH and AS4_PATH
}

// attributes are those that matter of an UPDATE, still encoded.
type attributes struct {
	asPath, as4Path, communities, originator []byte
	seen                                     [256]bool
}

var errUpdate = errors.New("the UPDATE is malformed")

// scan looks through an UPDATE's body. After an error what was found before the fault is in s.found, and what follows the fault is not known.
func (s *scanner) scan(body []byte) error {
	s.found = s.found[:0]
	s.attributes = attributes{}
	withdrawn, rest, ok := cutSized(body)
	if !ok {
		return errUpdate
	}
	block, plain, ok := cutSized(rest)
	if !ok {
		return errUpdate
	}
	if !s.walk(inet4, withdrawn, false) {
		return errUpdate
	}
	reach, unreach, ok := s.split(block)
	if !ok || !s.unreach(unreach) || !s.walk(inet4, plain, true) || !s.reach(reach) {
		return errUpdate
	}
	return nil
}

// split finds the attributes that matter. Of one that is there twice the first counts, but for MP_REACH_NLRI and MP_UNREACH_NLRI, of which
// a second one makes the UPDATE malformed (RFC 7606 section 3.g).
func (s *scanner) split(block []byte) (reach, unreach []byte, ok bool) {
	a := &s.attributes
	for len(block) > 0 {
		kind, value, rest, ok := nextAttribute(block)
		if !ok {
			return nil, nil, false
		}
		block = rest
		again := a.seen[kind]
		a.seen[kind] = true
		switch {
		case kind == attrMPReach && again, kind == attrMPUnreach && again:
			return nil, nil, false
		case again:
		case kind == attrMPReach:
			reach = value
		case kind == attrMPUnreach:
			unreach = value
		case kind == attrASPath:
			a.asPath = value
		case kind == attrAS4Path:
			a.as4Path = value
		case kind == attrCommunities:
			a.communities = value
		case kind == attrOriginator:
			a.originator = value
		}
	}
	return reach, unreach, true
}

// unreach looks through MP_UNREACH_NLRI, RFC 4760 section 4.
func (s *scanner) unreach(b []byte) bool {
	if !s.attributes.seen[attrMPUnreach] {
		return true
	}
	if len(b) < 3 {
		return false
	}
	f, ok := familyIndex(b[1], b[2])
	if b[0] != 0 || !ok {
		return true
	}
	return s.walk(f, b[3:], false)
}

// reach looks through MP_REACH_NLRI, RFC 4760 section 3. Whatever the next hop is, it is not used.
func (s *scanner) reach(b []byte) bool {
	if !s.attributes.seen[attrMPReach] {
		return true
	}
	if len(b) < 5 || len(b) < 5+int(b[3]) {
		return false
	}
	f, ok := familyIndex(b[1], b[2])
	if b[0] != 0 || !ok {
		return true
	}
	return s.walk(f, b[5+int(b[3]):], true)
}

// walk looks through NLRI, RFC 4271 section 4.3 and RFC 7911 section 3.
func (s *scanner) walk(f int, b []byte, announced bool) bool {
	if !s.agreed[f] {
		return true
	}
	most := 32
	if f == inet6 {
		most = 128
	}
	for len(b) > 0 {
		var id uint32
		if s.addPath[f] {
			if len(b) < 5 {
				return false
			}
			id, b = binary.BigEndian.Uint32(b), b[4:]
		}
		bits := int(b[0])
		n := 1 + (bits+7)/8
		if bits > most || len(b) < n {
			return false
		}
		if i, ok := s.watched.find(f, bits, b[1:n]); ok {
			s.found = append(s.found, sighting{i, id, announced})
		}
		b = b[n:]
	}
	return true
}

// announces says whether the UPDATE scanned last announces a watched prefix.
func (s *scanner) announces() bool {
	return len(s.found) > 0 && s.found[len(s.found)-1].announced
}
