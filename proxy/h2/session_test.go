package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
)

type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

var ok = handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) { _ = w.WriteHeader(200, nil, 0) })

var testInfo = message.ConnInfo{Client: netip.MustParseAddrPort("192.0.2.7:4711"), Local: netip.MustParseAddrPort("192.0.2.1:80")}

// session is one connection being served over a pipe, with a client that speaks frames; on the fake clock of synctest.
type session struct {
	t *testing.T
	net.Conn
	fr      *http2.Framer
	enc     *hpack.Encoder
	block   bytes.Buffer
	frames  chan any // copies of what came: *goAway, *reset, *response
	done    chan struct{}
	updates bool // puts WINDOW_UPDATE into frames
	deaf    atomic.Bool
	noData  bool         // leaves DATA out of frames
	pings   chan [8]byte // answers to PING
}

type (
	goAway struct {
		last uint32
		code http2.ErrCode
	}
	reset struct {
		stream uint32
		code   http2.ErrCode
	}
	response struct {
		stream uint32
		status string
		ended  bool
		fields []hpack.HeaderField
	}
	data struct {
		stream uint32
		n      int
		ended  bool
	}
	update struct{ stream, n uint32 }
)

// begin is a connection whose client has said nothing yet.
func begin(t *testing.T, ctx context.Context, s *Server) *session {
	return beginAs(t, ctx, s, testInfo)
}

func beginAs(t *testing.T, ctx context.Context, s *Server, info message.ConnInfo) *session {
	return beginWith(t, func(nc net.Conn) { s.ServeConn(ctx, nc, info) })
}

func beginWith(t *testing.T, serve func(net.Conn)) *session {
	client, server := net.Pipe()
	x := &session{t: t, Conn: client, fr: http2.NewFramer(client, client), frames: make(chan any, 1000), pings: make(chan [8]byte, 10), done: make(chan struct{})}
	x.enc = hpack.NewEncoder(&x.block)
	x.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	x.fr.AllowIllegalWrites = true
	go func() {
		defer close(x.done)
		serve(server)
	}()
	go x.read()
	synctest.Wait()
	return x
}

// greet sends the client's preface.
func (x *session) greet() {
	_, _ = io.WriteString(x, http2.ClientPreface)
	_ = x.fr.WriteSettings()
	synctest.Wait()
}

func serve(t *testing.T, ctx context.Context, s *Server) *session {
	x := begin(t, ctx, s)
	x.greet()
	return x
}

// waiting is a handler that answers when release is closed.
func waiting(release chan struct{}) handlerFunc {
	return func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		<-release
		ok(ctx, w, r)
	}
}

func (x *session) read() {
	defer close(x.frames)
	for {
		if x.deaf.Load() {
			<-x.done
			return
		}
		f, err := x.fr.ReadFrame()
		var se http2.StreamError
		if errors.As(err, &se) {
			x.t.Errorf("malformed response: %v", err)
			continue
		}
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.GoAwayFrame:
			x.frames <- &goAway{f.LastStreamID, f.ErrCode}
		case *http2.RSTStreamFrame:
			x.frames <- &reset{f.StreamID, f.ErrCode}
		case *http2.WindowUpdateFrame:
			if x.updates {
				x.frames <- &update{f.StreamID, f.Increment}
			}
		case *http2.PingFrame:
			if f.IsAck() {
				x.pings <- f.Data
			}
		case *http2.MetaHeadersFrame:
			x.frames <- &response{f.StreamID, f.PseudoValue("status"), f.StreamEnded(), f.Fields}
		case *http2.DataFrame:
			if !x.noData {
				x.frames <- &data{f.StreamID, len(f.Data()), f.StreamEnded()}
			}
		}
	}
}

func (r *response) get(name string) string {
	for _, f := range r.fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// request sends a GET on a stream; more are further fields.
func (x *session) request(stream uint32, path string, end bool, more ...string) {
	x.ask("GET", stream, path, end, more...)
}

func (x *session) ask(method string, stream uint32, path string, end bool, more ...string) {
	x.block.Reset()
	fields := append([]string{":method", method, ":scheme", "http", ":authority", "a", ":path", path}, more...)
	for i := 0; i < len(fields); i += 2 {
		_ = x.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: x.block.Bytes(), EndHeaders: true, EndStream: end}); err != nil {
		x.t.Errorf("sending a request: %v", err)
	}
	synctest.Wait()
}

// stopReading makes the client take nothing any more, after one frame.
func (x *session) stopReading() {
	x.deaf.Store(true)
	_ = x.fr.WritePing(false, [8]byte{})
	synctest.Wait()
}

func hf(name, value string) hpack.HeaderField { return hpack.HeaderField{Name: name, Value: value} }

// next returns the next frame that says something.
func (x *session) next() any {
	select {
	case f := <-x.frames:
		return f
	case <-time.After(time.Hour):
		return "nothing"
	}
}

func want[T any](t *testing.T, got any, ok func(*T) bool, what string) {
	t.Helper()
	if f, is := got.(*T); !is || !ok(f) {
		t.Errorf("got %T %+v, want %s", got, got, what)
	}
}
