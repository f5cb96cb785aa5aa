package h3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// echo answers with what it got.
var echo = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	var body []byte
	var err error
	if r.Body != nil {
		body, err = io.ReadAll(r.Body)
	}
	if err != nil {
		_ = w.WriteHeader(err.(*message.Error).Status, message.Fields{{Name: "x-reason", Value: err.(*message.Error).Reason}}, 0)
		return
	}
	f := message.Fields{{Name: "x-method", Value: r.Method}, {Name: "x-target", Value: r.Target.String()}}
	if r.Trailers != nil {
		f = append(f, r.Trailers()...)
	}
	_ = w.WriteHeader(200, append(f, r.Fields...), int64(len(body)))
	_, _ = w.Write(body)
})

type refusals struct {
	handlerFunc
	got []message.Refusal
}

func (r *refusals) Refused(x message.Refusal) { r.got = append(r.got, x) }

func TestRequestStreams(t *testing.T) {
	grease := frame(0x21, 1, 2, 3)
	tests := []struct {
		name      string
		in        []byte
		end       error
		status    string // of the response; "" for none
		body      string
		reset     int // -1: a complete response
		conn      int // -1: the connection lives
		kind      string
		reason    string // of a refusal
		withField message.Field
	}{
		{name: "GET", in: request("GET"), status: "200", reset: -1, conn: -1},
		{name: "POST", in: join(request("POST"), frame(frameData, 'a', 'b'), frame(frameData, 'c')), status: "200", body: "abc", reset: -1, conn: -1},
		{name: "POST with a length", in: join(request("POST", "content-length: 3"), frame(frameData, 'a', 'b', 'c')), status: "200", body: "abc", reset: -1, conn: -1},
		{name: "GET with content", in: join(request("GET"), frame(frameData, 'a')), status: "200", body: "a", reset: -1, conn: -1},
		{name: "empty DATA", in: join(request("GET"), frame(frameData), frame(frameData)), status: "200", reset: -1, conn: -1},
		{name: "unknown frames everywhere", in: join(grease, request("POST"), grease, frame(frameData, 'a'), grease, headers("x-t: 1"), grease), status: "200", body: "a",
			reset: -1, conn: -1, withField: message.Field{Name: "x-t", Value: "1"}},
		{name: "trailers without content", in: join(request("GET"), headers("x-t: 1")), status: "200", reset: -1, conn: -1, withField: message.Field{Name: "x-t", Value: "1"}},

		{name: "nothing", reset: codeRequestIncomplete, conn: -1, kind: "request_incomplete", reason: "incomplete request"},
		{name: "only an unknown frame", in: grease, reset: codeRequestIncomplete, conn: -1, kind: "request_incomplete", reason: "incomplete request"},
		{name: "too slow", in: request("GET")[:9], end: timeout, status: "408", reset: -1, conn: -1, kind: "header_timeout", reason: "header timeout"},
		{name: "too slow to end", in: request("GET"), end: timeout, status: "408", reset: -1, conn: -1, kind: "header_timeout", reason: "header timeout"},
		{name: "reset by the client", in: request("GET")[:9], end: &quic.StreamError{ErrorCode: codeRequestCancelled, Remote: true}, reset: codeRequestCancelled, conn: -1},
		{name: "malformed", in: request("GET", "Capital: x"), reset: codeMessage, conn: -1, kind: "message_error", reason: "malformed field name"},
		{name: "length without content", in: request("POST", "content-length: 3"), reset: codeMessage, conn: -1, kind: "message_error", reason: "length and content differ"},
		{name: "plain CONNECT", in: headers(":method: CONNECT", ":authority: a.test:443"), status: "501", reset: -1, conn: -1, kind: "request_refused", reason: "method CONNECT"},
		{name: "another scheme", in: headers(":method: GET", ":scheme: http", ":authority: a.test", ":path: /"), status: "421", reset: -1, conn: -1, kind: "request_refused", reason: "scheme of another connection"},
		{name: "large section", in: request("GET", "x: "+strings.Repeat("y", 3000)), status: "431", reset: -1, conn: -1, kind: "request_refused", reason: "field section too large"},
		{name: "section that is said to be huge", in: append(appendVarint([]byte{frameHeaders}, 1<<40), 1), status: "431", reset: -1, conn: -1, kind: "request_refused", reason: "field section too large"},

		{name: "too much content", in: join(request("POST", "content-length: 1"), frame(frameData, 'a', 'b')), status: "400", reset: codeMessage, conn: -1, kind: "message_error"},
		{name: "too little content", in: join(request("POST", "content-length: 3"), frame(frameData, 'a', 'b')), status: "400", reset: codeMessage, conn: -1, kind: "message_error"},
		{name: "slow content", in: join(request("POST"), frame(frameData, 'a')), end: timeout, status: "408", reset: -1, conn: -1, kind: "body_timeout"},
		{name: "malformed trailers", in: join(request("POST"), headers(":path: /")), status: "400", reset: codeMessage, conn: -1, kind: "message_error"},

		{name: "DATA first", in: frame(frameData, 'a'), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "SETTINGS", in: frame(frameSettings), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "PUSH_PROMISE", in: frame(framePushPromise, 0), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "GOAWAY after HEADERS", in: join(request("GET"), frame(frameGoAway, 0)), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "PRIORITY_UPDATE", in: join(frame(framePriorityUpdate, 0)), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "HTTP/2's PING", in: frame(0x06, 0), reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "DATA after trailers", in: join(request("POST"), headers("x: y"), frame(frameData, 'a')), status: "400", reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "trailers twice", in: join(request("POST"), headers("x: y"), headers("x: y")), status: "400", reset: -1, conn: codeFrameUnexpected, kind: "frame_unexpected"},
		{name: "cut in HEADERS", in: request("GET")[:9], reset: -1, conn: codeFrame, kind: "frame_error"},
		{name: "cut in a frame header", in: []byte{0x40}, reset: -1, conn: codeFrame, kind: "frame_error"},
		{name: "cut in DATA", in: join(request("POST"), frame(frameData, 'a', 'b')[:3]), status: "400", reset: -1, conn: codeFrame, kind: "frame_error"},
		{name: "cut in an unknown frame", in: join(request("GET"), grease[:3]), reset: -1, conn: codeFrame, kind: "frame_error"},
		{name: "dynamic table", in: frame(frameHeaders, 1, 0), reset: -1, conn: codeDecompression, kind: "qpack_decompression_failed"},
		{name: "many unknown frames", in: bytes.Repeat(frame(0x21), maxJunkFrames+1), reset: -1, conn: codeExcessiveLoad, kind: "excessive_load"},
		{name: "many empty DATA frames", in: join(request("POST"), bytes.Repeat(frame(frameData), maxJunkFrames+1)), status: "400", reset: -1, conn: codeExcessiveLoad, kind: "excessive_load"},
		{name: "a huge unknown frame", in: appendVarint([]byte{0x21}, maxJunkBytes+1), reset: -1, conn: codeExcessiveLoad, kind: "excessive_load"},
	}
	for _, tt := range tests {
		for _, chunk := range []int{0, 1} {
			if chunk == 1 && tt.name == "length without content" {
				continue // the end comes later, and is found by who reads the body
			}
			var kinds []string
			h := &refusals{handlerFunc: echo}
			c, killed := memoryConn(h, Config{MaxHeader: 2000, CountError: func(k string) { kinds = append(kinds, k) }})
			m := newMemory(tt.in)
			m.chunk = chunk
			if tt.end != nil {
				m.end = tt.end
			}
			c.exchange(nil, m, 0)
			if killed.code != tt.conn {
				t.Errorf("%s, %d: the connection's code is %#x, want %#x", tt.name, chunk, killed.code, tt.conn)
			}
			if got := strings.Join(kinds, ","); got != tt.kind {
				t.Errorf("%s, %d: counted %q, want %q", tt.name, chunk, got, tt.kind)
			}
			var reason string
			if len(h.got) > 0 {
				reason = h.got[0].Reason
				if h.got[0].TLS.ServerName != "example.test" || tt.status != "" && h.got[0].Status == 0 {
					t.Errorf("%s: refusal %+v", tt.name, h.got[0])
				}
			}
			if reason != tt.reason {
				t.Errorf("%s, %d: refused for %q, want %q", tt.name, chunk, reason, tt.reason)
			}
			if tt.conn >= 0 && tt.status == "" {
				continue
			}
			if m.reset != tt.reset || m.closed == (tt.reset >= 0 && tt.status == "") {
				t.Errorf("%s, %d: reset %#x, closed %t; want reset %#x", tt.name, chunk, m.reset, m.closed, tt.reset)
			}
			p := parseResponse(t, m.out.Bytes())
			if p.fields.Get(":status") != tt.status || string(p.body) != tt.body {
				t.Errorf("%s, %d: answered %q, body %q; want %q, %q", tt.name, chunk, p.fields.Get(":status"), p.body, tt.status, tt.body)
			}
			if f := tt.withField; f.Name != "" && p.fields.Get(f.Name) != f.Value {
				t.Errorf("%s, %d: %v lacks %v", tt.name, chunk, p.fields, f)
			}
			if len(c.active) != 0 {
				t.Errorf("%s: still in flight", tt.name)
			}
		}
	}
}

