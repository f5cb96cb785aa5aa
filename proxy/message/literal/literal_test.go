package literal

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func TestIntegers(t *testing.T) {
	for _, c := range []struct {
		n     uint8
		first byte
		v     uint64
		wire  string
		why   string
	}{
		{5, 0, 10, "\x0a", "RFC 7541 C.1.1"},
		{5, 0, 1337, "\x1f\x9a\x0a", "RFC 7541 C.1.2"},
		{8, 0, 42, "\x2a", "RFC 7541 C.1.3"},
		{7, 0x80, 126, "\xfe", "the largest that fits the prefix"},
		{7, 0x80, 127, "\xff\x00", "the smallest that does not"},
		{1, 0x02, 0, "\x02", "a prefix of one bit"},
		{8, 0, MaxInt, "\xff\x80\xfe\xff\xff\xff\xff\xff\xff\x3f", "62 bits"},
	} {
		if got := AppendInt([]byte("x"), c.first, c.n, c.v); string(got) != "x"+c.wire {
			t.Errorf("%s: %d became %x, want %x", c.why, c.v, got[1:], c.wire)
		}
		got, rest, err := Int([]byte(c.wire+"rest"), c.n, MaxInt)
		if got != c.v || string(rest) != "rest" || err != nil {
			t.Errorf("%s: %x is %d, %q, %v; want %d", c.why, c.wire, got, rest, err, c.v)
		}
		if _, _, err := Int([]byte(c.wire), c.n, c.v-min(c.v, 1)); c.v > 0 && err != ErrInteger {
			t.Errorf("%s: beyond the limit: %v", c.why, err)
		}
		for i := range len(c.wire) {
			if _, _, err := Int([]byte(c.wire[:i]), c.n, MaxInt); err != ErrShort {
				t.Errorf("%s: cut at %d: %v", c.why, i, err)
			}
		}
	}
}

func TestIntegersThatNobodyNeeds(t *testing.T) {
	for wire, why := range map[string]string{
		"\xff\x81\xfe\xff\xff\xff\xff\xff\xff\x3f":         "2^62",
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "more than 64 bits",
		"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00":     "padding without end",
	} {
		if v, _, err := Int([]byte(wire), 8, MaxInt); err != ErrInteger {
			t.Errorf("%s: %d, %v", why, v, err)
		}
	}
}

func TestHuffmanCodeIsTheRFCs(t *testing.T) {
	for c := range 256 {
		s := strings.Repeat(string([]byte{byte(c)}), 8) // eight of a kind fill whole octets
		if got, want := AppendEncoded(nil, s), hpack.AppendHuffmanString(nil, s); !bytes.Equal(got, want) {
			t.Errorf("%#x: %x, want %x", c, got, want)
		}
	}
}

func TestHuffmanExamples(t *testing.T) {
	for plain, coded := range map[string]string{ // RFC 7541 C.4, C.6
		"www.example.com": "\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
		"no-cache":        "\xa8\xeb\x10\x64\x9c\xbf",
		"302":             "\x64\x02",
		"":                "",
	} {
		if got := AppendEncoded([]byte("x"), plain); string(got) != "x"+coded || EncodedLen(plain) != len(coded) {
			t.Errorf("%q: %x, %d", plain, got[1:], EncodedLen(plain))
		}
		if got, err := AppendDecoded([]byte("x"), []byte(coded)); string(got) != "x"+plain || err != nil {
			t.Errorf("%q: %q, %v", plain, got, err)
		}
	}
}

func TestHuffmanPadding(t *testing.T) {
	for coded, good := range map[string]bool{
		"\x1f":             true,  // "a" (00011) and three ones
		"\x18":             false, // zeros
		"\x1b":             false, // a zero among them
		"\xff":             false, // eight ones are a whole octet too much
		"\x1f\xff":         false, // so are eleven
		"\xff\xff\xff\xff": false, // EOS, and two bits
		"\xff\xff\xff\xea": false, // a part of a code that is longer than what is left
		"\xfe":             false,
	} {
		got, err := AppendDecoded([]byte("x"), []byte(coded))
		if (err == nil) != good || !good && (!errors.Is(err, ErrHuffman) || string(got) != "x") {
			t.Errorf("%x: %q, %v", coded, got, err)
		}
	}
}

func TestStrings(t *testing.T) {
	for _, n := range []uint8{3, 5, 7} {
		for _, s := range []string{"", "a", "\x00\xff", "www.example.com", strings.Repeat("long ", 100)} {
			first := byte(0xff) << (n + 1)
			wire := AppendLiteral([]byte("x"), first, n, s)[1:]
			if wire[0]&first != first {
				t.Errorf("%q: the bits above are lost: %x", s, wire[0])
			}
			out, rest, err := AppendString([]byte("x"), append(wire, "rest"...), n, len(s))
			if string(out) != "x"+s || string(rest) != "rest" || err != nil {
				t.Errorf("%q: %q, %q, %v", s, out, rest, err)
			}
			for i := range len(wire) {
				if out, _, err := AppendString([]byte("x"), wire[:i], n, len(s)); err != ErrShort || string(out) != "x" {
					t.Errorf("%q cut at %d: %q, %v", s, i, out, err)
				}
			}
			if out, _, err := AppendString([]byte("x"), wire, n, len(s)-1); len(s) > 0 && (err != ErrLength || string(out) != "x") {
				t.Errorf("%q beyond the limit: %q, %v", s, out, err)
			}
		}
	}
	if got := AppendLiteral(nil, 0, 7, "\x00\x01"); string(got) != "\x02\x00\x01" {
		t.Errorf("what is not shorter in Huffman code stays plain, got %x", got)
	}
}

func TestNothingAllocates(t *testing.T) {
	buf, out := make([]byte, 0, 256), make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		b := AppendLiteral(buf, 0, 7, "text/html; charset=utf-8 \x00\x01\xff")
		if _, _, err := AppendString(out, b, 7, 100); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzInt(f *testing.F) {
	f.Add([]byte("\x1f\x9a\x0a"), uint8(5))
	f.Add([]byte("\xff\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), uint8(8))
	f.Fuzz(func(t *testing.T, p []byte, n uint8) {
		n = n%8 + 1
		v, rest, err := Int(p, n, MaxInt)
		if err != nil {
			return
		}
		again, left, err := Int(AppendInt(nil, 0, n, v), n, MaxInt)
		if again != v || len(left) != 0 || err != nil || len(rest) >= len(p) {
			t.Fatalf("%d became %d, %v, %v", v, again, left, err)
		}
	})
}

// FuzzHuffman compares with the code of x/net: the same verdict and the same octets.
func FuzzHuffman(f *testing.F) {
	f.Add([]byte("\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\x1f\xff"))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := AppendDecoded(nil, p)
		want, wantErr := hpack.HuffmanDecodeToString(p)
		if (err == nil) != (wantErr == nil) || err == nil && string(got) != want {
			t.Fatalf("%x: %q, %v; x/net: %q, %v", p, got, err, want, wantErr)
		}
		coded := AppendEncoded(nil, p)
		if len(coded) != EncodedLen(p) {
			t.Fatalf("%x: length %d, announced %d", p, len(coded), EncodedLen(p))
		}
		if back, err := AppendDecoded(nil, coded); err != nil || !bytes.Equal(back, p) {
			t.Fatalf("%x came back as %x, %v", p, back, err)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	coded := AppendEncoded(nil, "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36")
	out := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := AppendDecoded(out, coded); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(coded)))
}
