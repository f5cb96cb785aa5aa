package upstream

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
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
		want(t, "no stream is allowed", err, message.BlameOrigin, 504, "response timeout", false)
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
