package qpack

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/quic-go/qpack"

	"nearcast/proxy/message"
)

// list is a Sink that keeps copies.
type list struct {
	f    message.Fields
	fail error
}

func (l *list) Field(name, value string) error {
	l.f.Add(strings.Clone(name), strings.Clone(value))
	return l.fail
}

// theirs decodes with the other library.
func theirs(section []byte) (f message.Fields, err error) {
	next := qpack.NewDecoder().Decode(section)
	for {
		h, err := next()
		if err == io.EOF {
			return f, nil
		}
		if err != nil {
			return nil, err
		}
		f.Add(h.Name, h.Value)
	}
}

// TestStaticTable holds every entry against the other library's, both ways.
func TestStaticTable(t *testing.T) {
	for _, e := range static {
		want := message.Fields{{Name: e.name, Value: e.value}}
		ours := AppendFields(AppendPrefix(nil), want)
		if got, err := theirs(ours); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: they read % x as %v, %v", e, ours, got, err)
		}
		if len(ours) > 4 {
			t.Errorf("%q is not a reference: % x", e, ours)
		}
		var b bytes.Buffer
		_ = qpack.NewEncoder(&b).WriteField(qpack.HeaderField{Name: e.name, Value: e.value})
		var l list
		if _, err := Decode(nil, b.Bytes(), &l); err != nil || !reflect.DeepEqual(l.f, want) {
			t.Errorf("%q: read % x as %v, %v", e, b.Bytes(), l.f, err)
		}
	}
}

func TestStatus(t *testing.T) {
	for s := 100; s <= 999; s++ {
		got, err := theirs(AppendStatus(AppendPrefix(nil), s))
		want := string([]byte{byte('0' + s/100), byte('0' + s/10%10), byte('0' + s%10)})
		if err != nil || len(got) != 1 || got[0].Name != ":status" || got[0].Value != want {
			t.Errorf("%d: %v, %v", s, got, err)
		}
	}
	if b := AppendStatus(nil, 200); len(b) != 1 {
		t.Errorf("200 takes % x", b)
	}
}

