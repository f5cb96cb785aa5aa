package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// over serves h for one exchange that the text begins, and returns everything that comes back.
func over(t *testing.T, h message.Handler, cfg Config, text string) string {
	t.Helper()
	x := serve(t.Context(), New(h, cfg))
	go func() { _, _ = io.WriteString(x, text) }()
	all, _ := io.ReadAll(x.br)
	<-x.done
	return string(all)
}

// answer writes a response of the given parts.
func answer(status int, length int64, parts ...string) handlerFunc {
	return func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		_ = w.WriteHeader(status, message.Fields{{Name: "x", Value: "y"}, {Name: "connection", Value: "z"}}, length)
		for _, p := range parts {
			_, _ = io.WriteString(w, p)
		}
	}
}

func TestHowAResponseIsFramed(t *testing.T) {
	const get11, get10 = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"
	long := strings.Repeat("0123456789", 2000)
	for _, c := range []struct {
		name, in string
		h        handlerFunc
		want     string
	}{
		{"length", get11, answer(200, 4, "ab", "cd"), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 4\r\nconnection: close\r\n\r\nabcd"},
		{"chunked", get11, answer(200, -1, "ab", "cd"), "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"},
		{"a large part", get11, answer(200, -1, "ab", long, "cd"),
			"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n2\r\nab\r\n4e20\r\n" + long + "\r\n2\r\ncd\r\n0\r\n\r\n"},
		{"a chunk of three digits", get11, answer(200, -1, long[:300]),
			"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n12c\r\n" + long[:300] + "\r\n0\r\n\r\n"},
		{"an empty body", get11, answer(200, -1), "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n"},
		{"until close", get10, answer(200, -1, "ab"), "HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\nab"},
		{"until close, asked to keep", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answer(200, -1, "ab"), "HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\nab"},
		{"head", strings.Replace(get11, "GET", "HEAD", 1), answer(200, 4, "abcd"), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 4\r\nconnection: close\r\n\r\n"},
		{"head of unknown length", strings.Replace(get11, "GET", "HEAD", 1), answer(200, -1, "abcd"), "HTTP/1.1 200 OK\r\nx: y\r\nconnection: close\r\n\r\n"},
		{"304", get11, answer(304, 4, "abcd"), "HTTP/1.1 304 Not Modified\r\nx: y\r\ncontent-length: 4\r\nconnection: close\r\n\r\n"},
		{"204", get11, answer(204, 0, "abcd"), "HTTP/1.1 204 No Content\r\nx: y\r\nconnection: close\r\n\r\n"},
		{"another status", get11, answer(299, 0), "HTTP/1.1 299 \r\nx: y\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
		{"too short", get11, answer(200, 5, "abc"), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 5\r\nconnection: close\r\n\r\nabc"},
		{"too long", get11, answer(200, 3, "abc", "d"), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"},
		{"trailers", get11, func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteHeader(200, nil, -1)
			_, _ = io.WriteString(w, "a")
			_ = w.WriteTrailers(message.Fields{{Name: "grpc-status", Value: "0"}, {Name: "content-length", Value: "1"}})
			if _, err := w.Write([]byte("b")); err == nil {
				t.Error("a body behind the trailers")
			}
		}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\na\r\n0\r\ngrpc-status: 0\r\n\r\n"},
		{"early hints", get11, func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteInformational(103, message.Fields{{Name: "link", Value: "x"}})
			_ = w.WriteInformational(100, nil)
			if w.WriteInformational(101, nil) == nil {
				t.Error("101 is not for WriteInformational")
			}
			_ = w.WriteHeader(200, nil, 0)
			if w.WriteInformational(103, nil) == nil || w.WriteHeader(200, nil, 0) == nil {
				t.Error("a header section behind the final one")
			}
		}, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"},
		{"aborted", get11, func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteHeader(200, nil, -1)
			_, _ = io.WriteString(w, "a")
			w.Abort()
			if _, err := w.Write([]byte("b")); err == nil {
				t.Error("a body behind the abort")
			}
		}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\na\r\n"},
		{"aborted before it begins", get11, func(_ context.Context, w message.ResponseWriter, _ *message.Request) { w.Abort() }, ""},
		{"a panic in the middle", get11, func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteHeader(200, nil, 5)
			panic("x")
		}, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := over(t, c.h, Config{IdleTimeout: time.Minute}, c.in); got != c.want {
				t.Errorf("%s: got %.300q, want %.300q", c.name, got, c.want)
			}
		})
	}
}

func TestAHandlerThatWritesNothingOrPanicsIsA500(t *testing.T) {
	for name, h := range map[string]handlerFunc{
		"nothing": func(context.Context, message.ResponseWriter, *message.Request) {},
		"panic":   func(context.Context, message.ResponseWriter, *message.Request) { panic("x") },
	} {
		synctest.Test(t, func(t *testing.T) {
			kinds := map[string]int{}
			x := serve(t.Context(), New(h, Config{CountError: func(k string) { kinds[k]++ }}))
			for range 2 {
				if resp := x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); resp.StatusCode != 500 || resp.Header.Get("Date") == "" || resp.Close {
					t.Errorf("%s: %v", name, resp)
				}
			}
			x.Close()
			<-x.done
			if (kinds[errPanic] == 2) != (name == "panic") {
				t.Errorf("%s: counted %v", name, kinds)
			}
		})
	}
}

func TestAPanicInQuickEndsTheConnectionOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(&brittle{Handler: short}, Config{}))
		_, _ = io.WriteString(x, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_, _ = io.Copy(io.Discard, x.br)
		<-x.done
	})
}

