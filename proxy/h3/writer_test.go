package h3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestResponses(t *testing.T) {
	f := func(kv ...string) (f message.Fields) {
		for i := 0; i < len(kv); i += 2 {
			f.Add(kv[i], kv[i+1])
		}
		return f
	}
	big := bytes.Repeat([]byte("0123456789"), 5000)
	tests := []struct {
		name     string
		method   string
		serve    func(w message.ResponseWriter)
		fields   message.Fields
		body     string
		trailers message.Fields
		interim  []message.Fields
		reset    int
		writes   int
	}{
		{name: "all in one write", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, f("content-type", "text/plain"), 5)
			_, _ = w.Write([]byte("he"))
			_, _ = w.Write([]byte("llo"))
		}, fields: f(":status", "200", "content-type", "text/plain", "content-length", "5"), body: "hello", reset: -1, writes: 1},
		{name: "unknown length", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, -1)
			_, _ = w.Write([]byte("he"))
			_ = w.Flush()
			_, _ = w.Write([]byte("llo"))
		}, fields: f(":status", "200"), body: "hello", reset: -1, writes: 2},
		{name: "large", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, int64(len(big)))
			_, _ = w.Write(big)
		}, fields: f(":status", "200", "content-length", "50000"), body: string(big), reset: -1},
		{name: "large of unknown length", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, -1)
			_, _ = w.Write(big)
		}, fields: f(":status", "200"), body: string(big), reset: -1},
		{name: "trailers", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, -1)
			_, _ = w.Write([]byte("x"))
			_ = w.WriteTrailers(f("grpc-status", "0", "connection", "close"))
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("content after the trailers")
			}
		}, fields: f(":status", "200"), body: "x", trailers: f("grpc-status", "0"), reset: -1},
		{name: "early hints", serve: func(w message.ResponseWriter) {
			_ = w.WriteInformational(103, f("link", "</a>"))
			_ = w.WriteInformational(100, nil)
			_ = w.WriteHeader(204, nil, 0)
		}, fields: f(":status", "204"), interim: []message.Fields{f(":status", "103", "link", "</a>")}, reset: -1, writes: 2},
		{name: "HEAD", method: "HEAD", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, 7)
			_, _ = w.Write([]byte("1234567"))
		}, fields: f(":status", "200", "content-length", "7"), reset: -1, writes: 1},
		{name: "304", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(304, f("etag", `"a"`), 7)
		}, fields: f(":status", "304", "etag", `"a"`, "content-length", "7"), reset: -1, writes: 1},
		{name: "what may not be sent", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, f("Upper", "x", "a", "b\r\nc", "transfer-encoding", "chunked", "content-length", "9", "b", "c"), 0)
		}, fields: f(":status", "200", "b", "c", "content-length", "0"), reset: -1},
		{name: "nothing", serve: func(message.ResponseWriter) {}, fields: f(":status", "500", "content-length", "0"), reset: -1},
		{name: "too long", serve: func(w message.ResponseWriter) {
			_ = w.WriteHeader(200, nil, 2)
			if _, err := w.Write([]byte("abc")); !errors.Is(err, errTooLong) {
				t.Errorf("too long: %v", err)
			}
			_, _ = w.Write([]byte("ab"))
		}, fields: f(":status", "200", "content-length", "2"), body: "ab", reset: -1},
		{name: "header twice", serve: func(w message.ResponseWriter) {
			if _, err := w.Write([]byte("x")); !errors.Is(err, errNoHeader) {
				t.Errorf("no header: %v", err)
			}
			if w.Flush() == nil || w.WriteTrailers(nil) == nil || w.WriteHeader(99, nil, 0) == nil || w.WriteInformational(101, nil) == nil {
				t.Error("calls out of order were accepted")
			}
			_ = w.WriteHeader(200, nil, 0)
			if err := w.WriteHeader(200, nil, 0); !errors.Is(err, errHeaderTwice) {
				t.Errorf("twice: %v", err)
			}
			if _, err := w.SwitchProtocols(nil); err == nil {
				t.Error("switched after the header")
			}
		}, fields: f(":status", "200", "content-length", "0"), reset: -1},
		{name: "no upgrade asked for", serve: func(w message.ResponseWriter) {
			if _, err := w.SwitchProtocols(nil); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("switched: %v", err)
			}
			_ = w.WriteHeader(200, nil, 0)
		}, fields: f(":status", "200", "content-length", "0"), reset: -1},
	}
	for _, tt := range tests {
		method := tt.method
		if method == "" {
			method = "GET"
		}
		m, p := run(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) { tt.serve(w) }), request(method))
		if !reflect.DeepEqual(p.fields, tt.fields) || string(p.body) != tt.body || !reflect.DeepEqual(p.trailers, tt.trailers) || !reflect.DeepEqual(p.interim, tt.interim) {
			t.Errorf("%s: got %v, %d octets, trailers %v, interim %v", tt.name, p.fields, len(p.body), p.trailers, p.interim)
		}
		if m.reset != tt.reset || m.closed != (tt.reset < 0) || tt.writes > 0 && m.writes != tt.writes {
			t.Errorf("%s: reset %#x, closed %t, %d writes", tt.name, m.reset, m.closed, m.writes)
		}
	}
}

