package hpack

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	xhpack "golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
	"nearcast/proxy/message/literal"
)

func section(limit int) *Section { return &Section{Limit: limit} }

// the requests of RFC 7541 C.3 and C.4, on one connection each.
func TestExamplesOfTheRFC(t *testing.T) {
	want := []message.Fields{
		{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "www.example.com"}},
		{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: "/"}, {Name: ":authority", Value: "www.example.com"},
			{Name: "cache-control", Value: "no-cache"}},
		{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":path", Value: "/index.html"},
			{Name: ":authority", Value: "www.example.com"}, {Name: "custom-key", Value: "custom-value"}},
	}
	for name, blocks := range map[string][]string{
		"plain": {"\x82\x86\x84\x41\x0fwww.example.com", "\x82\x86\x84\xbe\x58\x08no-cache", "\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value"},
		"Huffman": {"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
			"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"},
	} {
		var d Decoder
		for i, b := range blocks {
			s := section(1000)
			if err := d.Decode([]byte(b), s); err != nil || !reflect.DeepEqual(s.Fields, want[i]) {
				t.Errorf("%s %d: %v, %v", name, i, s.Fields, err)
			}
		}
		if d.table.size != 164 || d.table.n != 3 {
			t.Errorf("%s: the table has %d entries of size %d, want 3 of 164", name, d.table.n, d.table.size)
		}
	}
}

func TestBlocksThatAreNone(t *testing.T) {
	for block, why := range map[string]string{
		"\x80":                     "index 0",
		"\xbe":                     "an index beyond the empty table",
		"\x7e\x00":                 "the name of such an entry",
		"\xff\xff\xff\xff\xff\x0f": "a huge index",
		"\x82\x20":                 "a size update after a field",
		"\x20\x3f\x01\x3f\x02":     "three size updates",
		"\x3f\xe2\x1f":             "a size above the setting",
		"\x41":                     "a missing value",
		"\x41\x05abc":              "a value cut short",
		"\x00":                     "a missing name",
		"\x41\x81\x18":             "bad padding",
		"\x41\x84\xff\xff\xff\xff": "EOS",
	} {
		if err := new(Decoder).Decode([]byte(block), section(1000)); err == nil {
			t.Errorf("%s was accepted", why)
		}
	}
}

func TestSizeUpdates(t *testing.T) {
	var d Decoder
	s := section(1000)
	if err := d.Decode([]byte("\x40\x01a\x01b\x40\x01c\x01d"), s); err != nil || d.table.n != 2 {
		t.Fatal(err, d.table.n)
	}
	if err := d.Decode([]byte("\x3f\x03\xbe"), s); err != nil || d.table.n != 1 { // 34: one entry's size
		t.Fatalf("%v, %d entries", err, d.table.n)
	}
	if got := s.Fields[2]; got != (message.Field{Name: "c", Value: "d"}) {
		t.Errorf("the newest is %v", got)
	}
	if err := d.Decode([]byte("\x20\x3f\xe1\x1f\x40\x01e\x01f\xbe"), s); err != nil || d.table.n != 1 { // none, then 4096
		t.Errorf("%v, %d entries", err, d.table.n)
	}
}

// TestASectionOverItsLimitKeepsTheTableInStep: what is left out is in the dynamic table all the same.
func TestASectionOverItsLimitKeepsTheTableInStep(t *testing.T) {
	var d Decoder
	s := section(40)
	if err := d.Decode([]byte("\x40\x01a\x01b\x40\x01c\x08dddddddd\x40\x01e\x01f"), s); err != nil {
		t.Fatal(err)
	}
	if !s.Over() || len(s.Fields) != 1 || s.Size != 34+41+34 {
		t.Errorf("over %t, %v, size %d", s.Over(), s.Fields, s.Size)
	}
	s.Reset()
	s.Limit = 1000
	if err := d.Decode([]byte("\xbe\xbf\xc0"), s); err != nil || s.Over() {
		t.Fatal(err)
	}
	want := message.Fields{{Name: "e", Value: "f"}, {Name: "c", Value: "dddddddd"}, {Name: "a", Value: "b"}}
	if !reflect.DeepEqual(s.Fields, want) {
		t.Errorf("got %v", s.Fields)
	}
}

