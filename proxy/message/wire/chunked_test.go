package wire

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"nearcast/proxy/message"
)

// decode takes a chunked body out of in, in parts of the given size.
func decode(in string, part, limit int) (body string, rest string, tr message.Fields, err error) {
	var d ChunkedDecoder
	d.Reset(false, Limits{})
	var got []byte
	pending := []byte{}
	for {
		data, n, err := d.Next(pending, limit)
		got = append(got, data...)
		pending = pending[n:]
		if err == io.EOF {
			return string(got), string(pending) + in, d.Trailers(), nil
		}
		if err != nil {
			return string(got), "", nil, err
		}
		if len(pending) == 0 {
			if in == "" {
				return string(got), "", nil, io.ErrUnexpectedEOF
			}
			k := min(part, len(in))
			pending, in = []byte(in[:k]), in[k:]
		}
	}
}

func TestAChunkedBodyIsDecodedHoweverItComes(t *testing.T) {
	const in = "5\r\nhello\r\n00000a;a;b=c;d=\"e;\\\"\r \";f = g ; h\r\n, chunked \r\n1; \tx\r\n!\r\n000\r\nX-A: 1 \r\ncontent-type: x\r\nGrpc-Status:0\r\n\r\nGET /"
	good := strings.Replace(in, "\r ", " ", 1)
	want := message.Fields{{Name: "x-a", Value: "1"}, {Name: "grpc-status", Value: "0"}}
	for part := 1; part <= len(good); part++ {
		for _, limit := range []int{1, 3, 1000} {
			body, rest, tr, err := decode(good, part, limit)
			if err != nil || body != "hello, chunked !" || rest != "GET /" || !slices.Equal(tr, want) {
				t.Fatalf("in parts of %d, at most %d: %q, %q, %v, %v", part, limit, body, rest, tr, err)
			}
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	for in, want := range map[string]string{
		"X00\n":                                 "malformed chunk size",
		"X00\n\x00\x01\r\n":                     "malformed chunk size",
		"\r\n":                                  "malformed chunk size",
		";a\r\n":                                "malformed chunk size",
		" 1\r\n":                                "malformed chunk size",
		"+1\r\n":                                "malformed chunk size",
		"-1\r\n":                                "malformed chunk size",
		"0x1\r\n":                               "malformed chunk size",
		"1g\r\n":                                "malformed chunk size",
		"1\x00\r\n":                             "malformed chunk size",
		"1\n":                                   "bare LF",
		"1\rx":                                  "bare CR",
		"1\r\r\n":                               "bare CR",
		"1234567890123456\r\n":                  "chunk too large",
		"0000000000000001\r\n":                  "chunk too large",
		"1 \r\na\r\n":                           "malformed chunk size",
		"1 2\r\n":                               "malformed chunk size",
		"1\t\r\na\r\n":                          "malformed chunk size",
		"1 \n":                                  "malformed chunk size",
		"1 =a\r\n":                              "malformed chunk size",
		"1 a=b\r\n":                             "malformed chunk size",
		"0 \r\n\r\n":                            "malformed chunk size",
		"1 ;\r\n":                               "malformed chunk extension",
		"1 ; \r\n":                              "malformed chunk extension",
		"1 ;=a\r\n":                             "malformed chunk extension",
		"1 ;a = \r\n":                           "malformed chunk extension",
		"1" + strings.Repeat(" ", 5000):         "chunk extensions too long",
		"1;a" + strings.Repeat(" ", 5000):       "chunk extensions too long",
		strings.Repeat("1  ;a\r\nx\r\n", 2000):  "chunk extensions too long",
		"1;\r\n":                                "malformed chunk extension",
		"1;a b\r\n":                             "malformed chunk extension",
		"1;a=\r\n":                              "malformed chunk extension",
		"1;a=b c\r\n":                           "malformed chunk extension",
		"1;a=\"b\r\n":                           "malformed chunk extension",
		"1;a=\"b\"c\r\n":                        "malformed chunk extension",
		"1;a=\"\\\r\n":                          "malformed chunk extension",
		"1;a\n":                                 "malformed chunk extension",
		"1;a \r\n":                              "malformed chunk extension",
		"1;a=b\n":                               "malformed chunk extension",
		"1;\x00\r\n":                            "malformed chunk extension",
		"1;" + strings.Repeat("a", 5000):        "chunk extensions too long",
		strings.Repeat("1;aaaa\r\nx\r\n", 1000): "chunk extensions too long",
		"1\r\nab":                               "no line end after a chunk",
		"1\r\na\n":                              "no line end after a chunk",
		"1\r\na\rb":                             "no line end after a chunk",
		"0\r\n\n":                               "bare LF",
		"0\r\na: b\n\r\n":                       "bare LF",
		"0\r\n\rx: y\r\n\r\n":                   "bare CR",
		"0\r\n a: b\r\n\r\n":                    "folded field line",
		"0\r\na : b\r\n\r\n":                    "space before a colon",
		"0\r\nContent-Length: 1\r\n\r\n":        "forbidden trailer field",
		"0\r\nTransfer-Encoding: chunked\r\n\r\n":          "forbidden trailer field",
		"0\r\n" + strings.Repeat("a: b\r\n", 300) + "\r\n": "too many field lines",
		"0\r\na: " + strings.Repeat("b", 9000):             "trailer section too large",
	} {
		for _, part := range []int{1, 7, 1 << 20} {
			_, _, _, err := decode(in, part, 100)
			var e *message.Error
			if !errors.As(err, &e) || e.Reason != want || e.Status != 400 && e.Status != 431 {
				t.Errorf("%.40q in parts of %d: got %v, want %s", in, part, err, want)
			}
		}
	}
}

// source is a Source on a reader, with a small buffer.
type source struct {
	r   io.Reader
	buf []byte
}

func (s *source) Buffered() []byte { return s.buf }
func (s *source) Consume(n int)    { s.buf = s.buf[n:] }
func (s *source) Fill() error {
	b := make([]byte, 100)
	n, err := s.r.Read(b)
	s.buf = b[:n]
	if n > 0 {
		return nil
	}
	return err
}
func (s *source) Read(p []byte) (int, error) { return s.r.Read(p) }

func TestABodyEndsWhereItsFramingSays(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1000)
	for _, c := range []struct {
		framing    Framing
		length     int64
		in         string
		want, rest string
		err        error
	}{
		{NoBody, 0, "x", "", "x", nil},
		{ByLength, 0, "x", "", "x", nil},
		{ByLength, 3, "abcd", "abc", "d", nil},
		{ByLength, 16000, big + "x", big, "x", nil},
		{ByLength, 5, "abcd", "abcd", "", io.ErrUnexpectedEOF},
		{UntilClose, -1, big, big, "", nil},
		{Chunked, -1, "3e80\r\n" + big + "\r\n0\r\n\r\nx", big, "x", nil},
		{Chunked, -1, "3e80\r\n" + big, big, "", io.ErrUnexpectedEOF},
		{Chunked, -1, "0\r\n", "", "", io.ErrUnexpectedEOF},
	} {
		for _, size := range []int{1, 3000, 1 << 20} {
			s := &source{r: iotest.HalfReader(strings.NewReader(c.in))}
			var b Body
			b.Reset(s, c.framing, c.length, true, Limits{})
			var got bytes.Buffer
			p := make([]byte, size)
			var err error
			for n := 0; err == nil; {
				n, err = b.Read(p)
				got.Write(p[:n])
			}
			if err == io.EOF {
				err = nil
			}
			tail, _ := io.ReadAll(s.r)
			if rest := string(s.buf) + string(tail); err != c.err || got.String() != c.want || rest != c.rest || b.Ended() != (err == nil) {
				t.Errorf("framing %d of %.20q by %d: %d bytes, rest %q, ended %t, %v", c.framing, c.in, size, got.Len(), rest, b.Ended(), err)
			}
		}
	}
}

func TestTheLastBytesComeWithTheEnd(t *testing.T) {
	for framing, in := range map[Framing]string{ByLength: "abc", Chunked: "3\r\nabc\r\n0\r\n\r\n"} {
		s := &source{r: strings.NewReader(in)}
		var b Body
		b.Reset(s, framing, 3, false, Limits{})
		if n, err := b.Read(make([]byte, 10)); n != 3 || err != io.EOF {
			t.Errorf("framing %d: %d, %v", framing, n, err)
		}
	}
}

// TestSmallChunksAreReadTogether: a read per chunk would let a client have a write made to the origin for each byte that it sends.
func TestSmallChunksAreReadTogether(t *testing.T) {
	const in = "1\r\na\r\n1;x\r\nb\r\n3\r\ncde\r\n0\r\n\r\nnext"
	for size, want := range map[int]string{1: "a", 2: "ab", 4: "abcd", 5: "abcde", 4096: "abcde"} {
		s := &source{r: strings.NewReader(in)}
		var b Body
		b.Reset(s, Chunked, -1, false, Limits{})
		p := make([]byte, size)
		if n, err := b.Read(p); string(p[:n]) != want || (err == io.EOF) != (len(want) == 5) {
			t.Errorf("%d bytes at most: %q, %v, want %q", size, p[:n], err, want)
		}
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	in := []byte("5\r\nhello\r\n5;a=b\r\nworld\r\n0\r\n\r\n")
	var d ChunkedDecoder
	if n := testing.AllocsPerRun(100, func() {
		d.Reset(false, Limits{})
		for rest := in; ; {
			_, n, err := d.Next(rest, 100)
			if rest = rest[n:]; err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBadWhiteSpaceAroundAnExtension(t *testing.T) {
	for _, line := range []string{"5 ;a", "5\t ; a", "5;a =b", "5; a= b", "5 ;\ta \t=\t\"b ;\" ; c", "5;a ;b", "5 ;a=b;c = d"} {
		for _, part := range []int{1, 3, 1 << 20} {
			body, rest, _, err := decode(line+"\r\nhello\r\n0 ;x\r\n\r\nGET /", part, 1000)
			if err != nil || body != "hello" || rest != "GET /" {
				t.Errorf("%q in parts of %d: %q, rest %q, %v", line, part, body, rest, err)
			}
		}
	}
}
