package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// requestSeeds begin the corpora that requests are made from.
func requestSeeds(f *testing.F) {
	for _, x := range refused {
		if len(x.in) < 1000 {
			f.Add([]byte(x.in))
		}
	}
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http://A/x?y HTTP/1.1\r\nHost: a\r\nConnection: X, close\r\nX: y\r\nTE: trailers\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\n\r\n",
		"POST /a%2e?b HTTP/1.1\r\nhost: a:80\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\nabcGET / HTTP/1.1\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"PUT / HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3 ;a = b\t; c\r\nabc\r\n0 ;x\r\n\r\n",
		"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/?#b HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nX00\n\x00\x01\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
	} {
		f.Add([]byte(s))
	}
}

// scanned runs a Scanner over parts of in.
func scanned(in []byte, part int, lim *Limits, scan func(*Scanner, []byte) (int, int, error)) (start, end int, err error) {
	var s Scanner
	for n := min(part, len(in)); ; n = min(n+part, len(in)) {
		start, end, err = scan(&s, in[:n])
		if end > 0 || err != nil || n == len(in) {
			return start, end, err
		}
	}
}

func FuzzRequest(f *testing.F) {
	requestSeeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		lim := Limits{Line: 200, Head: 1000, Fields: 10}
		request := func(s *Scanner, b []byte) (int, int, error) { return s.Request(b, &lim) }
		start, end, err := scanned(in, 1<<20, &lim, request)
		for _, part := range []int{1, 7} {
			if s, e, err2 := scanned(in, part, &lim, request); s != start && end > 0 || e != end || err2 != err {
				t.Fatalf("%q: in one piece %d %d %v, in parts of %d: %d %d %v", in, start, end, err, part, s, e, err2)
			}
		}
		if err != nil || end == 0 {
			return
		}
		var r message.Request
		var h RequestHead
		if h.Parse(slices.Clone(in[start:end]), &r, &lim) != nil {
			return
		}
		checkFields(t, r.Fields)
		if !message.IsToken(r.Method) || strings.ContainsAny(r.Authority, " /@\r\n\x00") || strings.ToLower(r.Authority) != r.Authority || r.ContentLength < -1 {
			t.Fatalf("%q: %+v", in, r)
		}
		// What is written from it is read as the same.
		again := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nhost: %s\r\n", r.Method, r.Target, r.Authority)
		again = append(AppendFields(again, r.Fields), "\r\n"...)
		written := slices.Clone(again)
		var r2 message.Request
		if err := h.Parse(again, &r2, &Limits{}); err != nil || r2.Method != r.Method || r2.Target != r.Target || r2.Authority != r.Authority ||
			!slices.Equal(r2.Fields, withoutTE(r.Fields)) {
			t.Fatalf("%q became %q, which is %+v, %v", in, again, r2, err)
		}
		// Nor has net/http another view of it, if it takes it.
		hr, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(written)))
		if err == nil && (hr.Method != r.Method || hr.RequestURI != r.Target.String() || hr.Host != r.Authority ||
			!slices.Equal(comparable(fieldsOf(hr.Header)), comparable(withoutTE(r.Fields))) || hr.ContentLength != 0 || hr.TransferEncoding != nil) {
			t.Fatalf("%q became %q, which is %+v to net/http", in, written, hr)
		}
	})
}

// withoutTE is what AppendFields sends: te is for each hop to decide.
func withoutTE(f message.Fields) message.Fields {
	f = f.Clone()
	f.Del("te")
	return f
}

func checkFields(t *testing.T, f message.Fields) {
	for _, x := range f {
		if !message.IsLowerToken(x.Name) || !message.IsFieldValue(x.Value) || HopByHop(x.Name) && x.Name != "te" {
			t.Fatalf("field %+q", x)
		}
	}
}

func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 204\r\n\r\n", "HTTP/1.0 304 a b\r\nConnection: keep-alive\r\n\r\n",
		"HTTP/1.1 200 \xff\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\n\n",
	} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, in []byte, get bool) {
		lim := Limits{Head: 1000, Fields: 10}
		response := func(s *Scanner, b []byte) (int, int, error) { end, err := s.Response(b, &lim); return 0, end, err }
		_, end, err := scanned(in, 1<<20, &lim, response)
		if _, e, err2 := scanned(in, 1, &lim, response); e != end || err2 != err {
			t.Fatalf("%q: in one piece %d %v, in parts %d %v", in, end, err, e, err2)
		}
		if err != nil || end == 0 {
			return
		}
		method := map[bool]string{true: "GET", false: "HEAD"}[get]
		var p Response
		if p.Parse(slices.Clone(in[:end]), method, &lim) != nil {
			return
		}
		checkFields(t, p.Fields)
		// net/http reads the same of what we take.
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), &http.Request{Method: method})
		if err != nil && unregistered(p.section.coding) && p.Framing != Chunked && p.Framing != ByLength && !p.KeepAlive {
			return // a coding that is none: ours ends with the connection, net/http refuses it
		}
		if err != nil {
			t.Fatalf("%q: net/http refuses it: %v", in, err)
		}
		if resp.StatusCode != p.Status {
			t.Fatalf("%q: status %d, %d to net/http", in, p.Status, resp.StatusCode)
		}
		if p.Status >= 200 && p.Status != 204 && p.Framing != NoBody && (resp.ContentLength != p.ContentLength ||
			(p.Framing == Chunked) != slices.Equal(resp.TransferEncoding, []string{"chunked"}) || resp.Close == p.KeepAlive && p.Minor == 1) {
			t.Fatalf("%q: framing %d, length %d, keeps %t; net/http: %+v", in, p.Framing, p.ContentLength, p.KeepAlive, resp)
		}
	})
}

