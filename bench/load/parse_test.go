package load

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// readAll feeds a response to the parser in pieces of the given size, as a connection does. It returns what is left over.
func readAll(p *h1Parser, text string, piece int) (done bool, rest string, err error) {
	p.reset()
	var held []byte
	for len(text) > 0 {
		n := min(piece, len(text))
		held, text = append(held, text[:n]...), text[n:]
		used, done, err := p.consume(held)
		if err != nil || done {
			return done, string(held[used:]) + text, err
		}
		held = held[used:]
	}
	return false, string(held), nil
}

func TestH1Responses(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		why, text string
		status    int
		bytes     int64
		close     bool
		rest      string
	}{
		{"a length", ok + "Content-Length: 5\r\n\r\nhello", 200, 5, false, ""},
		{"another response behind it", ok + "content-length:5 \r\n\r\nhelloHTTP", 200, 5, false, "HTTP"},
		{"twice the same length", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 200, 5, false, ""},
		{"no reason phrase", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, 0, false, ""},
		{"an empty reason phrase", "HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", 404, 0, false, ""},
		{"no body by its status", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, 0, false, ""},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", 204, 0, false, ""},
		{"chunks", ok + "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0a;x=\"y\"\r\n0123456789\r\n0\r\n\r\nX", 200, 15, false, "X"},
		{"a trailer section", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nA: b\r\n\r\n", 200, 1, false, ""},
		{"informational ones", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 1\r\n\r\na", 200, 1, false, ""},
		{"the end of the connection", ok + "Content-Length: 1\r\nConnection: x, Close\r\n\r\na", 200, 1, true, ""},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", 200, 1, true, ""},
		{"HTTP/1.0 that stays", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na", 200, 1, false, ""},
	} {
		for piece := 1; piece <= len(tt.text); piece++ {
			var p h1Parser
			done, rest, err := readAll(&p, tt.text, piece)
			if !done || err != nil || p.status != tt.status || p.bytes != tt.bytes || p.close != tt.close || rest != tt.rest {
				t.Fatalf("%s, in pieces of %d: %v, %v, status %d, %d bytes, close %v, rest %q", tt.why, piece, done, err, p.status, p.bytes, p.close, rest)
			}
			// The same head again takes the short way.
			if done, rest, err = readAll(&p, tt.text, piece); !done || err != nil || p.status != tt.status || p.bytes != tt.bytes || rest != tt.rest {
				t.Fatalf("%s, again: %v, %v, status %d, %d bytes", tt.why, done, err, p.status, p.bytes)
			}
		}
	}
	p := h1Parser{head: true}
	if done, _, err := readAll(&p, ok+"Content-Length: 5\r\n\r\n", 7); !done || err != nil || p.bytes != 0 {
		t.Errorf("HEAD: %v, %v", done, err)
	}
	p = h1Parser{}
	if done, _, err := readAll(&p, ok+"\r\nuntil the end", 4); done || err != nil || !p.ends() || p.bytes != 13 || !p.close {
		t.Errorf("until the connection ends: %v, %v, %d bytes", done, err, p.bytes)
	}
	if readAll(&p, ok+"Content-Length: 9\r\n\r\nshort", 4); p.ends() {
		t.Error("a body that is cut off is whole")
	}
}

func TestH1RefusesWhatIsNoResponse(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for why, text := range map[string]string{
		"another protocol":            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
		"HTTP/2":                      "HTTP/2.0 200 OK\r\n\r\n",
		"a status of two digits":      "HTTP/1.1 20 OK\r\n\r\n",
		"a status of four digits":     "HTTP/1.1 2000 OK\r\n\r\n",
		"a status below 100":          "HTTP/1.1 099 OK\r\n\r\n",
		"101":                         "HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"a space before the colon":    ok + "Content-Length : 5\r\n\r\nhello",
		"a folded line":               ok + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"a bare LF":                   ok + "A: b\nContent-Length: 0\r\n\r\n",
		"a bare LF in the first line": "HTTP/1.1 200 OK\nA: b\r\n\r\n",
		"a bare CR":                   ok + "A: b\rc\r\n\r\n",
		"two lengths":                 ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"a list of lengths":           ok + "Content-Length: 5, 5\r\n\r\nhello",
		"a signed length":             ok + "Content-Length: +5\r\n\r\nhello",
		"an empty length":             ok + "Content-Length:\r\n\r\n",
		"a length too large":          ok + "Content-Length: 99999999999999999999\r\n\r\n",
		"a length and chunks":         ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"an unknown coding":           ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunked twice":               ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"no chunk size":               ok + "Transfer-Encoding: chunked\r\n\r\n\r\n",
		"a chunk size in no hex":      ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
		"a chunk size too large":      ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		"a chunk that is too long":    ok + "Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
		"a chunk line without CR":     ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		"a trailer that is none":      ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nA b\r\n\r\n",
		"a head without end":          ok + "A: " + strings.Repeat("x", 2*maxHead),
		"a chunk line without end":    ok + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("x", 2*maxHead),
	} {
		var p h1Parser
		if done, _, err := readAll(&p, text, 4096); done || classOf(err) != Protocol {
			t.Errorf("%s: done %v, %v", why, done, err)
		}
	}
}

func FuzzH1Response(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), 3, false)
	f.Add([]byte("HTTP/1.1 103 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\nX"), 1, false)
	f.Add([]byte("HTTP/1.0 304 \r\nConnection: close\r\n\r\n"), 7, true)
	f.Fuzz(func(t *testing.T, text []byte, piece int, head bool) {
		if len(text) > 4096 {
			return
		}
		piece = max(1, piece&0xff)
		whole, pieces := h1Parser{head: head}, h1Parser{head: head}
		done, rest, err := readAll(&whole, string(text), max(1, len(text)))
		done2, rest2, err2 := readAll(&pieces, string(text), piece)
		if done != done2 || (err == nil) != (err2 == nil) || err == nil && (rest != rest2 || whole.status != pieces.status || whole.bytes != pieces.bytes || whole.close != pieces.close) {
			t.Fatalf("whole: %v %q %v, in pieces of %d: %v %q %v", done, rest, err, piece, done2, rest2, err2)
		}
		if done && (whole.status < 200 || whole.bytes > int64(len(text))) {
			t.Fatalf("status %d, %d bytes", whole.status, whole.bytes)
		}
	})
}

