package assemble

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// lines is a field section: "name: value" each, a pseudo-header field with its colon.
type lines []string

func split(l string) (name, value string) {
	i := strings.Index(l[1:], ":") + 1
	return l[:i], strings.TrimPrefix(l[i+1:], " ")
}

func assembled(a *Assembler, max int, ls lines) (*message.Request, error) {
	a.Begin("https", max)
	for _, l := range ls {
		n, v := split(l)
		_ = a.Field(n, v)
	}
	r := &message.Request{}
	return r, a.Finish(r)
}

var plain = lines{":method: GET", ":scheme: https", ":authority: example.test", ":path: /a"}

func with(ls ...string) lines { return append(append(lines{}, plain...), ls...) }

func TestRequests(t *testing.T) {
	tests := []struct {
		name string
		in   lines
		want message.Request
	}{
		{"plain", plain, message.Request{Method: "GET", Authority: "example.test", Target: message.Target{Path: "/a"}, ContentLength: -1}},
		{"host alone, in capitals", lines{":method: GET", ":scheme: HTTPS", ":path: /a?b", "host: Example.TEST:8443"},
			message.Request{Method: "GET", Authority: "example.test:8443", Target: message.Target{Path: "/a", Query: "b", HasQuery: true}, ContentLength: -1}},
		{"host and authority agree", with("host: EXAMPLE.test"), message.Request{Method: "GET", Authority: "example.test", Target: message.Target{Path: "/a"}, ContentLength: -1}},
		{"cookie crumbs", with("cookie: a=1", "accept: x", "cookie: b=2", "cookie: c=3", "te: trailers"), message.Request{Method: "GET", Authority: "example.test",
			Target: message.Target{Path: "/a"}, ContentLength: -1,
			Fields: message.Fields{{Name: "cookie", Value: "a=1; b=2; c=3"}, {Name: "accept", Value: "x"}, {Name: "te", Value: "trailers"}}}},
		{"length and what is told another way", with("content-length: 12", "expect: 100-continue", "trailer: x", "http2-settings: x"), message.Request{Method: "GET", Authority: "example.test",
			Target: message.Target{Path: "/a"}, ContentLength: 12}},
		{"OPTIONS *", lines{":method: OPTIONS", ":scheme: https", ":authority: a", ":path: *"}, message.Request{Method: "OPTIONS", Authority: "a", Target: message.Target{Path: "*"}, ContentLength: -1}},
		{"extended CONNECT", lines{":method: CONNECT", ":protocol: WebSocket", ":scheme: https", ":authority: A.test", ":path: /chat"},
			message.Request{Method: "GET", Authority: "a.test", Target: message.Target{Path: "/chat"}, ContentLength: -1, Upgrade: "websocket"}},
	}
	var a Assembler
	for _, tt := range tests {
		r, err := assembled(&a, 0, tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		tt.want.Scheme = "https"
		if len(r.Fields) == 0 {
			r.Fields = nil
		}
		if !reflect.DeepEqual(*r, tt.want) {
			t.Errorf("%s: got %+v, want %+v", tt.name, *r, tt.want)
		}
	}
}

func TestRefused(t *testing.T) {
	tests := []struct {
		name string
		in   lines
		want *Error
	}{
		{"no method", lines{":scheme: https", ":authority: a", ":path: /"}, errMissing},
		{"no scheme", lines{":method: GET", ":authority: a", ":path: /"}, errMissing},
		{"no path", lines{":method: GET", ":scheme: https", ":authority: a"}, errMissing},
		{"empty path", lines{":method: GET", ":scheme: https", ":authority: a", ":path: "}, errMissing},
		{"no authority", lines{":method: GET", ":scheme: https", ":path: /"}, errMissing},
		{"empty authority", lines{":method: GET", ":scheme: https", ":path: /", ":authority: "}, errMissing},
		{"empty host", lines{":method: GET", ":scheme: https", ":path: /", "host: "}, errMissing},
		{"method twice", with(":method: GET"), errPseudoTwice},
		{"empty method", lines{":method: ", ":scheme: https", ":authority: a", ":path: /"}, errMethod},
		{"unknown pseudo", with(":status: 200"), errPseudo},
		{"late pseudo", append(lines{"accept: x"}, plain...), errPseudoLate},
		{"capital name", with("Accept: x"), errName},
		{"space in a name", with("ac cept: x"), errName},
		{"line feed in a value", with("accept: a\nb"), errValue},
		{"NUL in a path", lines{":method: GET", ":scheme: https", ":authority: a", ":path: /\x00"}, errValue},
		{"value begins with a space", with("accept:  x"), errValue},
		{"value ends with a tab", with("accept: x\t"), errValue},
		{"connection", with("connection: close"), errConnection},
		{"transfer-encoding", with("transfer-encoding: chunked"), errConnection},
		{"upgrade", with("upgrade: websocket"), errConnection},
		{"keep-alive", with("keep-alive: 1"), errConnection},
		{"proxy-connection", with("proxy-connection: 1"), errConnection},
		{"te", with("te: gzip"), errConnection},
		{"two hosts", with("host: example.test", "host: example.test"), errHostTwice},
		{"another host", with("host: b"), errHost},
		{"no host beside authority", with("host: "), errHost},
		{"two lengths", with("content-length: 1", "content-length: 1"), errLengthTwice},
		{"list of lengths", with("content-length: 1, 1"), errLength},
		{"signed length", with("content-length: +1"), errLength},
		{"empty length", with("content-length: "), errLength},
		{"protocol without CONNECT", lines{":method: GET", ":scheme: https", ":authority: a", ":path: /", ":protocol: x"}, errSurplus},
		{"extended CONNECT without authority", lines{":method: CONNECT", ":scheme: https", "host: a", ":path: /", ":protocol: x"}, errPseudoLate},
		{"extended CONNECT with host alone", lines{":method: CONNECT", ":scheme: https", ":path: /", ":protocol: x", "host: a"}, errSurplus},
		{"extended CONNECT with content", lines{":method: CONNECT", ":scheme: https", ":path: /", ":authority: a", ":protocol: x", "content-length: 1"}, errSurplus},
		{"extended CONNECT to nothing", lines{":method: CONNECT", ":scheme: https", ":path: /", ":authority: a", ":protocol: "}, errSurplus},
		{"CONNECT with a path", lines{":method: CONNECT", ":authority: a", ":path: /"}, errSurplus},
		{"CONNECT to nothing", lines{":method: CONNECT"}, errMissing},
		{"CONNECT", lines{":method: CONNECT", ":authority: a:443"}, errConnect},
		{"user in authority", lines{":method: GET", ":scheme: https", ":path: /", ":authority: u@a"}, errAuthority},
		{"path in authority", lines{":method: GET", ":scheme: https", ":path: /", ":authority: a/b"}, errAuthority},
		{"another scheme", lines{":method: GET", ":scheme: http", ":path: /", ":authority: a"}, errScheme},
		{"no slash", lines{":method: GET", ":scheme: https", ":path: a", ":authority: a"}, errTarget},
		{"absolute target", lines{":method: GET", ":scheme: https", ":path: https://a/", ":authority: a"}, errTarget},
		{"GET *", lines{":method: GET", ":scheme: https", ":path: *", ":authority: a"}, errTarget},
		{"long target", lines{":method: GET", ":scheme: https", ":path: /" + strings.Repeat("a", message.MaxTarget), ":authority: a"}, errTargetLong},
		{"huge length", with("content-length: 9223372036854775808"), errTooLong},
	}
	var a Assembler
	for _, tt := range tests {
		_, err := assembled(&a, 0, tt.in)
		if err != error(tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

func TestMostLength(t *testing.T) {
	var a Assembler
	r, err := assembled(&a, 0, with("content-length: 9223372036854775807"))
	if err != nil || r.ContentLength != 1<<63-1 {
		t.Errorf("got %d, %v", r.ContentLength, err)
	}
}

func TestTooLarge(t *testing.T) {
	size := 0
	for _, l := range plain {
		n, v := split(l)
		size += len(n) + len(v) + 32
	}
	var a Assembler
	if _, err := assembled(&a, size, plain); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := assembled(&a, size-1, plain); err != error(errTooLarge) {
		t.Errorf("beyond it: %v", err)
	}
}

// TestNothingStays: one request must not show in the next.
func TestNothingStays(t *testing.T) {
	var a Assembler
	if _, err := assembled(&a, 0, with("content-length: 5", "expect: 100-continue", "cookie: a", "cookie: b", "x: y")); err != nil || !a.ExpectsContinue() {
		t.Fatal(err, a.ExpectsContinue())
	}
	r, err := assembled(&a, 0, plain)
	if err != nil || len(r.Fields) != 0 || r.ContentLength != -1 || a.ExpectsContinue() {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := assembled(&a, 0, lines{":method: GET"}); err == nil {
		t.Error("pseudo-header fields of the request before count")
	}
}

func TestKnown(t *testing.T) {
	var a Assembler
	_, _ = assembled(&a, 0, with("Bad: x"))
	if m, h, p := a.Known(); m != "GET" || h != "example.test" || p != "/a" {
		t.Errorf("got %q %q %q", m, h, p)
	}
}

func TestContent(t *testing.T) {
	for _, tt := range []struct {
		declared   int64
		parts      []int
		add, atEnd bool
	}{{-1, []int{5, 6}, true, true}, {10, []int{5, 5}, true, true}, {10, []int{5}, true, false}, {10, []int{5, 6}, false, false}, {0, nil, true, true}} {
		c := NewContent(tt.declared)
		var err error
		for _, n := range tt.parts {
			if e := c.Add(n); e != nil {
				err = e
			}
		}
		if end := c.End(); (err == nil) != tt.add || (end == nil) != tt.atEnd {
			t.Errorf("%+v: %v, %v", tt, err, end)
		}
	}
	r := &message.Request{ContentLength: 4}
	if NoContent(r) == nil {
		t.Error("four declared, none sent")
	}
	r.ContentLength = -1
	if err := NoContent(r); err != nil || r.ContentLength != 0 {
		t.Error(err, r.ContentLength)
	}
}

func TestTrailers(t *testing.T) {
	var tr Trailers
	tr.Begin(0)
	for _, l := range (lines{"grpc-status: 0", "content-length: 4", "x-sum: a"}) {
		n, v := split(l)
		if err := tr.Field(n, v); err != nil {
			t.Fatal(err)
		}
	}
	got, err := tr.Fields()
	if want := (message.Fields{{Name: "grpc-status", Value: "0"}, {Name: "x-sum", Value: "a"}}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for in, want := range map[string]*Error{":path: /": errPseudoTail, "A: b": errName, "a: \r": errValue, "connection: x": errConnection} {
		tr.Begin(0)
		n, v := split(in)
		_ = tr.Field(n, v)
		if _, err := tr.Fields(); err != error(want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	tr.Begin(10)
	if err := tr.Field("a", "b"); err != error(errTooLarge) {
		t.Error(err)
	}
}

func TestNoAllocation(t *testing.T) {
	var a Assembler
	var r message.Request
	names := [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "Example.test"}, {":path", "/a/b?c=d"},
		{"accept", "*/*"}, {"cookie", "a=b"}, {"cookie", "c=d"}, {"user-agent", "x/1"}}
	run := func() {
		a.Begin("https", 1<<16)
		for _, f := range names {
			_ = a.Field(f[0], f[1])
		}
		if err := a.Finish(&r); err != nil {
			t.Fatal(err)
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzAssemble(f *testing.F) {
	f.Add(strings.Join(with("content-length: 5", "cookie: a", "cookie: b"), "\n"))
	f.Add(":method: CONNECT\n:protocol: websocket\n:scheme: https\n:authority: a\n:path: /")
	f.Add("\n:\n::\n:path:")
	var a Assembler
	f.Fuzz(func(t *testing.T, in string) {
		a.Begin("https", 1<<12)
		size := 0
		for l := range strings.SplitSeq(in, "\n") {
			n, v, _ := strings.Cut(strings.TrimPrefix(l, ":"), ":")
			if strings.HasPrefix(l, ":") {
				n = ":" + n
			}
			size += len(n) + len(v) + 32
			_ = a.Field(n, v)
		}
		var r message.Request
		if err := a.Finish(&r); err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason == "" {
				t.Fatalf("%v is no *Error", err)
			}
			return
		}
		if size > 1<<12 || r.Authority == "" || r.Authority != strings.ToLower(r.Authority) || !message.IsToken(r.Method) || r.Method == "CONNECT" {
			t.Fatalf("accepted %+v", r)
		}
		for _, x := range r.Fields {
			if !message.IsLowerToken(x.Name) || !message.IsFieldValue(x.Value) || x.Name == "host" || x.Name == "content-length" || x.Name == "connection" {
				t.Fatalf("accepted field %q", x)
			}
		}
	})
}

func BenchmarkAssemble(b *testing.B) {
	var a Assembler
	var r message.Request
	b.ReportAllocs()
	for b.Loop() {
		a.Begin("https", 1<<16)
		_ = a.Field(":method", "GET")
		_ = a.Field(":scheme", "https")
		_ = a.Field(":authority", "example.test")
		_ = a.Field(":path", "/a/b?c=d")
		_ = a.Field("accept", "*/*")
		_ = a.Field("user-agent", "x/1")
		_ = a.Finish(&r)
	}
}