func FuzzChunked(f *testing.F) {
	for _, s := range []string{
		"5\r\nhello\r\n0\r\n\r\nrest", "a;b=\"c\\\"\";d\r\n0123456789\r\n00\r\nX: y\r\n\r\n", "X00\n", "X00\n\x00\x01\x02\r\n", "1 ;a\r\nx\r\n0\r\n\r\n",
		"0\r\nContent-Length: 1\r\n\r\n", "7fffffffffffffff\r\n", "1\r\nab", "1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n",
	} {
		f.Add(s, uint8(3), uint8(5))
	}
	f.Fuzz(func(t *testing.T, in string, part, limit uint8) {
		body, rest, tr, err := decode(in, 1<<20, 1<<20)
		b2, r2, t2, err2 := decode(in, int(part)+1, int(limit)+1)
		if err2 != err || body != b2 || rest != r2 || !slices.Equal(tr, t2) {
			t.Fatalf("%q: in one piece %q %q %v %v; in parts %q %q %v %v", in, body, rest, tr, err, b2, r2, t2, err2)
		}
		checkFields(t, tr)
		if err != nil {
			return
		}
		// net/http's reader leaves the trailer section and the last line alone.
		want, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(tidy([]byte(in)))))
		if err != nil || string(want) != body {
			t.Fatalf("%q: we read %q, net/http %q, %v", in, body, want, err)
		}
	})
}

// tidy is a chunked body without the bad white space behind sizes, which net/http refuses where an extension follows.
func tidy(in []byte) []byte {
	var d ChunkedDecoder
	d.Reset(false, Limits{})
	out := make([]byte, 0, len(in))
	for i := range in {
		if _, _, err := d.Next(in[i:i+1], 1); err != nil {
			return append(out, in[i:]...)
		}
		if d.state != sizeSpace {
			out = append(out, in[i])
		}
	}
	return out
}

// FuzzAgainstNetHTTP: what we take, net/http takes with the same meaning, but for what is listed here; what we refuse though net/http
// takes it, we refuse for a reason of the list stricter.
func FuzzAgainstNetHTTP(f *testing.F) {
	requestSeeds(f)
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, ourErr := readOurs(slices.Clone(in))
		theirs, theirErr := readTheirs(in)
		if ourErr == nil && theirErr != nil && strings.Contains(theirErr.Error(), "invalid byte in chunk length") {
			body := bytes.Index(in, []byte("\r\n\r\n")) + 4
			theirs, theirErr = readTheirs(append(slices.Clone(in[:body]), tidy(in[body:])...))
		}
		switch {
		case ourErr == nil && theirErr == nil:
			if ours != theirs {
				t.Fatalf("%q:\nwe read         %s\nnet/http reads %s", in, ours, theirs)
			}
		case ourErr == nil:
			if !laxer(in, theirErr) {
				t.Fatalf("%q: we read %s, net/http refuses it: %v", in, ours, theirErr)
			}
		case theirErr == nil:
			var e *message.Error
			if !errors.As(ourErr, &e) || !stricter[e.Reason] {
				t.Fatalf("%q: we refuse it with %v, net/http reads %s", in, ourErr, theirs)
			}
		}
	})
}

// stricter has the reasons for which we refuse what net/http takes.
var stricter = map[string]bool{
	"bare LF":                       true, // a line end to net/http
	"bare CR":                       true, // white space to net/http where it is before an LF
	"folded field line":             true, // joined by net/http
	"wrong form of request target":  true, // "*" with any method; any scheme; opaque targets
	"malformed request target":      true, // a fragment; a broken escape that URL parsing does not look at
	"malformed host":                true, // only checked by net/http's server, and less
	"host and authority differ":     true, // net/http takes the authority
	"no host":                       true, // only checked by net/http's server
	"two hosts":                     true,
	"two lengths":                   true, // fine to net/http when they are the same
	"length and transfer-encoding":  true, // net/http takes Transfer-Encoding
	"malformed content-length":      true, // more than 18 digits
	"transfer-encoding in HTTP/1.0": true, // ignored by net/http
	"two transfer-encodings":        true,
	"unknown transfer-encoding":     true, // where net/http takes no notice: HTTP/1.0
	"malformed connection option":   true, // no error to net/http
	"too many connection options":   true,
	"unknown expectation":           true, // only looked at by net/http's server
	"unknown version":               true, // the same
	"malformed version":             true, // HTTP/0.9
	"method CONNECT":                true,
	"empty lines before a message":  true,
	"control byte in a field value": true, // only checked by net/http's server
	"malformed field name":          true, // the same
	"space before a colon":          true,
	"malformed request line":        true, // more than three words; control bytes
	"malformed chunk extension":     true, // any bytes to net/http
	"chunk extensions too long":     true,
	"malformed chunk size":          true, // white space between a size and its line's end
	"chunk too large":               true, // zeros before a size
	"forbidden trailer field":       true,
	"too many field lines":          true,
	"request target too long":       true,
	"request line too long":         true,
	"header section too large":      true,
	"trailer section too large":     true,
	"no line end after a chunk":     true,
}