func TestKindsAndReasonsAreListed(t *testing.T) {
	for _, k := range []string{"frame_unexpected", "message_error", "header_timeout", "body_timeout", "response_timeout", "panic", "qpack_decompression_failed"} {
		if !slices.Contains(ErrorKinds, k) {
			t.Errorf("ErrorKinds lacks %q", k)
		}
	}
	for _, r := range []string{"header timeout", "two lengths", "incomplete request"} {
		if !slices.Contains(Reasons, r) {
			t.Errorf("Reasons lacks %q", r)
		}
	}
}

// run serves one stream in memory.
func run(t *testing.T, h message.Handler, in []byte) (*memory, response) {
	t.Helper()
	c, killed := memoryConn(h, Config{})
	m := newMemory(in)
	c.exchange(nil, m, 0)
	if killed.code >= 0 {
		t.Errorf("the connection was ended with %#x", killed.code)
	}
	return m, parseResponse(t, m.out.Bytes())
}

func TestRequestIsWhatWasSent(t *testing.T) {
	var got message.Request
	run(t, handlerFunc(func(_ context.Context, _ message.ResponseWriter, r *message.Request) {
		got = *r
		got.Detach()
	}), headers(":method: GET", ":scheme: https", ":authority: Example.test:443", ":path: /a?b=c", "accept: */*", "cookie: a=1", "cookie: b=2", "priority: u=1"))
	want := message.Request{Protocol: message.HTTP3, Method: "GET", Scheme: "https", Authority: "example.test:443",
		Target: message.Target{Path: "/a", Query: "b=c", HasQuery: true},
		Fields: message.Fields{{Name: "accept", Value: "*/*"}, {Name: "cookie", Value: "a=1; b=2"}, {Name: "priority", Value: "u=1"}}}
	if got.Received.IsZero() || got.TLS == nil || got.TLS.EarlyData {
		t.Errorf("got %+v", got)
	}
	got.Received, got.TLS = want.Received, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestUnreadBodyIsStopped(t *testing.T) {
	m, p := run(t, ok, join(request("POST"), frame(frameData, 'a')))
	if m.stopped != codeNoError || p.fields.Get(":status") != "200" || !m.closed {
		t.Errorf("stopped with %#x, %v, closed %t", m.stopped, p.fields, m.closed)
	}
	m, _ = run(t, ok, request("GET"))
	if m.stopped >= 0 && m.stopped != codeNoError {
		t.Errorf("stopped with %#x", m.stopped)
	}
}

// TestLateReader: whoever still reads the body when the exchange is over gets an error, not the next request.
func TestLateReader(t *testing.T) {
	var late io.Reader
	run(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		late = r.Body
		_ = w.WriteHeader(200, nil, 0)
	}), join(request("POST"), frame(frameData, 'a')))
	if _, err := late.Read(make([]byte, 1)); err != error(errOver) {
		t.Errorf("got %v", err)
	}
}

