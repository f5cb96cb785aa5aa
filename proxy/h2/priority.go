package h2

import (
	"encoding/binary"
	"strings"
	"unsafe"
)

// priority is RFC 9218 §4. The zero value stands for a client that says nothing.
type priority struct {
	urgency     uint8 // 0 first, 7 last
	incremental bool
	given       bool // by the client
}

const defaultUrgency = 3

// parsePriority reads a Priority field (RFC 9218 §5), a dictionary of structured fields; what it does not know, or is malformed, it
// passes over, as RFC 9218 §4 has it.
func parsePriority(v string) priority {
	p := priority{urgency: defaultUrgency, given: true}
	for v != "" {
		var member string
		member, v, _ = strings.Cut(v, ",")
		member, _, _ = strings.Cut(strings.Trim(member, " \t"), ";")
		switch {
		case len(member) == 3 && member[:2] == "u=" && '0' <= member[2] && member[2] <= '7':
			p.urgency = member[2] - '0'
		case member == "i" || member == "i=?1":
			p.incremental = true
		case member == "i=?0":
			p.incremental = false
		}
	}
	return p
}

// priorityUpdate takes a PRIORITY_UPDATE frame (RFC 9218 §7.1). mu is held.
func (c *conn) priorityUpdate(f *frame) error {
	switch {
	case f.stream != 0:
		return errStreamID
	case len(f.payload) < 4:
		return errFrameSize
	}
	id := binary.BigEndian.Uint32(f.payload) & maxStreamID
	if id%2 == 0 { // none, or one that we would have pushed
		return errPriority
	}
	v := f.payload[4:]
	p := parsePriority(unsafe.String(unsafe.SliceData(v), len(v))) // not kept
	if s := c.stream(id); s != nil {
		s.priority = p
	} else if id > c.lastID {
		c.early.id, c.early.priority = id, p // one at a time is remembered
	}
	return nil
}

// checkDependency validates the priority of RFC 9113 §5.3.2, whose meaning is gone; false when a stream depends on itself.
func checkDependency(stream uint32, p []byte) bool {
	return binary.BigEndian.Uint32(p)&maxStreamID != stream
}
