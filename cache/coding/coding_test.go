package coding

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"nearcast/proxy/message"
)

func accept(lines ...string) *Accept {
	var f message.Fields
	for _, l := range lines {
		f.Add("accept-encoding", l)
	}
	a := ParseAccept(f)
	return &a
}

func TestRFC9110_12_5_3_AcceptEncoding(t *testing.T) {
	const yes, no, last = unit, 0, unlisted
	for _, tt := range []struct {
		why                      string
		lines                    []string
		identity, gzip, br, zstd int
		canonical                string
	}{
		{"no field", nil, last, no, no, no, ""},
		{"an empty one", []string{""}, last, no, no, no, "identity"},
		{"the RFC's first example", []string{"compress, gzip"}, last, yes, no, no, "gzip"},
		{"its third", []string{"*"}, yes, yes, yes, yes, "gzip, br, zstd, identity"},
		{"its fourth", []string{"compress;q=0.5, gzip;q=1.0"}, last, yes, no, no, "gzip"},
		{"its fifth", []string{"gzip;q=1.0, identity; q=0.5, *;q=0"}, 1000, yes, no, no, "gzip, identity;q=0.9"},
		{"a browser", []string{"gzip, deflate, br, zstd"}, last, yes, yes, yes, "gzip, br, zstd"},
		{"curl", []string{"deflate, gzip, br, zstd"}, last, yes, yes, yes, "gzip, br, zstd"},
		{"case", []string{"GZip;Q=0.5"}, last, 1000, no, no, "gzip"},
		{"x-gzip is gzip (§8.4.1.3)", []string{"x-gzip"}, last, yes, no, no, "gzip"},
		{"several lines", []string{"gzip", "br"}, last, yes, yes, no, "gzip, br"},
		{"weights", []string{"br;q=0.001, gzip;q=0.5"}, last, 1000, 2, no, "gzip, br;q=0.9"},
		{"nothing but the rank counts", []string{"br;q=0.4, gzip;q=0.5"}, last, 1000, 800, no, "gzip, br;q=0.9"},
		{"refused by name", []string{"gzip;q=0, *"}, yes, no, yes, yes, "deflate, br, zstd, identity"},
		{"identity refused by name", []string{"identity;q=0, gzip"}, no, yes, no, no, "gzip, identity;q=0"},
		{"identity refused by the star", []string{"gzip, *;q=0"}, no, yes, no, no, "gzip, identity;q=0"},
		{"everything refused", []string{"*;q=0"}, no, no, no, no, "identity;q=0"},
		{"identity preferred", []string{"identity, gzip;q=0.5"}, yes, 1000, no, no, "identity, gzip;q=0.9"},
		{"deflate alone", []string{"deflate"}, last, no, no, no, "deflate"},
		{"deflate before gzip", []string{"deflate, gzip;q=0.5"}, last, 1000, no, no, "deflate, gzip;q=0.9"},
		{"the lower of two", []string{"gzip;q=0.1, gzip"}, last, 200, no, no, "gzip"},
		{"white space", []string{"\tgzip ; q=0.5 ,, br"}, last, 1000, yes, no, "br, gzip;q=0.9"},
		{"a weight above 1", []string{"gzip;q=1.001, br"}, last, no, yes, no, "br"},
		{"no weight", []string{"gzip;q=, br;q"}, last, no, no, no, "identity"},
		{"another parameter", []string{"gzip;x=1, br;q=0.5;x=1"}, last, no, no, no, "identity"},
		{"unknown ones alone", []string{"compress, x"}, last, no, no, no, "identity"},
		{"RFC 9842 with a dictionary", []string{"gzip, br, zstd, dcb, dcz"}, last, yes, yes, yes, "gzip, br, zstd, dcb, dcz"},
		{"dictionaries are named, or not meant", []string{"*, dcb;q=0"}, yes, yes, yes, yes, "gzip, br, zstd, identity"},
	} {
		a := accept(tt.lines...)
		got := [...]int{a.Weight(Identity), a.Weight(Gzip), a.Weight(Brotli), a.Weight(Zstd)}
		if want := [...]int{tt.identity, tt.gzip, tt.br, tt.zstd}; got != want {
			t.Errorf("%s: %q weighs identity, gzip, br, zstd as %v, want %v", tt.why, tt.lines, got, want)
		}
		if a.Given() != (tt.lines != nil) {
			t.Errorf("%s: given %t", tt.why, a.Given())
		}
		if got := string(a.AppendCanonical(nil)); a.Given() && got != tt.canonical {
			t.Errorf("%s: canonical form %q, want %q", tt.why, got, tt.canonical)
		}
	}
}