type brittle struct{ message.Handler }

func (*brittle) Quick(*message.Request) *message.Ready { panic("x") }

func TestKeepAliveForHTTP10(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(short, Config{IdleTimeout: time.Minute}))
		for range 2 {
			resp := x.roundTrip(t, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
			if resp.Header.Get("Connection") != "keep-alive" {
				t.Errorf("%v", resp.Header)
			}
		}
		x.Close()
		<-x.done
	})
}

// tell describes the request and its body.
var tell = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	var body []byte
	var err error
	if r.Body != nil {
		body, err = io.ReadAll(r.Body)
	}
	s := fmt.Sprintf("%s %s %s %s %d %q %v", r.Method, r.Scheme, r.Authority, r.Target, r.ContentLength, body, err)
	if r.Trailers != nil {
		s += fmt.Sprint(" ", r.Trailers())
	}
	_ = w.WriteHeader(200, nil, int64(len(s)))
	_, _ = io.WriteString(w, s)
})

func TestRequestBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(tell, Config{IdleTimeout: time.Minute}))
		big := strings.Repeat("0123456789", 10_000)
		for in, want := range map[string]string{
			"PUT /a HTTP/1.1\r\nHost: A\r\nContent-Length: 3\r\n\r\nabc":                                                    `PUT http a /a 3 "abc" <nil> []`,
			"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n":                 `PUT http a /a -1 "abc" <nil> [{x y}]`,
			"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n":                                                       `PUT http a /a 0 "" <nil>`,
			"PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + big:                                            `PUT http a /b 100000 "` + big + `" <nil> []`,
			"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + big + "\r\n3\r\nabc\r\n0\r\n\r\n": `PUT http a /c -1 "` + big + `abc" <nil> []`,
			"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: " + big[:30_000] + "\r\n\r\n":                                          `GET http a / 0 "" <nil>`,
		} {
			resp := x.roundTrip(t, in)
			if body, _ := io.ReadAll(resp.Body); string(body) != want {
				t.Errorf("%.100q: got %.100q, want %.100q", in, body, want)
			}
		}
		x.Close()
		<-x.done
	})
}

func TestABodyOverItsPaceIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failed error
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			_, failed = io.Copy(io.Discard, r.Body)
			short(ctx, w, r)
		})
		kinds := map[string]int{}
		cfg := Config{IdleTimeout: time.Minute, Pace: message.Pace{Grace: 20 * time.Second, Rate: 100}, CountError: func(k string) { kinds[k]++ }}
		x := serve(t.Context(), New(h, cfg))
		begin := time.Now()
		_, _ = io.WriteString(x, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
		go func() {
			for {
				if _, err := io.WriteString(x, strings.Repeat("x", 10)); err != nil { // a tenth of the rate
					return
				}
				time.Sleep(time.Second)
			}
		}()
		resp, err := http.ReadResponse(x.br, nil)
		if took := time.Since(begin); err != nil || !resp.Close || took < 20*time.Second || took > 25*time.Second {
			t.Errorf("%v, %v after %v", resp, err, took)
		}
		x.Close()
		<-x.done
		var e *message.Error
		if !errors.As(failed, &e) || e.Status != 408 || e.Blame != message.BlameClient || kinds[errBodySlow] != 1 {
			t.Errorf("%v, counted %v", failed, kinds)
		}
		time.Sleep(time.Second)
	})
}

func TestABodyAtItsPaceIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(tell, Config{Pace: message.Pace{Grace: 20 * time.Second, Rate: 100}}))
		go func() {
			_, _ = io.WriteString(x, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n")
			for range 100 {
				time.Sleep(2 * time.Second)
				_, _ = io.WriteString(x, strings.Repeat("x", 200))
			}
		}()
		resp, err := http.ReadResponse(x.br, nil)
		if err != nil || resp.StatusCode != 200 || resp.ContentLength < 20000 {
			t.Errorf("%v, %v", resp, err)
		}
		x.Close()
		<-x.done
	})
}

func TestAResponseTakenTooSlowlyIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		kinds := map[string]int{}
		cfg := Config{IdleTimeout: time.Minute, Pace: message.Pace{Grace: 20 * time.Second, Rate: 1000}, CountError: func(k string) { kinds[k]++ }}
		for _, path := range []string{"/1000000", "/slow"} {
			m.serve = answer(200, -1, strings.Repeat("x", 1_000_000))
			x := serve(t.Context(), New(m, cfg))
			begin := time.Now()
			_, _ = io.WriteString(x, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			go func() {
				for b := make([]byte, 10); ; time.Sleep(time.Second) {
					if _, err := x.Read(b); err != nil {
						return
					}
				}
			}()
			<-x.done
			if took := time.Since(begin); took < 20*time.Second || took > time.Minute {
				t.Errorf("%s: cut after %v", path, took)
			}
			x.Close()
			time.Sleep(2 * time.Second)
		}
		if kinds[errNotTaken] != 2 || len(m.ends) != 1 || !strings.HasSuffix(m.ends[0], "false <nil>") {
			t.Errorf("counted %v, ends %q", kinds, m.ends)
		}
	})
}

func TestAnUnreadBodyIsTakenUpToABound(t *testing.T) {
	for length, want := range map[int]bool{1000: false, maxDrain + 1: true, 10 << 20: true} {
		synctest.Test(t, func(t *testing.T) {
			x := serve(t.Context(), New(short, Config{IdleTimeout: time.Minute}))
			go func() {
				_, _ = fmt.Fprintf(x, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", length)
				_, _ = x.Write(make([]byte, length))
			}()
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil || resp.Close != want {
				t.Errorf("%d: %v, %v", length, resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if !want {
				x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			x.Close()
			<-x.done
		})
	}
}

func TestAnEndlessChunkedBodyIsNotDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(short, Config{IdleTimeout: time.Minute}))
		var sent int
		go func() {
			_, _ = io.WriteString(x, "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
			for err := error(nil); err == nil; {
				var n int
				n, err = io.WriteString(x, "400\r\n"+strings.Repeat("x", 1024)+"\r\n")
				sent += n
			}
		}()
		_, _ = io.Copy(io.Discard, x.br)
		<-x.done
		x.Close()
		synctest.Wait()
		if sent > 2*maxDrain {
			t.Errorf("%d bytes were taken", sent)
		}
	})
}

func TestTheHandlerLearnsThatItsClientLeft(t *testing.T) {
	for _, in := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"} {
		synctest.Test(t, func(t *testing.T) {
			h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
				if r.Body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				<-ctx.Done()
				if message.Cut(ctx) != nil {
					t.Error("the server cut nothing")
				}
			})
			x := serve(t.Context(), New(h, Config{}))
			_, _ = io.WriteString(x, in)
			time.Sleep(time.Second)
			x.Close()
			<-x.done
		})
	}
}

func TestARequestThatComesDuringAnotherIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				t.Error("the client is still there")
			}
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{HeaderTimeout: 100 * time.Millisecond, IdleTimeout: time.Minute}))
		go func() {
			for _, p := range []string{"/1", "/2", "/3"} {
				_, _ = io.WriteString(x, "GET "+p+" HTTP/1.1\r\nHost: a\r\n\r\n")
				time.Sleep(500 * time.Millisecond)
			}
		}()
		for _, want := range []string{"/1", "/2", "/3"} {
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != want {
				t.Errorf("%q, want %q", body, want)
			}
		}
		x.Close()
		<-x.done
	})
}

// TestAResetForABodyWithoutAnEnd: nothing but the end of the connection ends a response to HTTP/1.0, so an incomplete one ends in a reset.
func TestAResetForABodyWithoutAnEnd(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan struct{})
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, nil, -1)
		_, _ = io.WriteString(w, "part")
		_ = w.Flush()
		w.Abort()
	})
	go func() {
		defer close(done)
		New(h, Config{}).ServeConn(t.Context(), server, testInfo)
	}()
	_, _ = io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
	if _, err := io.ReadAll(bufio.NewReader(client)); err == nil {
		t.Error("the client took it for complete")
	}
	client.Close()
	<-done
}