func TestASmallBlockCannotBecomeLarge(t *testing.T) {
	var d Decoder
	s := section(1 << 14)
	block := append([]byte("\x40\x01a\x7f\xa1\x1e"), bytes.Repeat([]byte("v"), 4000)...)
	block = append(block, bytes.Repeat([]byte{0xbe}, 10000)...)
	if err := d.Decode(block, s); err != nil || !s.Over() {
		t.Fatal(err, s.Over())
	}
	if len(s.buf) > 1<<14 {
		t.Errorf("%d octets are held", len(s.buf))
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	var d Decoder
	s := section(1 << 14)
	first := []byte("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf")
	if err := d.Decode(first, s); err != nil {
		t.Fatal(err)
	}
	for _, block := range []string{string(first), "\x82\x86\x84\xbf\xbe\x04\x03/xy"} {
		b := []byte(block)
		if n := testing.AllocsPerRun(1000, func() {
			s.Reset()
			if err := d.Decode(b, s); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func encoded(status int, length int64, f message.Fields) []byte {
	b := AppendStatus(nil, status)
	b = AppendFields(b, f)
	for _, x := range f {
		b = AppendPlain(b, x.Name, x.Value)
	}
	return AppendContentLength(b, length)
}

func TestWhatIsEncodedIsValidOnAnyConnection(t *testing.T) {
	f := message.Fields{{Name: "content-type", Value: "text/html"}, {Name: "x-long", Value: strings.Repeat("z", 300)}, {Name: "x-null", Value: ""},
		{Name: "cache-control", Value: "max-age=60"}, {Name: "www-authenticate", Value: "Basic"}}
	for _, status := range []int{100, 103, 200, 204, 206, 304, 400, 404, 500, 503, 999} {
		b := encoded(status, 1234567890123, f)
		var got message.Fields
		x := xhpack.NewDecoder(0, func(h xhpack.HeaderField) { got.Add(h.Name, h.Value) }) // no dynamic table at all
		if _, err := x.Write(b); err != nil || x.Close() != nil {
			t.Fatal(err)
		}
		want := message.Fields{{Name: ":status", Value: string([]byte{'0' + byte(status/100), '0' + byte(status/10%10), '0' + byte(status%10)})}}
		want = append(append(append(want, f...), f...), message.Field{Name: "content-length", Value: "1234567890123"})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if b := AppendContentLength(nil, 0); string(b) != "\x0f\x0d\x010" {
		t.Errorf("%x", b)
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	f := message.Fields{{Name: "age", Value: "17"}, {Name: "x-own", Value: "text"}}
	b := make([]byte, 0, 200)
	if n := testing.AllocsPerRun(100, func() {
		AppendContentLength(AppendPlain(AppendFields(AppendStatus(b, 200), f), "date", "now"), 17)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzDecode compares with x/net on blocks that follow each other on one connection: the same verdict and the same fields. Three classes of
// difference are known: x/net takes a size update after a field while its table is empty, and more than two of them; and it refuses the second
// of two while its table is not empty, though RFC 7541 §4.2 allows a smallest and a last one.
func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x82\x86\x84\x41\x0fwww.example.com"), []byte("\x82\x86\x84\xbe\x58\x08no-cache"))
	f.Add([]byte("\x20\x3f\xe1\x1f\x40\x01a\x01b"), []byte("\xbe\x7e\x02xx"))
	f.Add([]byte("\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), []byte("\x3f\x03\xbe"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var ours Decoder
		var want message.Fields
		x := xhpack.NewDecoder(TableSize, func(h xhpack.HeaderField) { want.Add(h.Name, h.Value) })
		for range 20 { // so that the table overflows, and its rings go round
			for _, block := range [][]byte{first, second} {
				s := section(1 << 20)
				want = nil
				err := ours.Decode(block, s)
				_, wantErr := x.Write(block)
				if wantErr == nil {
					wantErr = x.Close()
				}
				switch {
				case err == errUpdate, err == nil && wantErr != nil && updates(block) == maxUpdates:
					return
				case (err == nil) != (wantErr == nil):
					t.Fatalf("%x: %v; x/net: %v", block, err, wantErr)
				case err != nil:
					return
				case len(want) != len(s.Fields) || len(want) > 0 && !reflect.DeepEqual(s.Fields, want):
					t.Fatalf("%x: %v; x/net: %v", block, s.Fields, want)
				}
			}
		}
	})
}

// TestTwoUpdates: a table may shrink and grow between two blocks (RFC 7541 §4.2), and what still fits stays.
func TestTwoUpdates(t *testing.T) {
	var d Decoder
	for _, block := range []string{"\x40\x01a\x01b", "\x3f\x30\x3f\xe1\x1f\xbe"} {
		s := section(1 << 10)
		if err := d.Decode([]byte(block), s); err != nil || len(s.Fields) != 1 || s.Fields[0] != (message.Field{Name: "a", Value: "b"}) {
			t.Errorf("%x: %v, %v", block, s.Fields, err)
		}
	}
}

// updates counts the size updates that a block begins with.
func updates(block []byte) (n int) {
	for err := error(nil); len(block) > 0 && block[0]&0xe0 == 0x20 && err == nil; n++ {
		_, block, err = literal.Int(block, 5, literal.MaxInt)
	}
	return n
}

// FuzzEncode: what is encoded is decoded again, by x/net and by us.
func FuzzEncode(f *testing.F) {
	f.Add("x-a", "b", 200, int64(0))
	f.Add("age", "\x00\xff", 599, int64(1<<62))
	f.Fuzz(func(t *testing.T, name, value string, status int, length int64) {
		if name == "" || status < 100 || status > 999 || length < 0 {
			return
		}
		b := encoded(status, length, message.Fields{{Name: name, Value: value}})
		s := section(1 << 30)
		if err := new(Decoder).Decode(b, s); err != nil || len(s.Fields) != 4 {
			t.Fatal(err, s.Fields)
		}
		hf, err := xhpack.NewDecoder(0, nil).DecodeFull(b)
		if err != nil || len(hf) != 4 {
			t.Fatal(err, hf)
		}
		for i, h := range hf {
			if s.Fields[i] != (message.Field{Name: h.Name, Value: h.Value}) {
				t.Fatalf("%v, x/net: %v", s.Fields[i], h)
			}
		}
		if s.Fields[1] != (message.Field{Name: name, Value: value}) || s.Fields[2] != s.Fields[1] {
			t.Fatal(s.Fields)
		}
	})
}