func TestMalformedSections(t *testing.T) {
	for name, p := range map[string][]byte{
		"empty":                       {},
		"prefix cut short":            {0},
		"dynamic inserts required":    {1, 0},
		"negative base":               {0, 0x80},
		"indexed, dynamic":            {0, 0, 0x80},
		"indexed, post-base":          {0, 0, 0x10},
		"name from dynamic table":     {0, 0, 0x40, 0},
		"name after base":             {0, 0, 0x00, 0},
		"index 99":                    {0, 0, 0xff, 36},
		"name index 99":               {0, 0, 0x5f, 84, 0},
		"no value":                    {0, 0, 0x51},
		"value cut short":             {0, 0, 0x51, 2, 'a'},
		"name cut short":              {0, 0, 0x23, 'a'},
		"no value after name":         {0, 0, 0x21, 'a'},
		"endless integer":             {0, 0, 0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0},
		"Huffman padding of zeros":    {0, 0, 0x51, 0x81, 0x00},
		"Huffman code for EOS":        {0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff},
		"Huffman padding of an octet": {0, 0, 0x51, 0x82, 0x1f, 0xff},
	} {
		if _, err := Decode(nil, p, &list{}); !errors.Is(err, ErrDecompression) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(nil, []byte{0, 5, 0xd1}, &list{}); err != nil {
		t.Errorf("any base that is not negative will do: %v", err)
	}
	stop := errors.New("stop")
	if _, err := Decode(nil, []byte{0, 0, 0xd1, 0x80}, &list{fail: stop}); err != stop {
		t.Errorf("the sink's error became %v", err)
	}
}

func TestInstructions(t *testing.T) {
	for _, tt := range []struct {
		p    []byte
		good bool
	}{{nil, true}, {[]byte{0x20, 0x20}, true}, {[]byte{0x21}, false}, {[]byte{0xc0, 0}, false}, {[]byte{0x00}, false}, {[]byte{0x40}, false}} {
		if err := CheckEncoderStream(tt.p); (err == nil) != tt.good {
			t.Errorf("encoder stream % x: %v", tt.p, err)
		}
	}
	for _, tt := range []struct {
		p    []byte
		good bool
	}{
		{[]byte{0x44, 0x7f, 0x81, 0x01, 0x40}, true},
		{[]byte{0x84}, false},
		{[]byte{0x01}, false},
		{[]byte{0x00}, false},
		{append(bytes.Repeat([]byte{0x7f}, 1), bytes.Repeat([]byte{0x80}, 11)...), false},
	} {
		var whole, pieces DecoderStream
		err := whole.Check(tt.p)
		var perr error
		for i := range tt.p {
			if e := pieces.Check(tt.p[i : i+1]); e != nil && perr == nil {
				perr = e
			}
		}
		if (err == nil) != tt.good || (perr == nil) != tt.good {
			t.Errorf("decoder stream % x: %v, in pieces %v", tt.p, err, perr)
		}
	}
}

// drop is a Sink that keeps nothing.
type drop struct{ n int }

func (d *drop) Field(name, value string) error { d.n += len(name) + len(value); return nil }

func TestNoAllocation(t *testing.T) {
	f := message.Fields{{Name: ":method", Value: "GET"}, {Name: ":authority", Value: "www.example.test"}, {Name: "x-name", Value: "a value"}, {Name: "age", Value: "17"}}
	dst := make([]byte, 0, 256)
	arena := make([]byte, 0, 256)
	var d drop
	if n := testing.AllocsPerRun(100, func() {
		dst = AppendFields(AppendStatus(AppendPrefix(dst[:0]), 204), f)
		if _, err := Decode(arena[:0], dst, &d); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode holds the decoder against the other library's.
func FuzzDecode(f *testing.F) {
	f.Add(AppendFields(AppendStatus(AppendPrefix(nil), 299), message.Fields{{Name: "x-a", Value: "b"}, {Name: "etag", Value: "\"1\""}, {Name: "vary", Value: "origin"}}))
	f.Add([]byte{0, 0, 0x51, 0x82, 0x1f, 0xff})
	f.Add([]byte{0, 5, 0xd1, 0x23, 'a', 'b', 'c', 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		var l list
		_, err := Decode(nil, p, &l)
		got, terr := theirs(p)
		switch {
		case err == nil && terr == nil:
			if !reflect.DeepEqual(l.f, got) {
				t.Fatalf("% x: we read %v, they %v", p, l.f, got)
			}
			again := &list{}
			if _, err := Decode(nil, AppendFields(AppendPrefix(nil), l.f), again); err != nil || !reflect.DeepEqual(again.f, l.f) {
				t.Fatalf("%v came back as %v, %v", l.f, again.f, err)
			}
		case err == nil && !(len(p) > 1 && p[1] != 0): // they want Base to be 0
			t.Fatalf("% x: we take %v, they say %v", p, l.f, terr)
		case terr == nil && !knownLaxity(p):
			t.Fatalf("% x: they take %v, we say %v", p, got, err)
		}
	})
}

// knownLaxity: they take a negative Base, and integers of any number of octets (RFC 9204 §4.1.1 wants 62 bits).
func knownLaxity(p []byte) bool {
	return len(p) > 1 && p[1]&0x80 != 0 || bytes.Contains(p, bytes.Repeat([]byte{0x80}, 8))
}

func FuzzDecoderStream(f *testing.F) {
	f.Add([]byte{0x44, 0x7f, 0x81, 0x01})
	f.Fuzz(func(t *testing.T, p []byte) {
		var d DecoderStream
		_ = d.Check(p)
		if d.left < -1 || d.left > 9 {
			t.Fatal(d)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	p := AppendFields(AppendPrefix(nil), message.Fields{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: "www.example.test"}, {Name: ":path", Value: "/index.html"}, {Name: "accept", Value: "*/*"}, {Name: "user-agent", Value: "h3load/1"}})
	arena := make([]byte, 0, 512)
	var d drop
	b.ReportAllocs()
	for b.Loop() {
		_, _ = Decode(arena[:0], p, &d)
	}
}
