package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
	"nearcast/proxy/message"
)

// memory is a request stream of which the client's side is known from the start.
type memory struct {
	in    []byte
	chunk int   // most that one read gives; 0: all
	end   error // after in: io.EOF, or what a client does that has not finished

	mu                      sync.Mutex
	out                     bytes.Buffer
	stopped, reset          int // codes, -1 without
	closed                  bool
	writes                  int
	ctx                     context.Context
	priority                priority
	fail                    error // of every write
	readUntil, writtenUntil time.Time
}

func newMemory(in []byte) *memory {
	return &memory{in: in, end: io.EOF, stopped: -1, reset: -1, ctx: context.Background()}
}

func (m *memory) Read(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped >= 0 {
		return 0, &quic.StreamError{ErrorCode: quic.StreamErrorCode(m.stopped)}
	}
	n := len(p)
	if m.chunk > 0 {
		n = min(n, m.chunk)
	}
	n = copy(p[:n], m.in)
	m.in = m.in[n:]
	if len(m.in) == 0 && (m.chunk == 0 || n == 0) {
		return n, m.end
	}
	return n, nil
}

func (m *memory) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	m.writes++
	return m.out.Write(p)
}

func (m *memory) Close() error { m.mu.Lock(); defer m.mu.Unlock(); m.closed = true; return nil }
func (m *memory) CancelRead(c quic.StreamErrorCode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped < 0 {
		m.stopped = int(c)
	}
}
func (m *memory) CancelWrite(c quic.StreamErrorCode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reset < 0 {
		m.reset = int(c)
	}
}
func (m *memory) SetReadDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readUntil = t
	return nil
}
func (m *memory) SetWriteDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writtenUntil = t
	return nil
}
func (m *memory) SetPriority(u int8, i bool) { m.priority = priority{u, i} }
func (m *memory) Context() context.Context   { return m.ctx }

// killed is how a connection in memory ended.
type killed struct {
	mu   sync.Mutex
	code int // -1: not
}

// memoryConn is a connection without QUIC.
func memoryConn(h message.Handler, cfg Config) (*conn, *killed) {
	s := &Server{cfg: cfg.withDefaults(), handler: h}
	s.log = s.cfg.Log
	s.quick, _ = h.(message.QuickHandler)
	s.refuser, _ = h.(message.Refuser)
	k := &killed{code: -1}
	c := &conn{server: s, ctx: context.Background(), base: context.Background(), goAway: noGoAway, budget: allowance,
		info: message.ConnInfo{TLS: &message.TLS{Version: tls.VersionTLS13, ServerName: "example.test"}}}
	c.kill = func(code uint64, _ string) {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.code < 0 {
			k.code = int(code)
		}
	}
	return c, k
}

// response is what a client makes of the octets of a stream.
type response struct {
	interim  []message.Fields
	fields   message.Fields // with :status
	body     []byte
	trailers message.Fields
	frames   []uint64
}

type fieldList struct{ f message.Fields }

func (l *fieldList) Field(n, v string) error { l.f.Add(strings.Clone(n), strings.Clone(v)); return nil }

func parseResponse(t testing.TB, b []byte) (p response) {
	t.Helper()
	for len(b) > 0 {
		typ, n := varint(b)
		length, m := varint(b[n:])
		if n == 0 || m == 0 || uint64(len(b)-n-m) < length {
			t.Fatalf("truncated frame in the response: % x", b)
		}
		payload := b[n+m : n+m+int(length)]
		b = b[n+m+int(length):]
		p.frames = append(p.frames, typ)
		switch typ {
		case frameData:
			p.body = append(p.body, payload...)
		case frameHeaders:
			var l fieldList
			if _, err := qpack.Decode(nil, payload, &l); err != nil {
				t.Fatal(err)
			}
			status := l.f.Get(":status")
			switch {
			case status != "" && status[0] == '1':
				p.interim = append(p.interim, l.f)
			case status != "":
				p.fields = l.f
			default:
				p.trailers = l.f
			}
		default:
			t.Fatalf("frame type %#x in the response", typ)
		}
	}
	return p
}

// frame puts payload into a frame.
func frame(typ uint64, payload ...byte) []byte {
	return append(appendVarint(appendVarint(nil, typ), uint64(len(payload))), payload...)
}

// headers is a HEADERS frame of "name: value" lines; a pseudo-header field has its colon.
func headers(lines ...string) []byte {
	out, at := beginHeaders(nil)
	for _, l := range lines {
		i := strings.Index(l[1:], ":") + 1
		out = qpack.AppendField(out, l[:i], strings.TrimPrefix(l[i+1:], " "))
	}
	return endHeaders(out, at)
}

// request is a HEADERS frame of a request for /, with more lines.
func request(method string, lines ...string) []byte {
	return headers(append([]string{":method: " + method, ":scheme: https", ":authority: example.test", ":path: /"}, lines...)...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

var timeout error = os.ErrDeadlineExceeded