func TestPriority(t *testing.T) {
	for v, want := range map[string]priority{"u=1": {1, false}, "u=5, i": {5, true}, "i": {3, true}, "i=?0": {3, false}, "i=?1;x, u=0": {0, true},
		"u=9": {3, false}, "": {3, false}, "u=a,x=y, (a b)": {3, false}} {
		if got := parsePriority(v); got != want {
			t.Errorf("%q: %+v, want %+v", v, got, want)
		}
	}
	m, _ := run(t, ok, request("GET", "priority: u=2, i"))
	if m.priority != (priority{2, true}) {
		t.Errorf("the stream has %+v", m.priority)
	}
}

// TestPriorityUpdate: before the request, during it, and for a stream that cannot be.
func TestPriorityUpdate(t *testing.T) {
	var c *conn
	c, _ = memoryConn(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		if f := c.want(4, priority{6, false}); f != nil {
			t.Error(f)
		}
		_ = w.WriteHeader(204, nil, -1)
	}), Config{})
	if f := c.want(0, priority{1, true}); f != nil {
		t.Fatal(f)
	}
	early, during := newMemory(request("GET", "priority: u=7")), newMemory(request("GET", "priority: u=7"))
	c.exchange(nil, early, 0)
	if early.priority != (priority{1, true}) {
		t.Errorf("an update before the request: %+v", early.priority)
	}
	c.exchange(nil, during, 4)
	if during.priority != (priority{6, false}) {
		t.Errorf("an update during the request: %+v", during.priority)
	}
	if c.want(3, priority{}) != errID || c.want(1<<40, priority{}) != errID {
		t.Error("streams that cannot be were accepted")
	}
	for i := range int64(2 * maxWanted) {
		_ = c.want(8+4*i, priority{})
	}
	if len(c.wanted) > maxWanted {
		t.Errorf("%d priorities are kept", len(c.wanted))
	}
}

