package h2

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
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
		over := make(chan error, 1)
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
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

// echo answers with the body it gets, piece by piece, and its trailers.
var echo = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	_ = w.WriteInformational(103, message.Fields{{Name: "link", Value: "</style.css>"}})
	_ = w.WriteHeader(200, message.Fields{{Name: "x-method", Value: r.Method}, {Name: "x-path", Value: r.Target.Path}}, -1)
	if r.Body == nil {
		return
	}
	p := make([]byte, 10_000)
	for {
		n, err := r.Body.Read(p)
		if _, err := w.Write(p[:n]); err != nil {
			return
		}
		_ = w.Flush()
		if err != nil {
			break
		}
	}
	_ = w.WriteTrailers(r.Trailers())
})

// listen serves over TLS on loopback until the test is over.
func listen(t *testing.T, s *Server) (addr string, client *tls.Config) {
	clientTLS, serverTLS := testTLS(t)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", serverTLS)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				s.ServeConn(ctx, c, message.ConnInfo{Client: testInfo.Client, Local: testInfo.Local, TLS: &message.TLS{}})
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		cancel()
		wg.Wait()
	})
	return ln.Addr().String(), clientTLS
}

// TestWithRealClients: net/http's and x/net's, many requests at once with bodies both ways.
func TestWithRealClients(t *testing.T) {
	for name, transport := range map[string]func(c *tls.Config) http.RoundTripper{
		"net/http": func(c *tls.Config) http.RoundTripper {
			return &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
		},
		"x/net": func(c *tls.Config) http.RoundTripper { return &http2.Transport{TLSClientConfig: c} },
	} {
		t.Run(name, func(t *testing.T) {
			addr, clientTLS := listen(t, New(echo, Config{}))
			rt := transport(clientTLS)
			defer rt.(interface{ CloseIdleConnections() }).CloseIdleConnections()
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() { roundTrip(t, rt, addr, i) })
			}
			wg.Wait()
		})
	}
}

func roundTrip(t *testing.T, rt http.RoundTripper, addr string, i int) {
	sent := bytes.Repeat([]byte{byte(i)}, i*i*200)
	hints := 0
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		if code == 103 && h.Get("Link") != "" {
			hints++
		}
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "POST", fmt.Sprintf("https://%s/%d", addr, i), struct{ io.Reader }{bytes.NewReader(sent)})
	req.Trailer = http.Header{"X-Sum": {"42"}}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Errorf("%d: %v", i, err)
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d: %d bytes of %d, %v", i, len(got), len(sent), err)
	}
	if resp.ProtoMajor != 2 || resp.Header.Get("X-Path") != fmt.Sprint("/", i) || resp.Trailer.Get("X-Sum") != "42" || hints != 1 {
		t.Errorf("%d: %v, %v, trailers %v, %d hints", i, resp.Proto, resp.Header, resp.Trailer, hints)
	}
}

// TestBothSidesAreStuckInWriting: a client that does not read while it sends is read all the same.
func TestBothSidesAreStuckInWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := make(chan int, 1)
		h := newHits(60_000)
		h.handlerFunc = func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			all <- int(n)
			ok(ctx, w, r)
		}
		client, server := net.Pipe() // a write waits for a read
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(h, Config{}).ServeConn(t.Context(), server, testInfo)
		}()
		fr := http2.NewFramer(client, client)
		go func() {
			_, _ = io.WriteString(client, preface)
			_ = fr.WriteSettings()
		}()
		for range 3 { // SETTINGS, WINDOW_UPDATE, SETTINGS again; then nothing is read
			if _, err := fr.ReadFrame(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		go func() {
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte("\x83\x86\x04\x05/slow\x41\x01a"), EndHeaders: true})
			_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte(minimal), EndHeaders: true, EndStream: true})
			for range 10 {
				_ = fr.WriteData(1, false, make([]byte, maxFrame))
			}
			_ = fr.WriteData(1, true, nil)
		}()
		select {
		case n := <-all:
			if n != 10*maxFrame {
				t.Errorf("%d bytes of the body came", n)
			}
		case <-time.After(time.Hour):
			t.Error("the body did not come")
		}
		client.Close()
		<-done
	})
}
