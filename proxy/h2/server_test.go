package h2

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

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
		s := New(h, Config{IdleTimeout: time.Hour})
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
		s := New(ok, Config{IdleTimeout: time.Hour})
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
				x := serve(t, t.Context(), New(ok, Config{IdleTimeout: time.Minute}))
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
		x := serve(t, t.Context(), New(h, Config{Pace: message.Pace{Grace: time.Minute}}))
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
		s := New(h, Config{MaxStreams: 2, CountError: func(kind string) { errors = append(errors, kind) }})
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
				x := serve(t, t.Context(), New(h, Config{}))
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
			x := serve(t, t.Context(), New(ok, Config{}))
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
		x := serve(t, ctx, New(h, Config{}))
		x.request(1, "/", true)
		cancel()
		<-x.done
		if !ended {
			t.Error("returned before the handler")
		}
	})
}