func TestPanicEndsTheExchangeOnly(t *testing.T) {
	_, p := run(t, handlerFunc(func(context.Context, message.ResponseWriter, *message.Request) { panic("x") }), request("GET"))
	if p.fields.Get(":status") != "500" {
		t.Errorf("answered %v", p.fields)
	}
	c, _ := memoryConn(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, nil, 10)
		_ = w.Flush()
		panic("x")
	}), Config{})
	m := newMemory(request("GET"))
	c.exchange(nil, m, 0)
	if m.reset != codeInternal || m.closed {
		t.Errorf("reset %#x, closed %t", m.reset, m.closed)
	}
}

// TestHitAllocatesNothing is the whole way from a stream's octets to the response's.
func TestHitAllocatesNothing(t *testing.T) {
	h := newHit(10 << 10)
	h.one = &hitAnswer{h: h}
	c, _ := memoryConn(h, Config{})
	x := exchanges.New().(*exchange)
	in := requestBytes(message.Field{Name: "cookie", Value: "a=b"}, message.Field{Name: "cookie", Value: "c=d"})
	m := newMemory(nil)
	m.out.Grow(32 << 10)
	id := int64(0)
	if n := testing.AllocsPerRun(200, func() {
		m.in, m.stopped, m.closed = in, -1, false
		m.out.Reset()
		x.on(c, nil, m, id)
		id += 4
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if p := parseResponse(t, m.out.Bytes()); len(p.body) != 10<<10 || m.reset >= 0 || !m.closed {
		t.Errorf("body of %d, reset %#x", len(p.body), m.reset)
	}
}

func TestErrorsOfTheClientGoing(t *testing.T) {
	c, _ := memoryConn(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, nil, -1)
		_, _ = w.Write([]byte("x"))
		var e *message.Error
		if err := w.Flush(); !errors.As(err, &e) || e.Blame != message.BlameClient {
			t.Errorf("got %v", err)
		}
	}), Config{})
	m := newMemory(request("GET"))
	m.fail = &quic.StreamError{ErrorCode: codeRequestCancelled, Remote: true}
	c.exchange(nil, m, 0)
	if m.closed || m.reset != codeInternal {
		t.Errorf("closed %t, reset %#x", m.closed, m.reset)
	}
}
