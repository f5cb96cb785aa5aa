package qpack

import (
	"nearcast/proxy/message"
	"nearcast/proxy/message/literal"
)

// entries says where in the static table a name stands.
var entries = func() map[string][]uint8 {
	m := make(map[string][]uint8, len(static))
	for i := range static {
		m[static[i].name] = append(m[static[i].name], uint8(i))
	}
	return m
}()

// statuses has the static index of a status from 100 to 599, plus one; 0 for none.
var statuses = func() (t [600]uint8) {
	for _, i := range entries[":status"] {
		v := static[i].value
		t[int(v[0]-'0')*100+int(v[1]-'0')*10+int(v[2]-'0')] = i + 1
	}
	return t
}()

// AppendPrefix appends the prefix of a field section that refers to no dynamic table (RFC 9204 §4.5.1).
func AppendPrefix(dst []byte) []byte { return append(dst, 0, 0) }

// AppendStatus appends the line of a status, 100 to 999.
func AppendStatus(dst []byte, status int) []byte {
	if status < len(statuses) && statuses[status] != 0 {
		return literal.AppendInt(dst, 0xc0, 6, uint64(statuses[status]-1))
	}
	dst = literal.AppendInt(dst, 0x50, 4, uint64(entries[":status"][0]))
	return append(dst, 3, '0'+byte(status/100%10), '0'+byte(status/10%10), '0'+byte(status%10))
}

// AppendField appends one line: the whole from the static table, or its name, or nothing; literals in Huffman code where that is shorter.
// The result is the same on every connection.
func AppendField(dst []byte, name, value string) []byte {
	at := entries[name]
	for _, i := range at {
		if static[i].value == value {
			return literal.AppendInt(dst, 0xc0, 6, uint64(i))
		}
	}
	if len(at) > 0 {
		dst = literal.AppendInt(dst, 0x50, 4, uint64(at[0]))
	} else {
		dst = literal.AppendLiteral(dst, 0x20, 3, name)
	}
	return literal.AppendLiteral(dst, 0, 7, value)
}

// AppendFields appends every line of f, whatever it is.
func AppendFields(dst []byte, f message.Fields) []byte {
	for i := range f {
		dst = AppendField(dst, f[i].Name, f[i].Value)
	}
	return dst
}
