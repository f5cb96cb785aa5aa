package load

import (
	"bytes"
	"strconv"
	"testing"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go/quicvarint"
)

func h3Frame(kind uint64, payload string) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}

// readH3 feeds a stream to the parser in pieces.
func readH3(b []byte, piece int) (p h3Parser, err error) {
	var held []byte
	for len(b) > 0 {
		n := min(piece, len(b))
		held, b = append(held, b[:n]...), b[n:]
		used, err := p.consume(held)
		if err != nil {
			return p, err
		}
		held = held[used:]
	}
	return p, p.end(len(held))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestH3Responses(t *testing.T) {
	ok, early := h3Frame(h3Headers, "\x00\x00\xd9"), h3Frame(h3Headers, "\x00\x00\xd8")
	for why, b := range map[string][]byte{
		"a body":                join(ok, h3Frame(h3Data, "hel"), h3Frame(h3Data, "lo")),
		"informational first":   join(early, early, ok, h3Frame(h3Data, "hello")),
		"unknown frames":        join(h3Frame(0x21, "grease"), ok, h3Frame(0x40, ""), h3Frame(h3Data, "hello"), h3Frame(0x5f, "x")),
		"a trailer section":     join(ok, h3Frame(h3Data, "hello"), h3Frame(h3Headers, "\x00\x00\x21a\x01b")),
		"an empty frame inside": join(ok, h3Frame(h3Data, ""), h3Frame(h3Data, "hello")),
	} {
		for piece := 1; piece <= len(b); piece++ {
			if p, err := readH3(b, piece); err != nil || p.status != 200 || p.bytes != 5 {
				t.Fatalf("%s, in pieces of %d: %v, status %d, %d bytes", why, piece, err, p.status, p.bytes)
			}
		}
	}
	for why, tt := range map[string]struct {
		b     []byte
		class string
	}{
		"nothing":                 {nil, Protocol},
		"an informational one":    {early, Protocol},
		"DATA first":              {h3Frame(h3Data, "x"), Protocol},
		"DATA after the trailer":  {join(ok, ok, h3Frame(h3Data, "x")), Protocol},
		"three field sections":    {join(ok, ok, ok), Protocol},
		"SETTINGS":                {join(ok, h3Frame(h3Settings, "")), Protocol},
		"PUSH_PROMISE":            {join(ok, h3Frame(h3PushPromise, "x")), Protocol},
		"a frame of HTTP/2":       {join(ok, h3Frame(0x8, "x")), Protocol},
		"a cut frame":             {join(ok, h3Frame(h3Data, "hello")[:4]), Closed},
		"a cut frame header":      {join(ok, []byte{0}), Closed},
		"a huge field section":    {quicvarint.Append([]byte{h3Headers}, 1<<30), Protocol},
		"the dynamic table":       {h3Frame(h3Headers, "\x02\x00\x80"), Protocol},
		"no fields":               {h3Frame(h3Headers, "\x00\x00"), Protocol},
		"another field first":     {h3Frame(h3Headers, "\x00\x00\xd1\xd9"), Protocol},
		"a status that is cut":    {h3Frame(h3Headers, "\x00\x00\x5f\x09\x0320"), Protocol},
		"a status of two digits":  {h3Frame(h3Headers, "\x00\x00\x5f\x09\x0220"), Protocol},
		"a status in no Huffman":  {h3Frame(h3Headers, "\x00\x00\x5f\x09\x82\xff\xff"), Protocol},
		"a name that is too long": {h3Frame(h3Headers, "\x00\x00\x27\x7f\x00"), Protocol},
	} {
		if p, err := readH3(tt.b, 3); classOf(err) != tt.class || err == nil {
			t.Errorf("%s: %v, status %d", why, err, p.status)
		}
	}
}

func TestQPACKStatus(t *testing.T) {
	for status := 100; status < 1000; status++ {
		var b bytes.Buffer
		e := qpack.NewEncoder(&b)
		e.WriteField(qpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
		e.WriteField(qpack.HeaderField{Name: "date", Value: "now"})
		if got, err := qpackStatus(b.Bytes()); got != status || err != nil {
			t.Errorf("%x: %d, %v, want %d", b.Bytes(), got, err, status)
		}
	}
	for text, want := range map[string]int{"\x00\x00\x27\x00:status\x03218": 218, "\x00\x00\x5f\x09\x03218": 218} {
		if got, err := qpackStatus([]byte(text)); got != want || err != nil {
			t.Errorf("%x: %d, %v, want %d", text, got, err, want)
		}
	}
}

func FuzzH3Response(f *testing.F) {
	f.Add(join(h3Frame(h3Headers, "\x00\x00\xd9"), h3Frame(h3Data, "hello")), 2)
	f.Add(h3Frame(h3Headers, "\x00\x00\x5f\x09\x82\x10\x01"), 1)
	f.Add(h3Frame(h3Headers, "\x00\x00\x2f\x00\x85\xb8\x84\x8d\x36\xa3\x03218"), 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole, err := readH3(b, max(1, len(b)))
		pieces, err2 := readH3(b, max(1, piece&0xff))
		if (err == nil) != (err2 == nil) || err == nil && (whole.status != pieces.status || whole.bytes != pieces.bytes) {
			t.Fatalf("%v, %v; in pieces %v, %v", whole, err, pieces, err2)
		}
		if err == nil && (whole.status < 200 || whole.bytes > int64(len(b))) {
			t.Fatalf("%+v", whole)
		}
	})
}
