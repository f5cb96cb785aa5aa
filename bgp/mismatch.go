package bgp

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// mismatchAge is how old a deviation is that is told of.
const mismatchAge = 2 * time.Second

// MismatchKind says what is otherwise than it should be. The words are the metric's label.
type MismatchKind uint8

// The kinds.
const (
	MismatchNoSession      MismatchKind = iota // the prefix should be announced, and there is no session
	MismatchFamily                             // the neighbor did not agree to the prefix's address family
	MismatchNotAnnounced                       // the prefix has not been sent
	MismatchNotWithdrawn                       // the prefix has been sent, and should not be announced
	MismatchAttributes                         // the prefix has been sent with other attributes
	MismatchUnacknowledged                     // the neighbor's kernel has not acknowledged the last change
	numMismatches
)

var mismatchNames = [numMismatches]string{
	MismatchNoSession:      "no session",
	MismatchFamily:         "family not agreed",
	MismatchNotAnnounced:   "not announced",
	MismatchNotWithdrawn:   "not withdrawn",
	MismatchAttributes:     "other attributes",
	MismatchUnacknowledged: "not acknowledged",
}

// mismatchText goes after "neighbor X: " and before the prefixes.
var mismatchText = [numMismatches]string{
	MismatchNoSession:      "there is no session to announce on: ",
	MismatchFamily:         "it did not agree to the address family: ",
	MismatchNotAnnounced:   "it has not been sent what should be announced: ",
	MismatchNotWithdrawn:   "it has been sent, and not been told of the withdrawal of: ",
	MismatchAttributes:     "it has been sent other attributes than it should have: ",
	MismatchUnacknowledged: "its system has not acknowledged the last change: ",
}

// String is the kind in words.
func (k MismatchKind) String() string {
	if k < numMismatches {
		return mismatchNames[k]
	}
	return "unknown mismatch"
}

// MarshalText is String, for JSON.
func (k MismatchKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Mismatch is a prefix that a neighbor has otherwise than it should.
type Mismatch struct {
	Prefix netip.Prefix `json:"prefix"`
	Kind   MismatchKind `json:"kind"`
	Since  time.Time    `json:"since"` // when it was seen first
}

// deviation is a mismatch however old.
type deviation struct {
	prefix netip.Prefix
	kind   MismatchKind
}

func (d deviation) compare(o deviation) int {
	if d.kind != o.kind {
		return int(d.kind) - int(o.kind)
	}
	return d.prefix.Compare(o.prefix)
}

// trail remembers since when there are which deviations. The zero value is before the first look.
type trail struct {
	began  map[deviation]time.Time
	told   map[deviation]struct{} // are mismatches
	last   time.Time
	passed time.Duration // between the last two looks
}

// look takes what was found now, and says what has become a mismatch by it and what is none any more, sorted.
func (t *trail) look(now time.Time, found map[deviation]struct{}) (begun, ended []deviation) {
	if t.passed = 0; !t.last.IsZero() {
		t.passed = now.Sub(t.last)
	}
	t.last = now
	if t.began == nil {
		t.began, t.told = make(map[deviation]time.Time), make(map[deviation]struct{})
	}
	for d := range t.began {
		if _, still := found[d]; !still {
			delete(t.began, d)
			if _, told := t.told[d]; told {
				delete(t.told, d)
				ended = append(ended, d)
			}
		}
	}
	for d := range found {
		since, known := t.began[d]
		if !known {
			t.began[d], since = now, now
		}
		if _, told := t.told[d]; !told && now.Sub(since) >= mismatchAge {
			t.told[d] = struct{}{}
			begun = append(begun, d)
		}
	}
	slices.SortFunc(begun, deviation.compare)
	slices.SortFunc(ended, deviation.compare)
	return begun, ended
}

// lasting is the mismatches, sorted.
func (t *trail) lasting() []Mismatch {
	out := make([]Mismatch, 0, len(t.told))
	for _, d := range slices.SortedFunc(maps.Keys(t.told), deviation.compare) {
		out = append(out, Mismatch{d.prefix, d.kind, t.began[d]})
	}
	return out
}

// behind says whether a session that has been up since then must end, because something that only it can tell the neighbor has not been told for
// too long. A change is seen first up to auditEvery after it is declared.
func (t *trail) behind(now, up time.Time) bool {
	const most = tellWithin - auditEvery
	for d, since := range t.began {
		switch d.kind {
		case MismatchNotAnnounced, MismatchNotWithdrawn, MismatchAttributes:
			if now.Sub(since) >= most && now.Sub(up) >= most {
				return true
			}
		}
	}
	return false
}
