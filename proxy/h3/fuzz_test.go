package h3

import (
	"bytes"
	"context"
	"io"
	"testing"

	"nearcast/proxy/message"
)

// FuzzRequestStream feeds a request stream with anything, in pieces of any size, with any end.
func FuzzRequestStream(f *testing.F) {
	f.Add(join(request("GET")), uint8(0), true)
	f.Add(join(request("POST", "content-length: 3"), frame(frameData, 'a'), frame(frameData, 'b', 'c'), headers("x: y")), uint8(3), true)
	f.Add(join(frame(0x21, 1), request("POST", "expect: 100-continue"), frame(frameData), frame(0x21)), uint8(1), false)
	f.Add(join(connectWebSocket, frame(frameData, 'a', 'b'), frame(frameData)), uint8(2), true)
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8, end bool) {
		h := &anything{t: t}
		c, killed := memoryConn(h, Config{MaxHeader: 4 << 10, IdleTimeout: 1})
		m := newMemory(bytes.Clone(in))
		m.chunk = int(chunk)
		if !end {
			m.end = timeout
		}
		c.exchange(nil, m, 0)
		if len(c.active) != 0 {
			t.Fatal("still in flight")
		}
		if killed.code < 0 && !m.closed && m.reset < 0 {
			t.Fatal("neither answered nor reset")
		}
		if m.reset < 0 && m.closed {
			if p := parseResponse(t, m.out.Bytes()); len(p.fields) == 0 {
				t.Fatal("no final response")
			}
		}
	})
}

// anything checks what it gets, and tries everything.
type anything struct{ t *testing.T }

func (h *anything) Serve(_ context.Context, w message.ResponseWriter, r *message.Request) {
	if !message.IsToken(r.Method) || r.Authority == "" || r.Target.Path == "" || r.Scheme != "https" || r.Method == "CONNECT" {
		h.t.Fatalf("got %+v", r)
	}
	for _, f := range r.Fields {
		if !message.IsLowerToken(f.Name) || !message.IsFieldValue(f.Value) {
			h.t.Fatalf("got field %q", f)
		}
	}
	if r.Upgrade != "" {
		tn, err := w.SwitchProtocols(nil)
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(tn, 1<<20))
		_, _ = tn.Write([]byte("bye"))
		return
	}
	if r.Body != nil {
		n, err := io.Copy(io.Discard, r.Body)
		if err == nil && r.ContentLength >= 0 && n != r.ContentLength {
			h.t.Fatalf("%d octets of %d", n, r.ContentLength)
		}
		if err != nil {
			_ = w.WriteHeader(400, nil, 0)
			return
		}
		_ = r.Trailers()
	}
	_ = w.WriteHeader(200, nil, -1)
	_, _ = w.Write([]byte("x"))
	_ = w.WriteTrailers(nil)
}

// FuzzUniStream feeds a unidirectional stream with anything.
func FuzzUniStream(f *testing.F) {
	f.Add(join(settings(settingMaxFieldSection, 100), frame(framePriorityUpdate, 0, 'u', '=', '1'), frame(frameGoAway, 4), frame(0x21, 1, 2, 3)), uint8(0))
	f.Add([]byte{streamEncoder, 0x20, 0x20}, uint8(1))
	f.Add([]byte{streamDecoder, 0x44, 0x7f, 0x81, 1}, uint8(1))
	f.Add([]byte{0x40, 0x54, 1}, uint8(2))
	f.Fuzz(func(t *testing.T, in []byte, chunk uint8) {
		c, _ := memoryConn(ok, Config{})
		m := newMemory(bytes.Clone(in))
		m.chunk = int(chunk)
		fault, critical := c.uni(m)
		if critical && fault == nil {
			t.Fatal("a critical stream ended without a fault")
		}
		if len(c.wanted) > maxWanted {
			t.Fatal("too many priorities are kept")
		}
	})
}
