package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
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
	client, server := net.Pipe()
	x := &session{t: t, Conn: client, fr: http2.NewFramer(client, client), frames: make(chan any, 1000), pings: make(chan [8]byte, 10), done: make(chan struct{})}
	x.enc = hpack.NewEncoder(&x.block)
	x.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	x.fr.AllowIllegalWrites = true
	go func() {
		defer close(x.done)
		s.ServeConn(ctx, server, info)
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

func newServer(t *testing.T, h message.Handler, cfg Config) *Server {
	t.Helper()
	return New(h, cfg)
}

// leaves is the GOAWAY that refuses nothing, and last the one after it.
func leaves(g *goAway) bool { return g.last == maxStreamID && g.code == http2.ErrCodeNo }

func last(id uint32) func(*goAway) bool {
	return func(g *goAway) bool { return g.last == id && g.code == http2.ErrCodeNo }
}

func TestDrainFinishesStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			<-release
			ok(ctx, w, r)
		})
		s := newServer(t, h, Config{IdleTimeout: time.Hour})
		busy, idle := serve(t, t.Context(), s), serve(t, t.Context(), s)
		busy.request(1, "/", true)
		s.Drain()
		want(t, busy.next(), leaves, "GOAWAY that refuses nothing")
		want(t, busy.next(), last(1), "GOAWAY that lets stream 1 end")
		want(t, idle.next(), leaves, "GOAWAY on the idle connection")
		want(t, idle.next(), last(0), "the second GOAWAY there")
		<-idle.done
		busy.request(3, "/late", true)
		close(release)
		want(t, busy.next(), func(r *response) bool { return r.stream == 1 && r.status == "200" }, "the response to stream 1")
		<-busy.done
		for f := range busy.frames {
			t.Errorf("after that came %T %+v; a stream beyond the GOAWAY must be left to the client to send elsewhere", f, f)
		}
	})
}

func TestConnectionDuringDrainIsServedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, ok, Config{IdleTimeout: time.Hour})
		s.Drain()
		x, silent := serve(t, t.Context(), s), serve(t, t.Context(), s)
		x.request(1, "/", true)
		got := []any{x.next(), x.next()}
		if _, first := got[0].(*goAway); first {
			got[0], got[1] = got[1], got[0]
		}
		want(t, got[0], func(r *response) bool { return r.status == "200" }, "a response")
		want(t, got[1], leaves, "GOAWAY with it")
		want(t, x.next(), last(1), "the second GOAWAY")
		<-x.done
		select {
		case <-silent.done:
			t.Error("a connection without a request was closed while others are welcome")
		default:
		}
		s.Drain()
		<-silent.done
	})
}

func TestIdleTimeout(t *testing.T) {
	tests := map[string]func(x *session){
		"nothing but the preface": func(*session) {},
		"after a request":         func(x *session) { x.request(1, "/", true) },
		"half a header section": func(x *session) {
			_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x82}})
		},
	}
	for name, act := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := serve(t, t.Context(), newServer(t, ok, Config{IdleTimeout: time.Minute}))
				begin := time.Now()
				act(x)
				<-x.done
				if took := time.Since(begin); took < time.Minute || took > time.Minute+5*time.Second {
					t.Errorf("ended after %v", took)
				}
			})
		})
	}
}

// TestStalledUpload: one stream's stall is that stream's end, not the connection's.
func TestStalledUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Body == nil {
				ok(ctx, w, r)
				return
			}
			_, err := io.ReadAll(r.Body)
			failed <- err
			w.Abort()
		})
		x := serve(t, t.Context(), newServer(t, h, Config{Pace: message.Pace{Grace: time.Minute}}))
		x.request(1, "/", false)
		begin := time.Now()
		if err, is := (<-failed).(*message.Error); !is || err.Blame != message.BlameClient {
			t.Errorf("the handler got %v", err)
		}
		if took := time.Since(begin); took > 2*time.Minute {
			t.Errorf("after %v", took)
		}
		want(t, x.next(), func(r *reset) bool { return r.stream == 1 }, "a reset of stream 1")
		x.request(3, "/", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 3 && r.status == "200" }, "a response on stream 3")
		x.Close()
		<-x.done
	})
}

func TestStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) { <-ctx.Done(); w.Abort() })
		var errors []string
		s := newServer(t, h, Config{MaxStreams: 2, CountError: func(kind string) { errors = append(errors, kind) }})
		x := serve(t, t.Context(), s)
		for id := uint32(1); id <= 5; id += 2 {
			x.request(id, "/", true)
		}
		want(t, x.next(), func(r *reset) bool { return r.stream == 5 }, "the third stream refused")
		x.Close()
		<-x.done
		if len(errors) == 0 {
			t.Error("nothing was counted")
		}
	})
}

func TestMalformedRequests(t *testing.T) {
	tests := map[string][]string{
		"connection-specific field": {"connection", "close"},
		"te other than trailers":    {"te", "gzip"},
		"upper case":                {"X-Upper", "1"},
		"two paths":                 {":path", "/other"},
	}
	for name, more := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
					t.Errorf("reached the handler: %+v", r)
					ok(ctx, w, r)
				})
				x := serve(t, t.Context(), newServer(t, h, Config{}))
				x.request(1, "/", true, more...)
				switch f := x.next().(type) {
				case *reset:
				case *response:
					if !strings.HasPrefix(f.status, "4") {
						t.Errorf("status %s", f.status)
					}
				default:
					t.Errorf("got %T %+v", f, f)
				}
				x.Close()
				<-x.done
			})
		})
	}
}

// TestHostBesideAuthority: the two must not name different hosts, or cache and origin could disagree about whose request it is.
func TestHostBesideAuthority(t *testing.T) {
	for host, good := range map[string]bool{"a": true, "b": false} {
		synctest.Test(t, func(t *testing.T) {
			x := serve(t, t.Context(), newServer(t, ok, Config{}))
			x.request(1, "/", true, "host", host)
			f := x.next()
			if r, is := f.(*response); (is && r.status == "200") != good {
				t.Errorf("host %s beside authority a: got %T %+v", host, f, f)
			}
			x.Close()
			<-x.done
		})
	}
}

// TestServeConnWaitsForItsHandlers: whoever stops the server frees what handlers use, once ServeConn has returned.
func TestServeConnWaitsForItsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
			<-ctx.Done()
			time.Sleep(time.Minute)
			ended = true
			w.Abort()
		})
		ctx, cancel := context.WithCancel(t.Context())
		x := serve(t, ctx, newServer(t, h, Config{}))
		x.request(1, "/", true)
		cancel()
		<-x.done
		if !ended {
			t.Error("returned before the handler")
		}
	})
}
