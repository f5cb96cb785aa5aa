package h1

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

var testInfo = message.ConnInfo{
	Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:4711"), Local: netip.MustParseAddrPort("192.0.2.1:80")}

// addressed gives a pipe the addresses that net/http asks for.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(testInfo.Client) }
func (addressed) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(testInfo.Local) }

// session is one connection being served over a pipe, on the fake clock of synctest.
type session struct {
	net.Conn
	br   *bufio.Reader
	done chan struct{}
}

func serve(ctx context.Context, s *Server) *session {
	client, server := net.Pipe()
	x := &session{Conn: client, br: bufio.NewReader(client), done: make(chan struct{})}
	go func() {
		defer close(x.done)
		s.ServeConn(ctx, addressed{server}, testInfo)
	}()
	return x
}

func (x *session) roundTrip(t *testing.T, request string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(x, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(x.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp
}

var ok = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	_ = w.WriteHeader(200, nil, -1)
	fmt.Fprintf(w, "%s %s", r.Target, r.Client)
})

func TestKeepAliveAndPipelining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(ok, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		go func() {
			_, _ = io.WriteString(x, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		}()
		for _, want := range []string{"/1 192.0.2.7:4711", "/2 192.0.2.7:4711"} {
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != want {
				t.Errorf("got %q, want %q", body, want)
			}
		}
		<-x.done // after Connection: close
	})
}

// TestEmptyLinesBeforeARequest: a few are no fault, before the first request of a connection and before a later one (RFC 9112 §2.2).
func TestEmptyLinesBeforeARequest(t *testing.T) {
	for _, lines := range []string{"\r\n", "\r\n\r\n\r\n\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			x := serve(t.Context(), New(ok, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
			for range 2 {
				for _, b := range []byte(lines) {
					_, _ = x.Write([]byte{b})
				}
				resp := x.roundTrip(t, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
				if body, _ := io.ReadAll(resp.Body); string(body) != "/1 192.0.2.7:4711" || resp.Close {
					t.Errorf("behind %q: %q, close: %t", lines, body, resp.Close)
				}
			}
			x.Close()
			<-x.done
		})
	}
}

// TestALaterMinorVersionIsHTTP11 (RFC 9110 §2.5), also in what it makes of the connection and of the body's form.
func TestALaterMinorVersionIsHTTP11(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(ok, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		for _, version := range []string{"HTTP/1.2", "HTTP/1.9"} {
			resp := x.roundTrip(t, "GET /1 "+version+"\r\nHost: a\r\n\r\n")
			if resp.Proto != "HTTP/1.1" || resp.StatusCode != 200 || resp.Close || !slices.Equal(resp.TransferEncoding, []string{"chunked"}) {
				t.Errorf("%s: %s %d, close: %t, coding %q", version, resp.Proto, resp.StatusCode, resp.Close, resp.TransferEncoding)
			}
		}
		x.Close()
		<-x.done
	})
}

func TestTimeouts(t *testing.T) {
	const header, idle = 10 * time.Second, time.Minute
	tests := []struct {
		name string
		send func(x *session)
		want time.Duration
	}{
		{"nothing is sent", func(*session) {}, header},
		{"a byte now and then", func(x *session) {
			go func() {
				for _, b := range []byte(strings.Repeat("GET / HTTP/1.1\r\nX: y\r\n", 10)) {
					if _, err := x.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
		}, header},
		{"idle after a request", func(x *session) {
			_, _ = io.WriteString(x, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, _ := http.ReadResponse(x.br, nil)
			_, _ = io.Copy(io.Discard, resp.Body)
		}, idle},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := serve(t.Context(), New(ok, Config{HeaderTimeout: header, IdleTimeout: idle}))
				begin := time.Now()
				tt.send(x)
				go func() { _, _ = io.Copy(io.Discard, x) }()
				<-x.done
				if took := time.Since(begin); took < tt.want || took > tt.want+time.Second {
					t.Errorf("ended after %v, want %v", took, tt.want)
				}
				x.Close()
				time.Sleep(2 * time.Second) // the sender sees it
			})
		})
	}
}