// TestIncompleteResponsesAreReset: the client must not take them for whole.
func TestIncompleteResponsesAreReset(t *testing.T) {
	for name, serve := range map[string]func(w message.ResponseWriter){
		"too short": func(w message.ResponseWriter) { _ = w.WriteHeader(200, nil, 5); _, _ = w.Write([]byte("abc")) },
		"aborted":   func(w message.ResponseWriter) { _ = w.WriteHeader(200, nil, -1); w.Abort() },
		"aborted at once": func(w message.ResponseWriter) {
			w.Abort()
			if err := w.WriteHeader(200, nil, 0); !errors.Is(err, errAborted) {
				t.Errorf("after Abort: %v", err)
			}
		},
	} {
		c, _ := memoryConn(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) { serve(w) }), Config{})
		m := newMemory(request("GET"))
		c.exchange(nil, m, 0)
		if m.reset != codeInternal || m.closed {
			t.Errorf("%s: reset %#x, closed %t", name, m.reset, m.closed)
		}
	}
}

func TestAltSvcReplacesAnyOther(t *testing.T) {
	h := &altSvc{}
	_, p := run(t, h, request("GET"))
	if got := p.fields.Values("alt-svc"); len(got) != 1 || got[0] != `h3=":443"` {
		t.Errorf("written: %q", got)
	}
	h.ready = true
	_, p = run(t, h, request("GET"))
	if got := p.fields.Values("alt-svc"); len(got) != 1 || got[0] != `h3=":443"` {
		t.Errorf("ready: %q", got)
	}
	if p.fields.Get("a") != "b" {
		t.Errorf("ready: %v", p.fields)
	}
}

type altSvc struct{ ready bool }

func (h *altSvc) Quick(r *message.Request) *message.Ready {
	r.AltSvc = `h3=":443"`
	if !h.ready {
		return nil
	}
	return &message.Ready{Status: 200, Block: &block{fields: message.Fields{{Name: "alt-svc", Value: "clear"}, {Name: "a", Value: "b"}}}, Fields: message.Fields{{Name: "alt-svc", Value: "clear"}}, ContentLength: 0}
}

func (h *altSvc) Serve(_ context.Context, w message.ResponseWriter, _ *message.Request) {
	_ = w.WriteHeader(200, message.Fields{{Name: "alt-svc", Value: "clear"}, {Name: "a", Value: "b"}}, 0)
}

func TestExpectContinue(t *testing.T) {
	c, _ := memoryConn(echo, Config{})
	m := newMemory(join(request("POST", "expect: 100-continue"), frame(frameData, 'a')))
	m.chunk = len(request("POST", "expect: 100-continue"))
	c.exchange(nil, m, 0)
	if p := parseResponse(t, m.out.Bytes()); len(p.interim) != 1 || p.interim[0].Get(":status") != "100" || string(p.body) != "a" {
		t.Errorf("asked for: %v, %q", p.interim, p.body)
	}
	if _, p := run(t, echo, join(request("POST", "expect: 100-continue"), frame(frameData, 'a'))); len(p.interim) != 0 {
		t.Errorf("the content was there: %v", p.interim)
	}
	if _, p := run(t, ok, request("POST", "expect: 100-continue")); len(p.interim) != 0 {
		t.Errorf("nobody read: %v", p.interim)
	}
}