func TestNarrows(t *testing.T) {
	for _, tt := range []struct {
		why, wide, narrow string
		c                 Coding
		want              bool
	}{
		{"the same", "gzip, br", "br, gzip", Brotli, true},
		{"one less to choose from", "gzip, br, zstd", "gzip, br", Brotli, true},
		{"only the one chosen", "gzip, br, zstd", "gzip", Gzip, true},
		{"the one chosen is missing", "gzip, br", "gzip", Brotli, false},
		{"one more to choose from", "gzip", "gzip, br", Gzip, false},
		{"another rank", "br, gzip;q=0.5", "br, gzip", Brotli, false},
		{"now it is preferred", "br, gzip;q=0.5", "br;q=0.5, gzip", Brotli, false},
		{"it was preferred less", "br, gzip", "br;q=0.5, gzip", Gzip, true},
		{"it is less preferred, and was", "br, gzip;q=0.5, zstd", "br, gzip;q=0.1", Gzip, true},
		{"identity is asked for now", "gzip", "identity, gzip;q=0.5", Gzip, false},
		{"identity is refused now", "gzip, br", "gzip, *;q=0", Gzip, true},
		{"identity as it was", "gzip, br, identity;q=0.5", "gzip, identity;q=0.1", Gzip, true},
		{"deflate tells no one apart", "gzip", "gzip, deflate", Gzip, true},
	} {
		if got := accept(tt.narrow).Narrows(accept(tt.wide), tt.c); got != tt.want {
			t.Errorf("%s: %q after %q was answered by %v: %t", tt.why, tt.narrow, tt.wide, tt.c, got)
		}
	}
	if accept("gzip").Narrows(accept(), Gzip) || accept().Narrows(accept("gzip"), Gzip) {
		t.Error("a request without the field is of another kind")
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	f := message.Fields{{Name: "accept-encoding", Value: "gzip, deflate;q=0.9, br;q=0.8, zstd, *;q=0.1"}}
	var buf [96]byte
	if n := testing.AllocsPerRun(100, func() {
		a := ParseAccept(f)
		a.AppendCanonical(buf[:0])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAccept(f *testing.F) {
	for _, s := range []string{"gzip, deflate, br, zstd", "gzip;q=1.0, identity; q=0.5, *;q=0", "*", "", "x-gzip;q=0.3,,;q=1", "identity;q=0"} {
		f.Add(s, "br;q=0.5")
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a := accept(one, two)
		for c := range count {
			if w := a.Weight(c); w < 0 || w > unit {
				t.Fatalf("%q, %q: weight %d of %v", one, two, w, c)
			}
		}
		form := string(a.AppendCanonical(nil))
		if len(form) > 96 {
			t.Fatalf("%q is longer than its readers' buffers", form)
		}
		again := accept(form)
		if got := string(again.AppendCanonical(nil)); got != form {
			t.Fatalf("%q, %q: the canonical form %q has %q", one, two, form, got)
		}
		for x := range count {
			for y := range count {
				if a.named(x) && a.named(y) && (a.Weight(x) < a.Weight(y)) != (again.Weight(x) < again.Weight(y)) {
					t.Fatalf("%q, %q: %q changes the order of %v and %v", one, two, form, x, y)
				}
			}
			if a.Weight(x) > 0 && (x != Deflate || a.named(x)) && !again.Narrows(a, x) {
				t.Fatalf("%q, %q: the canonical form %q asks for more", one, two, form)
			}
		}
	})
}

func decode(t *testing.T, c Coding, b []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	switch c {
	case Gzip:
		r, err = gzip.NewReader(bytes.NewReader(b)) // the standard library's, to have another opinion
	case Brotli:
		r = brotli.NewReader(bytes.NewReader(b))
	case Zstd:
		// No decoder must take more than this window (RFC 9659 §3).
		r, err = zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderMaxWindow(8<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%v: %v", c, err)
	}
	return out
}

func TestWhatIsEncodedDecodes(t *testing.T) {
	large := catalogue(140 << 10)
	for c, levels := range map[Coding][]int{Gzip: {1, 6, 9}, Brotli: {1, 2, 4, 6, 9, 10, 11}, Zstd: {1, 3, 7, 22}} {
		for _, level := range levels {
			for _, src := range [][]byte{nil, large[:1], large[:5<<10], large} {
				if level > 6 && len(src) > 5<<10 {
					continue // they take their time
				}
				var first []byte
				for range 2 {
					var b bytes.Buffer
					w, err := NewEncoder(c, &b, level, int64(len(src)))
					if err != nil {
						t.Fatal(err)
					}
					for p := src; len(p) > 0; p = p[min(len(p), 8<<10):] {
						w.Write(p[:min(len(p), 8<<10)])
					}
					if err := w.Close(); err != nil {
						t.Fatal(err)
					}
					if got := decode(t, c, b.Bytes()); !bytes.Equal(got, src) {
						t.Fatalf("%v %d: %d bytes became %d", c, level, len(src), len(got))
					}
					if first != nil && !bytes.Equal(first, b.Bytes()) {
						t.Errorf("%v %d: two encodings of the same differ, and a strong entity tag names both", c, level)
					}
					first = b.Bytes()
				}
			}
		}
	}
	const long = 9 << 20
	for _, size := range []int64{-1, long} { // the window stays within what every decoder takes
		var b bytes.Buffer
		w, _ := NewEncoder(Zstd, &b, 7, size)
		io.Copy(w, io.LimitReader(zeros{}, long))
		w.Close()
		if got := decode(t, Zstd, b.Bytes()); len(got) != long {
			t.Errorf("size %d: %d bytes", size, len(got))
		}
	}
}

// TestASpareEncoderMakesTheSame: what an encoder has made before leaves no trace in what it makes next.
func TestASpareEncoderMakesTheSame(t *testing.T) {
	src, other := catalogue(5<<10), bytes.Repeat([]byte("silver oak "), 700)
	for c, levels := range map[Coding][]int{Gzip: {1, 6, 9}, Brotli: {1, 2, 3, 4, 6, 7, 8, 9, 10}, Zstd: {1, 3, 7, 11}} {
		for _, level := range levels {
			encode := func(w io.WriteCloser, src []byte) {
				w.Write(src[:len(src)/2])
				w.Write(src[len(src)/2:])
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var want, got bytes.Buffer
			fresh, err := kind{c, level, windowBits(int64(len(src)))}.encoder(&want)
			if err != nil {
				t.Fatal(err)
			}
			encode(fresh, src)
			w, _ := NewEncoder(c, io.Discard, level, int64(len(other)))
			encode(w, other)
			w, _ = NewEncoder(c, io.Discard, level, int64(len(other)))
			w.Write(other) // and is given up
			got.Reset()
			w, _ = NewEncoder(c, &got, level, int64(len(src)))
			encode(w, src)
			if !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%v %d: %d bytes, %d when it was new", c, level, got.Len(), want.Len())
			}
		}
	}
}

// TestRFC9659_3_WindowSize: at no level a decoder needs more than browsers have, whatever the length.
func TestRFC9659_3_WindowSize(t *testing.T) {
	src := catalogue(140 << 10)
	for _, size := range []int64{-1, 1 << 30} {
		for _, level := range []int{1, 3, 7, 22} {
			var b bytes.Buffer
			w, _ := NewEncoder(Zstd, &b, level, size)
			w.Write(src)
			w.Close()
			var h zstd.Header
			if err := h.Decode(b.Bytes()); err != nil || h.WindowSize > 8<<20 || h.WindowSize == 0 && h.FrameContentSize > 8<<20 {
				t.Errorf("zstd %d of %d bytes: %+v, %v", level, size, h, err)
			}
		}
		for _, level := range []int{1, 6, 10} {
			var b bytes.Buffer
			w, _ := NewEncoder(Brotli, &b, level, size)
			w.Write(src[:5<<10])
			w.Close()
			if b.Bytes()[0]&0x7f == 0x11 { // which RFC 7932 §9.1 does not allow: large windows
				t.Errorf("br %d of %d bytes has a large window", level, size)
			}
		}
	}
}

func FuzzEncode(f *testing.F) {
	f.Add([]byte("silver oak, silver oak, silver oak"), byte(6), uint16(7))
	f.Add(bytes.Repeat([]byte{0, 1, 2, 3}, 20_000), byte(40), uint16(60_000))
	f.Add([]byte{}, byte(0), uint16(0))
	f.Fuzz(func(t *testing.T, src []byte, how byte, piece uint16) {
		c := [...]Coding{Gzip, Brotli, Zstd}[how%3]
		var b bytes.Buffer
		w, err := NewEncoder(c, &b, 1+int(how/3)%9, int64(len(src)))
		if err != nil {
			t.Fatal(err)
		}
		for p := src; len(p) > 0; {
			n := min(len(p), int(piece)+1)
			if _, err := w.Write(p[:n]); err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := decode(t, c, b.Bytes()); !bytes.Equal(got, src) {
			t.Fatalf("%v: %d bytes became %d", c, len(src), len(got))
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestCodingsByName(t *testing.T) {
	for c := range count {
		if got, ok := Parse(strings.ToUpper(c.String())); !ok || got != c {
			t.Errorf("%v parses as %v", c, got)
		}
		var back Coding
		if err := back.UnmarshalText([]byte(c.String())); (err == nil) != (MaxLevel[c] > 0) || err == nil && back != c {
			t.Errorf("%v: %v, %v", c, back, err)
		}
		if _, err := NewEncoder(c, io.Discard, 1, 0); (err == nil) != (MaxLevel[c] > 0) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := NewEncoder(count, io.Discard, 1, 0); err == nil {
		t.Error("an encoder for nothing")
	}
}
