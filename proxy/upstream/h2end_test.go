package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// soon fails the test when f, which an origin or a client could make wait for ever, does not return.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: it hangs", what)
	}
}

// opens answers with a header section only, and takes nothing of the body but what comes by itself.
func opens(t *testing.T, status string, settings ...http2.Setting) string {
	return rawH2(t, settings, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, BlockFragment: block(":status", status)}) == nil
	})
}

// A body that is still being sent keeps nothing of an HTTP/2 exchange from ending.
func TestABodyThatStallsHoldsUpNoEndOverHTTP2(t *testing.T) {
	post := with("POST", -1)
	cfg := quick
	cfg.ReadTimeout = 50 * time.Millisecond
	o := originOf(t, opens(t, "200"), quick)

	soon(t, "closing an early answer", func() {
		res, err := o.RoundTrip(t.Context(), &Attempt{Request: post, Body: newStuck("some")})
		if err != nil {
			t.Error(err)
			return
		}
		res.Body.Close()
	})
	soon(t, "a response that stops", func() {
		_, _, err := fetch(t.Context(), originOf(t, opens(t, "200"), cfg), &Attempt{Request: post, Body: newStuck("some")})
		want(t, "a response that stops", err, message.BlameOrigin, 504, "read timeout", false)
	})
	soon(t, "a client that leaves", func() {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		res, err := o.RoundTrip(ctx, &Attempt{Request: post, Body: newStuck("some")})
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		time.AfterFunc(20*time.Millisecond, cancel)
		_, err = io.ReadAll(res.Body)
		want(t, "a client that leaves", err, message.BlameClient, 499, "client went away", false)
	})
	soon(t, "an origin that resets", func() {
		url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
			return fr.WriteRSTStream(h.StreamID, http2.ErrCodeInternal) == nil
		})
		_, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: post, Body: newStuck("some")})
		want(t, "an origin that resets", err, message.BlameOrigin, 502, "malformed response", false)
	})
	if n := o.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}

// endless is a body without an end.
type endless struct{ over atomic.Bool }

func (e *endless) Read(p []byte) (int, error) {
	if e.over.Load() {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}
func (e *endless) Interrupt() { e.over.Store(true) }

func TestAnOriginThatTakesNoMoreOfABodyOverHTTP2(t *testing.T) {
	cfg := quick
	cfg.ResponseTimeout = 50 * time.Millisecond
	silent := rawH2(t, nil, func(int, *http2.Framer, *http2.MetaHeadersFrame) bool { return true })
	soon(t, "before an answer", func() {
		_, _, err := fetch(t.Context(), originOf(t, silent, cfg), &Attempt{Request: with("POST", -1), Body: new(endless)})
		want(t, "before an answer", err, message.BlameOrigin, 504, "response timeout", false)
	})
	soon(t, "after an answer began", func() {
		_, _, err := fetch(t.Context(), originOf(t, opens(t, "200"), cfg), &Attempt{Request: with("POST", -1), Body: new(endless)})
		want(t, "after an answer began", err, message.BlameOrigin, 504, "response timeout", false)
	})
	none := rawH2(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(int, *http2.Framer, *http2.MetaHeadersFrame) bool { return true })
	soon(t, "no stream is allowed", func() {
		_, _, err := fetch(t.Context(), originOf(t, none, cfg), &Attempt{Request: with("POST", -1), Body: new(endless)})
		var e *message.Error // it depends on when the origin's settings come
		if !errors.As(err, &e) || e.Reason != "response timeout" && e.Reason != "connection closed" {
			t.Error("no stream is allowed:", err)
		}
	})
}

func TestATunnelOverHTTP2EndsWithItsContext(t *testing.T) {
	o := originOf(t, opens(t, "200", http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}), quick)
	ctx, cancel := context.WithCancel(t.Context())
	res, err := o.RoundTrip(ctx, upgrade("websocket"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Tunnel.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	soon(t, "reading", func() {
		if n, err := res.Tunnel.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
	})
	soon(t, "writing", func() {
		if _, err := io.Copy(res.Tunnel, new(endless)); err == nil {
			t.Error("written without end")
		}
	})
}

func TestInformationalResponsesOverHTTP2AreBounded(t *testing.T) {
	url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		for i := range 1000 {
			if fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, BlockFragment: block(":status", "103", "n", fmt.Sprint(i))}) != nil {
				break
			}
		}
		return true
	})
	var n atomic.Int32
	a := &Attempt{Request: get("/"), Informational: func(int, message.Fields) { n.Add(1) }}
	cfg := quick
	cfg.ResponseTimeout = time.Second
	_, _, err := fetch(t.Context(), originOf(t, url, cfg), a)
	want(t, "hints without end", err, message.BlameOrigin, 502, "malformed response", false)
	if n.Load() >= maxHints {
		t.Errorf("%d of them were passed on", n.Load())
	}
}

