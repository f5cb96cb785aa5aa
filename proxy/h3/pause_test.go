package h3

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func TestWhichLongHeadersOpenAConnection(t *testing.T) {
	theirs := bytes.Repeat([]byte{0x5a}, 8)
	packet := func(first byte, version uint32, cid []byte) []byte {
		b := binary.BigEndian.AppendUint32([]byte{first}, version)
		b = append(append(b, byte(len(cid))), cid...)
		return append(b, 0, 0, 0)
	}
	for _, c := range []struct {
		what string
		b    []byte
		want bool
	}{
		{"an Initial", packet(0xc0, versionOne, theirs), true},
		{"a 0-RTT packet", packet(0xd0, versionOne, theirs), true},
		{"an Initial of version 2", packet(0xd0, versionTwo, theirs), true},
		{"a 0-RTT packet of version 2", packet(0xe0, versionTwo, theirs), true},
		{"a Handshake packet", packet(0xe0, versionOne, theirs), false},
		{"a Handshake packet of version 2", packet(0xf0, versionTwo, theirs), false},
		{"an unknown version, to be answered with those we speak", packet(0xc0, 0x1a2a3a4a, theirs), false},
		{"an empty datagram", nil, false},
		{"one that ends within its connection ID", packet(0xc0, versionOne, theirs)[:9], false},
	} {
		if got := opens(c.b); got != c.want {
			t.Errorf("%s: %t, want %t", c.what, got, c.want)
		}
	}
}

func FuzzOpens(f *testing.F) {
	f.Add([]byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{0xff, 0x6b, 0x33, 0x43, 0xcf, 255})
	f.Fuzz(func(_ *testing.T, b []byte) { opens(b) })
}
