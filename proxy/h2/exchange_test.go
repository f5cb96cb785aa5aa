package h2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// TestResponses: what a handler's calls become.
func TestResponses(t *testing.T) {
	type step = func(w message.ResponseWriter) error
	head := func(status int, length int64, f ...message.Field) step {
		return func(w message.ResponseWriter) error { return w.WriteHeader(status, f, length) }
	}
	write := func(s string) step {
		return func(w message.ResponseWriter) error { _, err := w.Write([]byte(s)); return err }
	}
	flush := func(w message.ResponseWriter) error { return w.Flush() }
	trailers := func(f ...message.Field) step {
		return func(w message.ResponseWriter) error { return w.WriteTrailers(f) }
	}
	for why, tt := range map[string]struct {
		method string
		steps  []step
		want   string
	}{
		"declared":               {"GET", []step{head(200, 5), write("hel"), write("lo")}, "H200 content-length=5|D5 end"},
		"not declared":           {"GET", []step{head(200, -1), write("hello")}, "H200|D5 end"},
		"in pieces":              {"GET", []step{head(200, -1), write("hel"), flush, write("lo"), flush}, "H200|D3|D2|D0 end"},
		"large":                  {"GET", []step{head(200, 40_000), write(strings.Repeat("x", 40_000))}, "H200 content-length=40000|D16384|D16384|D3136|D4096 end"},
		"empty":                  {"GET", []step{head(200, 0)}, "H200 content-length=0 end"},
		"empty, not declared":    {"GET", []step{head(200, -1)}, "H200 end"},
		"HEAD":                   {"HEAD", []step{head(200, 5), write("hello")}, "H200 content-length=5 end"},
		"204":                    {"GET", []step{head(204, 0)}, "H204 end"},
		"304":                    {"GET", []step{head(304, 5), write("hello")}, "H304 end"},
		"trailers":               {"GET", []step{head(200, -1), write("hi"), trailers(message.Field{Name: "grpc-status", Value: "0"})}, "H200|D2|H grpc-status=0 end"},
		"trailers with a length": {"GET", []step{head(200, 2), write("hi"), trailers(message.Field{Name: "x-sum", Value: "1"})}, "H200 content-length=2|D2|H x-sum=1 end"},
		"only trailers":          {"GET", []step{head(200, -1), trailers(message.Field{Name: "grpc-status", Value: "5"})}, "H200|H grpc-status=5 end"},
		"what may not be sent": {"GET", []step{head(200, 0, message.Field{Name: "connection", Value: "close"}, message.Field{Name: "Upper", Value: "x"},
			message.Field{Name: "x-a", Value: "a\r\nb: c"}, message.Field{Name: "x-b", Value: "b"})}, "H200 x-b=b content-length=0 end"},
		"alt-svc": {"ALT", []step{head(200, 0, message.Field{Name: "alt-svc", Value: "theirs"})}, "H200 alt-svc=ours content-length=0 end"},
		"early hints": {"GET", []step{func(w message.ResponseWriter) error {
			return w.WriteInformational(103, message.Fields{{Name: "link", Value: "</a>"}})
		}, head(200, 0)}, "H103 link=</a>|H200 content-length=0 end"},
		"100 is ours":     {"GET", []step{func(w message.ResponseWriter) error { return w.WriteInformational(100, nil) }, head(200, 0)}, "H200 content-length=0 end"},
		"nothing":         {"GET", nil, "H500 content-length=0 end"},
		"too short":       {"GET", []step{head(200, 5), write("hell")}, "R2"},
		"aborted":         {"GET", []step{head(200, -1), write("hell"), flush, func(w message.ResponseWriter) error { w.Abort(); return nil }}, "H200|D4|R2"},
		"a panic":         {"GET", []step{func(message.ResponseWriter) error { panic("on purpose") }}, "H500 content-length=0 end"},
		"a late panic":    {"GET", []step{head(200, -1), flush, func(message.ResponseWriter) error { panic("on purpose") }}, "H200|R2"},
		"head after head": {"GET", []step{head(200, 0), fails(head(200, 0))}, "H200 content-length=0 end"},
		"too long":        {"GET", []step{head(200, 2), fails(write("abc")), write("ab")}, "H200 content-length=2|D2 end"},
		"no head":         {"GET", []step{fails(write("abc")), fails(flush), fails(trailers()), head(200, 0)}, "H200 content-length=0 end"},
		"no tunnel": {"GET", []step{func(w message.ResponseWriter) error {
			if _, err := w.SwitchProtocols(nil); !errors.Is(err, errors.ErrUnsupported) {
				return fmt.Errorf("a tunnel out of nothing: %v", err)
			}
			return nil
		}, head(200, 0)}, "H200 content-length=0 end"},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
					if r.Method == "ALT" {
						r.AltSvc = "ours"
					}
					for i, s := range tt.steps {
						if err := s(w); err != nil {
							t.Errorf("step %d: %v", i, err)
						}
					}
				})
				x := serve(t, t.Context(), New(h, Config{}))
				x.ask(tt.method, 1, "/", true)
				if got := x.transcript(); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				x.Close()
				<-x.done
			})
		})
	}
}

func fails(f func(w message.ResponseWriter) error) func(w message.ResponseWriter) error {
	return func(w message.ResponseWriter) error {
		if f(w) == nil {
			return errors.New("it was let do that")
		}
		return nil
	}
}

