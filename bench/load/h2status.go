package load

import (
	"bytes"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// staticStatus are the statuses of HPACK's static table, from index 8 (RFC 7541 appendix A).
var staticStatus = [...]int{200, 204, 206, 304, 400, 404, 500}

// statuses reads the status from field blocks. It decodes a block whole only if the block touches the dynamic table or hides its status
// there; a block like the last one, or one that stands for itself, is only looked at.
type statuses struct {
	decoder *hpack.Decoder
	last    []byte // a block that stands for itself
	status  int    // its status
}

func newStatuses() *statuses { return &statuses{decoder: hpack.NewDecoder(4096, nil)} }

// of gives the status that a response's field block says, 0 for one that says none, such as a trailer section.
func (s *statuses) of(block []byte) (int, error) {
	if len(block) > 0 && bytes.Equal(block, s.last) {
		return s.status, nil
	}
	status, ok := standsAlone(block)
	if !ok {
		s.last = s.last[:0]
		return s.decode(block)
	}
	s.last, s.status = append(s.last[:0], block...), status
	return status, nil
}

// standsAlone walks through the representations of a block (RFC 7541 §6). It reports false when one of them reads or changes the dynamic
// table, when the status is not plain to see, or when something is wrong, all of which is left to the decoder.
func standsAlone(b []byte) (status int, ok bool) {
	for first := true; len(b) > 0; first = false {
		name, used := 0, 0
		switch {
		case b[0]&0x80 != 0: // indexed
			if name, used, ok = readInt(b, 7); !ok || name == 0 || name > 61 {
				return 0, false
			}
			if name >= 8 && name <= 14 {
				if !first {
					return 0, false
				}
				status = staticStatus[name-8]
			}
			b = b[used:]
			continue
		case b[0]&0x40 != 0, b[0]&0x20 != 0: // added to the table; table resized
			return 0, false
		}
		if name, used, ok = readInt(b, 4); !ok || name > 61 {
			return 0, false
		}
		b = b[used:]
		if name == 0 {
			if used, ok = skipString(b); !ok || isStatusName(b[:used]) {
				return 0, false
			}
			b = b[used:]
		}
		if used, ok = skipString(b); !ok {
			return 0, false
		}
		if name >= 8 && name <= 14 {
			if status, ok = plainStatus(b[:used]); !ok || !first {
				return 0, false
			}
		}
		b = b[used:]
	}
	return status, true
}

// isStatusName reports that a string may be ":status": a Huffman-coded one that has its length, or the name itself.
func isStatusName(b []byte) bool {
	return b[0]&0x80 != 0 && len(b) <= 8 || string(b[1:]) == ":status"
}

// plainStatus reads three digits that are not Huffman-coded.
func plainStatus(b []byte) (int, bool) {
	if len(b) != 4 || b[0] != 3 {
		return 0, false
	}
	n, err := strconv.Atoi(string(b[1:]))
	return n, err == nil && n >= 100
}

// decode decodes a block whole and keeps the dynamic table right.
func (s *statuses) decode(block []byte) (int, error) {
	fields, err := s.decoder.DecodeFull(block)
	if err != nil {
		return 0, failed(Protocol, "%w", err)
	}
	for _, f := range fields {
		if f.Name != ":status" {
			continue
		}
		if n, err := strconv.Atoi(f.Value); err == nil && len(f.Value) == 3 && n >= 100 {
			return n, nil
		}
		return 0, failed(Protocol, "%q is no status", f.Value)
	}
	return 0, nil
}