func TestReady(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 1 << 14, 1 << 14 * 3} {
		for _, piece := range []int{0, 1 << 10, 5000, 20000} {
			h := newHit(size)
			for i := range h.body {
				h.body[i] = byte(i * 7)
			}
			type end struct {
				sent     int64
				complete bool
			}
			var ends []end
			h.free.New = func() any {
				return &hitAnswer{h: h, done: func(sent int64, complete bool, _ error) { ends = append(ends, end{sent, complete}) }}
			}
			_, p := run(t, readyIn{h, piece}, request("GET"))
			if !bytes.Equal(p.body, h.body) || p.fields.Get("etag") != `"1234567890"` || p.fields.Get("age") != "17" {
				t.Errorf("%d in pieces of %d: %d octets, %v", size, piece, len(p.body), p.fields)
			}
			if len(ends) != 1 || ends[0] != (end{int64(size), true}) {
				t.Errorf("%d in pieces of %d: done with %v", size, piece, ends)
			}
		}
	}
}

// readyIn gives the body in pieces of that size.
type readyIn struct {
	*hit
	size int
}

func (h readyIn) Quick(r *message.Request) *message.Ready {
	a := h.hit.Quick(r)
	a.Body.(*pieces).size = h.size
	return a
}

// TestReadyThatFails: Done is told, and why when it was the server's doing.
func TestReadyThatFails(t *testing.T) {
	cut := errors.New("stopping")
	for _, cutting := range []bool{false, true} {
		h := newHit(1000)
		var complete bool
		var why error
		calls := 0
		h.free.New = func() any {
			return &hitAnswer{h: h, done: func(_ int64, c bool, err error) { complete, why = c, err; calls++ }}
		}
		c, _ := memoryConn(h, Config{})
		ctx, cancel := context.WithCancelCause(context.Background())
		c.ctx = ctx
		if cutting {
			cancel(cut)
		}
		m := newMemory(request("GET"))
		m.fail = io.ErrClosedPipe
		c.exchange(nil, m, 0)
		if calls != 1 || complete || (why == cut) != cutting || m.reset != codeInternal {
			t.Errorf("cutting %t: %d calls, complete %t, %v, reset %#x", cutting, calls, complete, why, m.reset)
		}
		cancel(nil)
	}
}

// TestReadyThatPanics: it is given back all the same.
func TestReadyThatPanics(t *testing.T) {
	h := newHit(1000)
	calls := 0
	h.free.New = func() any { return &hitAnswer{h: h, done: func(int64, bool, error) { calls++ }} }
	c, _ := memoryConn(panics{h}, Config{})
	m := newMemory(request("GET"))
	c.exchange(nil, m, 0)
	if calls != 1 || !m.closed || len(c.active) != 0 {
		t.Errorf("%d calls, closed %t", calls, m.closed)
	}
}

// panics gives bodies that do.
type panics struct{ *hit }

func (h panics) Quick(r *message.Request) *message.Ready {
	a := h.hit.Quick(r)
	a.Body = panicking{}
	return a
}

type panicking struct{}

func (panicking) Next() []byte { panic("x") }

// slowWriter takes a few octets of each write, and time.
type slowWriter struct {
	*memory
	take int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	n := min(s.take, len(p))
	_, _ = s.memory.Write(p[:n])
	if n == len(p) {
		return n, nil
	}
	return n, timeout
}

// TestPaceOfTheResponse: a client that takes something goes on, one that takes nothing ends.
func TestPaceOfTheResponse(t *testing.T) {
	var kinds []string
	cfg := Config{Pace: message.Pace{Grace: time.Minute, Rate: 1}, CountError: func(k string) { kinds = append(kinds, k) }}
	for take, complete := range map[int]bool{4000: true, 0: false} {
		kinds = nil
		c, _ := memoryConn(newHit(50000), cfg)
		m := &slowWriter{newMemory(request("GET")), take}
		c.exchange(nil, m, 0)
		if m.closed != complete || (m.reset < 0) != complete || (len(kinds) == 0) != complete {
			t.Errorf("taking %d: closed %t, reset %#x, %v", take, m.closed, m.reset, kinds)
		}
		if m.writtenUntil.IsZero() {
			t.Error("no deadline was set")
		}
	}
}