// TestLongAnswerOutlivesTheTimeouts: the limits are for clients that stall, not for origins that take their time.
func TestLongAnswerOutlivesTheTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			time.Sleep(time.Hour)
			if ctx.Err() != nil {
				t.Error("the handler was told that the client left")
			}
			_ = w.WriteHeader(200, nil, 2)
			_, _ = w.Write([]byte("ok"))
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		for range 2 {
			for _, request := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"} {
				if resp := x.roundTrip(t, request); resp.StatusCode != 200 {
					t.Errorf("status %d", resp.StatusCode)
				}
			}
		}
		x.Close()
		<-x.done
	})
}

// TestClientThatDoesNotRead must not hold its handler longer than the idle timeout.
func TestClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed error
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteHeader(200, nil, -1)
			for failed == nil {
				_, failed = w.Write(make([]byte, 64<<10))
			}
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: time.Second, IdleTimeout: time.Minute}))
		begin := time.Now()
		_, _ = io.WriteString(x, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		<-x.done
		if took := time.Since(begin); took > 2*time.Minute {
			t.Errorf("the client held its handler for %v", took)
		}
		if _, ok := failed.(*message.Error); !ok {
			t.Errorf("the handler got %v, want an error that blames the client", failed)
		}
		x.Close()
	})
}

func TestContextCutsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) { <-ctx.Done(); w.Abort() })
		s := New(h, Config{})
		busy, quiet := serve(ctx, s), serve(ctx, s)
		_, _ = io.WriteString(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait()
		cancel()
		<-busy.done
		<-quiet.done
	})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Target.Path == "/wait" {
				<-release
			}
			ok(ctx, w, r)
		})
		s := New(h, Config{HeaderTimeout: time.Hour, IdleTimeout: time.Hour})
		idle, fresh, busy := serve(t.Context(), s), serve(t.Context(), s), serve(t.Context(), s)
		if resp := idle.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.Close {
			t.Error("closes before the drain")
		}
		_, _ = io.WriteString(busy, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
		s.Drain()
		late := serve(t.Context(), s)
		if resp := late.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); !resp.Close {
			t.Error("a connection that came during the drain is not told to leave")
		}
		<-late.done
		select {
		case <-idle.done:
			t.Error("an idle connection was closed at once; a request on its way to us would be lost")
		default:
		}
		s.CloseIdle()
		<-idle.done
		<-fresh.done
		synctest.Wait()
		select {
		case <-busy.done:
			t.Fatal("the request in flight was cut")
		default:
		}
		close(release)
		resp, err := http.ReadResponse(busy.br, nil)
		if err != nil || !resp.Close {
			t.Errorf("the request in flight got %v, %v", resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		<-busy.done
	})
}

func TestHTTP10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			_ = w.WriteInformational(103, nil) // HTTP/1.0 must not see it
			ok(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{}))
		_, _ = io.WriteString(x, "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
		all, _ := io.ReadAll(x.br)
		if !strings.HasPrefix(string(all), "HTTP/1.0 200") && !strings.HasPrefix(string(all), "HTTP/1.1 200") || strings.Contains(string(all), "chunked") {
			t.Errorf("got %q", all)
		}
		<-x.done
	})
}

func TestContinue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Fields.Has("expect") {
				t.Error("Expect was passed on")
			}
			if r.Target.Path == "/no" {
				_ = w.WriteHeader(413, nil, 0)
				return
			}
			body, _ := io.ReadAll(r.Body)
			_ = w.WriteHeader(200, nil, int64(len(body)))
			_, _ = w.Write(body)
		})
		s := New(h, Config{IdleTimeout: time.Minute})
		const head = " HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
		yes, no := serve(t.Context(), s), serve(t.Context(), s)
		if resp := yes.roundTrip(t, "POST /yes"+head); resp.StatusCode != 100 {
			t.Errorf("status %d, want 100 first", resp.StatusCode)
		}
		if resp := yes.roundTrip(t, "ab"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
		if resp := no.roundTrip(t, "POST /no"+head); resp.StatusCode != 413 || !resp.Close {
			t.Errorf("status %d, closes: %t; the body was never asked for, so the connection cannot go on", resp.StatusCode, resp.Close)
		}
		<-no.done
		yes.Close()
		<-yes.done
	})
}
