package h1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// fragments is a connection whose bytes come in parts of a size, and end.
type fragments struct {
	net.Conn
	in   []byte
	size int
	out  bytes.Buffer
}

func (f *fragments) Read(p []byte) (int, error) {
	if len(f.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), f.size)], f.in)
	f.in = f.in[n:]
	return n, nil
}
func (f *fragments) Write(p []byte) (int, error)      { return f.out.Write(p) }
func (f *fragments) SetReadDeadline(time.Time) error  { return nil }
func (f *fragments) SetWriteDeadline(time.Time) error { return nil }
func (f *fragments) Close() error                     { return nil }

// outcome is what h answers to in that comes in parts of a size.
func outcome(t *testing.T, h message.Handler, in []byte, size int) (out string) {
	synctest.Test(t, func(t *testing.T) { // for Date, and so that nothing is left behind
		f := &fragments{in: bytes.Clone(in), size: size}
		New(h, Config{MaxHeader: 2000}).ServeConn(t.Context(), f, testInfo)
		out = f.out.String()
	})
	return out
}

// mixed answers some from memory, some from a handler that tells all, and changes protocols when asked to.
func mixed() *memory {
	m := newMemory()
	m.serve = func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		switch {
		case r.Upgrade != "":
			if tn, err := w.SwitchProtocols(nil); err == nil {
				_, _ = io.Copy(tn, tn)
			}
		case r.Target.Path == "/early":
			short(ctx, w, r)
		case r.Body == nil:
			_ = w.WriteHeader(200, nil, -1)
			fmt.Fprintf(w, "%s %s %s %q", r.Method, r.Authority, r.Target, r.Fields)
		default:
			tell(ctx, w, r)
		}
	}
	return m
}

// Quick of sizes that are no burden.
func (m *memory) bounded(r *message.Request) bool {
	n, err := strconv.Atoi(r.Target.Path[1:])
	return err == nil && n >= 0 && n <= 100_000
}

type boundedMemory struct{ *memory }

func (b boundedMemory) Quick(r *message.Request) *message.Ready {
	if r.Target.Path == "*" || !b.bounded(r) {
		return nil
	}
	return b.memory.Quick(r)
}

func FuzzConn(f *testing.F) {
	for _, s := range []string{
		"GET /5 HTTP/1.1\r\nHost: a\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /20000 HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /5 HTTP/1.0\r\n\r\n",
		"PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\nHEAD /7 HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n" + rest + "GET /5 HTTP/1.1\r\nHost: a\r\n\r\n",
		"PUT /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nX00\n\x00\x01\r\n",
		upgrade + "hello",
		"\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
		"GET http://A/1?2 HTTP/1.1\r\nHost: a\r\nConnection: x, keep-alive\r\nX: y\r\n\r\n",
	} {
		f.Add([]byte(s), uint16(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint16) {
		whole := outcome(t, boundedMemory{mixed()}, in, 1<<20)
		for _, n := range []int{1, int(size) + 1} {
			if parts := outcome(t, boundedMemory{mixed()}, in, n); parts != whole {
				t.Fatalf("%q\nin one piece: %q\nin parts of %d: %q", in, whole, n, parts)
			}
		}
	})
}