// cut reads all frames from bytes that come in pieces.
func cut(b []byte, piece int) (list []frame, held int, err error) {
	var f frames
	var rest []byte
	for len(b) > 0 {
		n := min(piece, len(b))
		rest, b = append(rest, b[:n]...), b[n:]
		for {
			got, used, ok, err := f.next(rest)
			if err != nil {
				return list, 0, err
			}
			rest = rest[used:]
			if !ok {
				break
			}
			got.payload = bytes.Clone(got.payload)
			list = append(list, got)
		}
	}
	return list, len(rest), nil
}

func TestFrames(t *testing.T) {
	b := appendFrameHeader(nil, 0, frameSettings, flagAck, 0)
	b = append(appendFrameHeader(b, 5, frameData, flagEndStream|flagPadded, 1<<31|7), "\x02ab\x00\x00"...) // the reserved bit is ignored
	b = appendFrameHeader(b, 0, frameData, 0, 9)
	b = append(appendFrameHeader(b, 8, frameHeaders, flagPadded|flagPriority, 3), "\x01\x00\x00\x00\x00\x10B\x00"...)
	b = appendWordFrame(b, frameWindowUpdate, 3, 77)
	for piece := 1; piece <= len(b); piece++ {
		list, held, err := cut(b, piece)
		if err != nil || len(list) != 5 || held != 0 {
			t.Fatalf("in pieces of %d: %+v, %d bytes held, %v", piece, list, held, err)
		}
		if d := list[1]; d.kind != frameData || d.stream != 7 || d.length != 5 || d.padding != 3 || d.flags&flagEndStream == 0 {
			t.Errorf("DATA: %+v", d)
		}
		if d := list[2]; d.stream != 9 || d.length != 0 {
			t.Errorf("empty DATA: %+v", d)
		}
		if block, err := list[3].fragment(); string(block) != "B" || err != nil {
			t.Errorf("HEADERS: %q, %v", block, err)
		}
		if w := list[4]; w.kind != frameWindowUpdate || string(w.payload) != "\x00\x00\x00\x4d" {
			t.Errorf("WINDOW_UPDATE: %+v", w)
		}
	}
	for why, b := range map[string][]byte{
		"too long":               appendFrameHeader(nil, maxFrame+1, frameHeaders, 0, 1),
		"padding without length": appendFrameHeader(nil, 0, frameData, flagPadded, 1),
		"more padding than data": append(appendFrameHeader(nil, 2, frameData, flagPadded, 1), 2, 0),
	} {
		if _, _, err := cut(b, 100); classOf(err) != Protocol {
			t.Errorf("%s: %v", why, err)
		}
	}
	for _, f := range []frame{{flags: flagPadded}, {flags: flagPadded, payload: []byte{1}}, {flags: flagPriority, payload: []byte("1234")}} {
		if block, err := f.fragment(); err == nil {
			t.Errorf("%+v: %q", f, block)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(append(appendFrameHeader(nil, 5, frameData, flagPadded, 7), "\x02ab\x00\x00"...), 2)
	f.Add(appendWordFrame(appendFrameHeader(nil, 0, frameSettings, 0, 0), frameRSTStream, 1, 2), 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole, held, err := cut(b, max(1, len(b)))
		pieces, held2, err2 := cut(b, max(1, piece&0xff))
		if len(whole) != len(pieces) || held != held2 || (err == nil) != (err2 == nil) {
			t.Fatalf("%d frames, %d held, %v; in pieces %d, %d, %v", len(whole), held, err, len(pieces), held2, err2)
		}
		total := held
		for i, w := range whole {
			p := pieces[i]
			if w.kind != p.kind || w.flags != p.flags || w.stream != p.stream || w.length != p.length || w.padding != p.padding || !bytes.Equal(w.payload, p.payload) {
				t.Fatalf("frame %d: %+v, in pieces %+v", i, w, p)
			}
			total += frameHeader + w.length
			w.fragment()
		}
		if total > len(b) {
			t.Fatalf("%d bytes of frames in %d bytes", total, len(b))
		}
	})
}

// encode is what another encoder makes of fields.
func encode(e *hpack.Encoder, buf *bytes.Buffer, fields ...hpack.HeaderField) []byte {
	buf.Reset()
	for _, f := range fields {
		e.WriteField(f)
	}
	return bytes.Clone(buf.Bytes())
}

func TestStatusOfABlock(t *testing.T) {
	var buf bytes.Buffer
	e, s := hpack.NewEncoder(&buf), newStatuses()
	check := func(want int, block []byte) {
		t.Helper()
		if got, err := s.of(block); got != want || err != nil {
			t.Errorf("%x: %d, %v, want %d", block, got, err, want)
		}
	}
	field := func(name, value string, sensitive bool) hpack.HeaderField {
		return hpack.HeaderField{Name: name, Value: value, Sensitive: sensitive}
	}
	for range 3 { // the second time many of them are in the dynamic table
		check(200, encode(e, &buf, field(":status", "200", false), field("date", "now", false)))
		check(503, encode(e, &buf, field(":status", "503", false), field("x-a", "b", false)))
		check(502, encode(e, &buf, field(":status", "502", true)))
		check(404, encode(e, &buf, field(":status", "404", false), field("x-a", "b", true)))
		check(0, encode(e, &buf, field("grpc-status", "0", false)))
	}
	e.SetMaxDynamicTableSize(0)
	check(299, encode(e, &buf, field(":status", "299", false)))
	check(299, encode(e, &buf, field(":status", "299", false)))
	check(418, []byte("\x08\x03418\x00\x01a\x01b"))
	check(418, []byte("\x00\x07:status\x03418"))
	for why, block := range map[string]string{
		"cut off": "\x08\x03", "no number": "\x08\x03abc", "an index that is not there": "\xff\x7f", "index 0": "\x80", "four digits": "\x08\x042000",
	} {
		if got, err := s.of([]byte(block)); classOf(err) != Protocol {
			t.Errorf("%s: %d, %v", why, got, err)
		}
	}
}

// FuzzStatus compares the short way with a whole decoding.
func FuzzStatus(f *testing.F) {
	f.Add([]byte("\x88\x0f\x0d\x041024"))
	f.Add([]byte("\x08\x03418\x00\x01a\x01b"))
	f.Add([]byte("\x00\x07:status\x03418\x89"))
	f.Add([]byte("\x48\x82\x64\x02"))
	f.Fuzz(func(t *testing.T, block []byte) {
		status, ok := standsAlone(block)
		if !ok {
			newStatuses().of(block)
			return
		}
		fields, err := hpack.NewDecoder(4096, nil).DecodeFull(block)
		if err != nil {
			return // the error is in a string that does not matter
		}
		want, err := (&statuses{decoder: hpack.NewDecoder(4096, nil)}).decode(block)
		if err == nil && want != status {
			t.Fatalf("%x: %d, want %d of %v", block, status, want, fields)
		}
	})
}
