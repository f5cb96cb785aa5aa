// Package hpack decodes the field sections of requests and encodes those of responses (RFC 7541).
package hpack

import (
	"errors"
	"unsafe"

	"nearcast/proxy/message"
	"nearcast/proxy/message/literal"
)

// TableSize is the SETTINGS_HEADER_TABLE_SIZE that decoders stand on: the default of RFC 9113 §6.5.2, so that it need not be sent.
const TableSize = 4096

// maxUpdates is the number of size updates at the start of a block: a smallest and a last one are all that can be needed (RFC 7541 §4.2).
const maxUpdates = 2

var (
	errIndex      = errors.New("hpack: index beyond the tables")
	errUpdateSize = errors.New("hpack: table size above the setting")
	errUpdate     = errors.New("hpack: table size update in the wrong place")
)

// Section is a decoded field section. Its strings are parts of a buffer of its own: they are valid until Reset. The zero Section is
// ready for use and limits nothing to a useful size: set Limit.
type Section struct {
	Fields message.Fields
	// Size counts every field as RFC 9113 §6.5.2 has it, also those beyond the limit.
	Size int
	// Limit is the largest Size; fields from there on are left out, and Over reports it.
	Limit int

	buf []byte
}

// keepBuf and keepFields are what a Section keeps for the next use.
const (
	keepBuf    = 8 << 10
	keepFields = 64
)

// Over reports whether fields were left out.
func (s *Section) Over() bool { return s.Size > s.Limit }

// Held is what of Size is kept.
func (s *Section) Held() int { return min(s.Size, s.Limit) }

// Reset empties the section; its strings are invalid from then on.
func (s *Section) Reset() {
	if cap(s.buf) > keepBuf {
		s.buf = nil
	}
	if cap(s.Fields) > keepFields {
		s.Fields = nil
	}
	s.buf, s.Fields, s.Size = s.buf[:0], s.Fields[:0], 0
}

// Decoder decodes the field blocks of one connection, in their order. The zero Decoder is ready for use. It allocates for its table
// only, and only as far as that is used.
type Decoder struct {
	table   table
	changed bool   // a size update has been seen: table.limit is valid
	scratch []byte // for fields that no Section takes
}

// Decode decodes one whole field block and appends its fields to s. Every error is one of the connection: COMPRESSION_ERROR
// (RFC 9113 §4.3). A section that is too large is no error, so that the dynamic table stays what the client thinks it is.
func (d *Decoder) Decode(p []byte, s *Section) (err error) {
	if !d.changed {
		d.changed, d.table.limit = true, TableSize
	}
	if len(p) > 0 && cap(s.buf) == 0 {
		s.buf = make([]byte, 0, 1<<10)
	}
	for updates := 0; len(p) > 0 && p[0]&0xe0 == 0x20; updates++ {
		var n uint64
		if n, p, err = literal.Int(p, 5, literal.MaxInt); err != nil {
			return err
		}
		if n > TableSize {
			return errUpdateSize
		}
		if updates == maxUpdates {
			return errUpdate
		}
		d.table.resize(int(n))
	}
	for len(p) > 0 {
		switch b := p[0]; {
		case b&0x80 != 0:
			p, err = d.indexed(p, s)
		case b&0x40 != 0:
			p, err = d.literal(p, 6, true, s)
		case b&0x20 != 0:
			return errUpdate
		default: // without indexing, or never indexed: all the same to one that keeps nothing
			p, err = d.literal(p, 4, false, s)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// indexed takes an indexed field (RFC 7541 §6.1).
func (d *Decoder) indexed(p []byte, s *Section) (rest []byte, err error) {
	i, rest, err := literal.Int(p, 7, 1<<16)
	switch {
	case err != nil:
		return nil, err
	case i == 0:
		return nil, errIndex
	case i <= uint64(len(staticTable)):
		e := &staticTable[i-1]
		s.add(e.name, e.value)
		return rest, nil
	}
	e, ok := d.table.at(int(i) - len(staticTable) - 1)
	if !ok {
		return nil, errIndex
	}
	if !s.room(int(e.name) + int(e.value)) {
		return rest, nil
	}
	start := len(s.buf)
	s.buf = d.table.append(s.buf, int(e.at), int(e.name)+int(e.value))
	both := text(s.buf[start:])
	s.Fields = append(s.Fields, message.Field{Name: both[:e.name], Value: both[e.name:]})
	return rest, nil
}

// literal takes a literal field (RFC 7541 §6.2), whose index has a prefix of n bits.
func (d *Decoder) literal(p []byte, n uint8, add bool, s *Section) (rest []byte, err error) {
	i, rest, err := literal.Int(p, n, 1<<16)
	if err != nil {
		return nil, err
	}
	buf := d.scratch[:0]
	kept := s.Size <= s.Limit
	if kept {
		buf = s.buf
	}
	start := len(buf)
	var name string
	var e entry
	var inTable bool
	switch {
	case i == 0:
		if buf, rest, err = literal.AppendString(buf, rest, 7, maxString); err != nil {
			return nil, err
		}
	case i <= uint64(len(staticTable)):
		name = staticTable[i-1].name
	default:
		if e, inTable = d.table.at(int(i) - len(staticTable) - 1); !inTable {
			return nil, errIndex
		}
		buf = d.table.append(buf, int(e.at), int(e.name))
	}
	split := len(buf)
	if buf, rest, err = literal.AppendString(buf, rest, 7, maxString); err != nil {
		return nil, err
	}
	if split > start {
		name = text(buf[start:split])
	}
	value := text(buf[split:])
	if add {
		d.table.add(name, value)
	}
	if !kept {
		d.keep(buf)
		s.count(len(name) + len(value))
	} else if s.add(name, value) {
		s.buf = buf
	}
	return rest, nil
}

// maxString bounds one string; the block that it is in is bounded long before.
const maxString = 1 << 24

// keep keeps the buffer of a field that was left out for the next one, unless it is large.
func (d *Decoder) keep(buf []byte) {
	d.scratch = nil
	if cap(buf) <= keepBuf {
		d.scratch = buf[:0]
	}
}

// count adds a field to the size.
func (s *Section) count(octets int) { s.Size += octets + entryOverhead }

// room counts a field and reports whether it is within the limit.
func (s *Section) room(octets int) bool {
	s.count(octets)
	return s.Size <= s.Limit
}

// add appends a field if it is within the limit.
func (s *Section) add(name, value string) bool {
	if !s.room(len(name) + len(value)) {
		return false
	}
	s.Fields = append(s.Fields, message.Field{Name: name, Value: value})
	return true
}

// text is b as a string that is never written again as long as it is used.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