// transcript puts the frames that have come into short words.
func (x *session) transcript() string {
	var all []string
	for synctest.Wait(); len(x.frames) > 0; synctest.Wait() {
		s, ended := "", false
		switch f := x.next().(type) {
		case *response:
			s, ended = "H"+f.status, f.ended
			for _, h := range f.fields {
				if h.Name != ":status" {
					s += " " + h.Name + "=" + h.Value
				}
			}
		case *data:
			s, ended = fmt.Sprint("D", f.n), f.ended
		case *reset:
			s = fmt.Sprint("R", uint32(f.code))
		}
		if ended {
			s += " end"
		}
		all = append(all, s)
	}
	return strings.Join(all, "|")
}

// TestTunnel is WebSocket over HTTP/2 (RFC 8441).
func TestTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, causes := make(chan error, 1), make(chan error, 2)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Method != "GET" || r.Upgrade != "websocket" || r.Body != nil || r.ContentLength != 0 {
				t.Errorf("the request is %+v", r)
			}
			tun, err := w.SwitchProtocols(message.Fields{{Name: "sec-websocket-protocol", Value: "chat"}})
			if err != nil {
				t.Error(err)
				return
			}
			_, err = io.Copy(tun, tun) // an echo
			_ = tun.CloseWrite()
			causes <- context.Cause(ctx)
			over <- err
		})
		x := serve(t, t.Context(), New(h, Config{IdleTimeout: time.Minute}))
		x.ask("CONNECT", 1, "/chat", false, ":protocol", "websocket")
		if got := x.transcript(); got != "H200 sec-websocket-protocol=chat" {
			t.Errorf("got %s", got)
		}
		for range 5 { // it lives as long as something moves
			time.Sleep(50 * time.Second)
			_ = x.fr.WriteData(1, false, []byte("hello"))
			want(t, x.next(), func(d *data) bool { return d.n == 5 && !d.ended }, "the echo")
		}
		_ = x.fr.WriteData(1, true, []byte("bye"))
		if got := x.transcript(); got != "D3|D0 end" {
			t.Errorf("got %s", got)
		}
		if err := <-over; err != nil {
			t.Error(err)
		}
		x.ask("CONNECT", 3, "/chat", false, ":protocol", "websocket")
		x.transcript()
		began := time.Now()
		want(t, x.next(), func(r *reset) bool { return r.stream == 3 && time.Since(began) == time.Minute }, "a reset when nothing moves")
		if err := <-over; err == nil {
			t.Error("the handler does not know")
		}
		if first, second := <-causes, <-causes; first != nil || second != errQuiet {
			t.Errorf("the contexts ended for %v and %v", first, second)
		}
		x.Close()
		<-x.done
	})
}

func TestPlainConnectIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(ok, Config{}))
		x.block.Reset()
		_ = x.enc.WriteField(hf(":method", "CONNECT"))
		_ = x.enc.WriteField(hf(":authority", "a:443"))
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: x.block.Bytes(), EndHeaders: true})
		want(t, x.next(), func(r *response) bool { return r.status == "501" && r.ended }, "501")
		want(t, x.next(), func(r *reset) bool { return r.code == http2.ErrCodeNo }, "and nothing more wanted")
		x.Close()
		<-x.done
	})
}

// TestExpectContinue: 100 is sent when the body is asked for, and not when the answer comes first.
func TestExpectContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Target.Path == "/read" {
				_, _ = io.ReadAll(r.Body)
			}
			ok(ctx, w, r)
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.ask("POST", 1, "/read", false, "expect", "100-continue")
		if got := x.transcript(); got != "H100" {
			t.Errorf("got %s", got)
		}
		_ = x.fr.WriteData(1, true, []byte("x"))
		if got := x.transcript(); got != "H200 content-length=0 end" {
			t.Errorf("got %s", got)
		}
		x.ask("POST", 3, "/", false, "expect", "100-continue")
		if got := x.transcript(); got != "H200 content-length=0 end|R0" {
			t.Errorf("got %s", got)
		}
		x.Close()
		<-x.done
	})
}

// TestAResetEndsTheHandlersContext, and its writes and reads.
func TestAResetEndsTheHandlersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make(chan error, 3)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			_, err := io.ReadAll(r.Body)
			errs <- err
			errs <- w.WriteHeader(200, nil, 0)
			<-ctx.Done()
			errs <- context.Cause(ctx)
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.request(1, "/", false)
		_ = x.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		for range 3 {
			if err := <-errs; err == nil {
				t.Error("no error")
			}
		}
		if got := x.transcript(); got != "" {
			t.Errorf("got %s", got)
		}
		x.Close()
		<-x.done
	})
}

// TestTheEncodersTable: a client that makes its table smaller may want to be told that ours is (RFC 7541 §4.2).
func TestTheEncodersTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := begin(t, t.Context(), New(ok, Config{}))
		_, _ = io.WriteString(x, preface)
		_ = x.fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 100})
		x.fr.ReadMetaHeaders.SetMaxDynamicTableSize(100)
		x.request(1, "/", true)
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "a response")
		x.request(3, "/", true)
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "a second response")
		x.Close()
		<-x.done
	})
}