// An origin that ends all its connections at once, as when it starts anew, costs an idempotent request nothing.
func TestARequestOverHTTP2IsSentAgainOnANewConnection(t *testing.T) {
	both := make(chan bool)
	url := rawH2(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(n int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		if n < 2 && h.StreamID > 1 {
			return false
		}
		if n < 2 {
			both <- true // the other is on its way too
		}
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "200")}) == nil
	})
	var dialed atomic.Int32
	cfg := quick
	cfg.Events.Dialed = func() { dialed.Add(1) }
	o := originOf(t, url, cfg)
	try := func() {
		if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	all.Go(try)
	for o.connections() == 0 { // its settings are known when there is one
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	all.Go(try)
	<-both
	<-both
	all.Wait()
	if dialed.Load() != 2 {
		t.Fatalf("%d connections", dialed.Load())
	}
	try()
	if dialed.Load() != 3 {
		t.Errorf("%d connections", dialed.Load())
	}
}

// connections is how many HTTP/2 connections are kept.
func (o *Origin) connections() int {
	o.multi.mu.Lock()
	defer o.multi.mu.Unlock()
	return len(o.multi.conns)
}

func TestHTTP2ConnectionsAreBounded(t *testing.T) {
	url := rawH2(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 0}}, func(int, *http2.Framer, *http2.MetaHeadersFrame) bool { return true })
	cfg := quick
	cfg.ResponseTimeout = 20 * time.Millisecond
	o := originOf(t, url, cfg)
	for range 3 * cfg.MaxConnections {
		fetch(t.Context(), o, &Attempt{Request: get("/")})
	}
	if n := o.connections(); n > cfg.MaxConnections {
		t.Errorf("%d connections, of %d", n, cfg.MaxConnections)
	}
	_, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")})
	want(t, "none takes more", err, message.BlameEdge, 503, "origin connection limit", true)
}

func TestAPanicOfTheCallersIsNotKept(t *testing.T) {
	s := staged(t, quick, answering("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	for range 2 * quick.MaxConnections {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it was swallowed")
				}
			}()
			s.RoundTrip(t.Context(), &Attempt{Request: get("/"), Informational: func(int, message.Fields) { panic("of the front end") }})
		}()
	}
	if n := s.inFlight.Load(); n != 0 || s.saw() == "" {
		t.Errorf("%d in flight, closed: %s", n, s.saw())
	}

	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(103) })
	_, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: get("/"), Informational: func(int, message.Fields) { panic("of the front end") }})
	want(t, "in a goroutine of x/net", err, message.BlameEdge, 500, "internal error", false)
}

// The goroutine that reads an HTTP/2 connection serves everyone on it.
func TestAClientThatTakesNoHintHoldsUpNobodyElse(t *testing.T) {
	url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		if h.StreamID == 1 {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: block(":status", "103")}) == nil
		}
		for id := uint32(1); id <= 3; id += 2 {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "200")})
		}
		return true
	})
	o := originOf(t, url, quick)
	takes, hinted, slow := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		defer close(slow)
		seen := false
		_, _, err := fetch(context.Background(), o, &Attempt{Request: get("/"), Informational: func(int, message.Fields) { close(hinted); <-takes; seen = true }})
		if err != nil || !seen {
			t.Errorf("the slow one: %v, took the hint: %v", err, seen)
		}
	}()
	<-hinted
	soon(t, "the other", func() {
		if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
			t.Error(err)
		}
	})
	close(takes)
	<-slow
}

// That no further connection can be made is no reason to fail when there is room on those that are.
func TestAFailureToConnectIsNoneWhereAStreamIsFreeByThen(t *testing.T) {
	url := rawH2(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 1}}, func(n int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, BlockFragment: block(":status", "200")}) == nil
	})
	cfg := quick
	dialing, fail := make(chan bool), make(chan bool)
	var dialed atomic.Int32
	cfg.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dialed.Add(1) == 1 {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		dialing <- true
		<-fail
		return nil, syscall.ECONNREFUSED
	}
	o := originOf(t, url, cfg)
	first, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		res, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err == nil {
			res.Body.Close()
		}
		second <- err
	}()
	<-dialing
	first.Body.Close()
	close(fail)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

// An origin may allow fewer streams than a client may assume before its settings have come.
func TestABurstAtTheBeginningOverHTTP2(t *testing.T) {
	for range 20 {
		url := rawH2(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: 4}}, func(n int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "200")}) == nil
		})
		cfg := quick
		cfg.MaxConnections = 50
		o := originOf(t, url, cfg)
		var all sync.WaitGroup
		for range cfg.MaxConnections {
			all.Go(func() {
				if _, _, err := fetch(t.Context(), o, &Attempt{Request: with("POST", 0)}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