// laxer reports whether we take, and rightly, what net/http refuses with err.
func laxer(in []byte, err error) bool {
	switch s := err.Error(); {
	case bytes.HasPrefix(in, []byte("\r\n")): // RFC 9112 §2.2
		return true
	case strings.Contains(s, "invalid URL escape"), strings.Contains(s, "parse "): // the target is normalised; its query is opaque
		return true
	}
	return false
}

// readOurs reads one request with our parser and gives all that matters of it.
func readOurs(in []byte) (string, error) {
	var lim Limits
	var sc Scanner
	start, end, err := sc.Request(in, &lim)
	if err != nil {
		return "", err
	}
	if end == 0 {
		return "", io.ErrUnexpectedEOF
	}
	var r message.Request
	var h RequestHead
	if err := h.Parse(in[start:end], &r, &lim); err != nil {
		return "", err
	}
	framing, length := NoBody, max(r.ContentLength, 0)
	if h.Chunked {
		framing = Chunked
	} else if length > 0 {
		framing = ByLength
	}
	var b Body
	s := &source{r: bytes.NewReader(in[end:])}
	b.Reset(s, framing, length, false, lim)
	body, err := io.ReadAll(&b)
	if err != nil {
		return "", err
	}
	rest, _ := io.ReadAll(s.r)
	return outcome(r.Method, r.Authority, r.Target, h.KeepAlive, r.ContentLength, body, len(s.buf)+len(rest), r.Fields, b.Trailers()), nil
}

func outcome(method, authority string, target message.Target, keep bool, length int64, body []byte, rest int, f, trailers message.Fields) string {
	return fmt.Sprintf("%s %s %s keep=%t length=%d body=%q rest=%d fields=%q trailers=%q", method, authority, target, keep, length, body, rest, comparable(f), comparable(trailers))
}

// readTheirs is readOurs with net/http's parser.
func readTheirs(in []byte) (string, error) {
	br := bufio.NewReaderSize(bytes.NewReader(in), 64<<10)
	hr, err := http.ReadRequest(br)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(hr.Body)
	if err != nil {
		return "", err
	}
	rest, _ := io.ReadAll(br)
	raw := hr.RequestURI
	if !strings.HasPrefix(raw, "/") && raw != "*" {
		raw = hr.URL.EscapedPath()
		if raw == "" {
			raw = map[bool]string{true: "*", false: "/"}[hr.Method == "OPTIONS" && hr.URL.RawQuery == "" && !hr.URL.ForceQuery]
		}
		if hr.URL.RawQuery != "" || hr.URL.ForceQuery {
			raw += "?" + hr.URL.RawQuery
		}
	}
	target, err := message.ParseTarget(raw)
	if err != nil {
		return "", err
	}
	return outcome(hr.Method, strings.ToLower(hr.Host), target, !hr.Close, hr.ContentLength, body, len(rest), fieldsOf(hr.Header), trailersOf(hr.Trailer)), nil
}

// fieldsOf is what our parser leaves of a header map.
func fieldsOf(h http.Header) (f message.Fields) {
	var s section
	for _, v := range h["Connection"] {
		_ = s.connection([]byte(v))
	}
	for name, values := range h {
		name = strings.ToLower(name)
		for _, v := range values {
			if x := (message.Field{Name: name, Value: v}); name == "te" && strings.EqualFold(v, "trailers") || !HopByHop(name) && !s.named(x) {
				f = append(f, x)
			}
		}
	}
	return f
}

// comparable puts lines in the order of their names, and leaves out what net/http makes up from Pragma.
func comparable(f message.Fields) message.Fields {
	f = f.Clone()
	if f.Has("pragma") {
		f.Del("cache-control")
	}
	slices.SortStableFunc(f, func(a, b message.Field) int { return strings.Compare(a.Name, b.Name) })
	return f
}

func trailersOf(h http.Header) message.Fields {
	f := fieldsOf(h)
	f.DeleteFunc(func(x message.Field) bool { return !TrailerAllowed(x.Name) })
	return f
}
