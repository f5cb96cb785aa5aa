package h3

import "strings"

// priority is what RFC 9218 §4 defines.
type priority struct {
	urgency     int8 // 0 is first
	incremental bool
}

// parsePriority reads a Priority field or update. Members that are unknown or have an unexpected type are ignored (RFC 9218 §4), as is a
// value that is no dictionary: a bad hint is no reason to refuse a request.
func parsePriority(v string) priority {
	p := priority{urgency: 3}
	for v != "" {
		var m string
		m, v, _ = strings.Cut(v, ",")
		m, _, _ = strings.Cut(strings.Trim(m, " \t"), ";")
		switch {
		case len(m) == 3 && m[:2] == "u=" && m[2] >= '0' && m[2] <= '7':
			p.urgency = int8(m[2] - '0')
		case m == "i", m == "i=?1":
			p.incremental = true
		case m == "i=?0":
			p.incremental = false
		}
	}
	return p
}
