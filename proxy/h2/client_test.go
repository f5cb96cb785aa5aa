package h2

//lint:file-ignore SA1019 x/net's client is tried on purpose: many programs bring it.

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

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

// TestAClientThatGivesItsWindowBackInSmallPieces: x/net's sends two WINDOW_UPDATEs with each 4 KiB that its user reads.
func TestAClientThatGivesItsWindowBackInSmallPieces(t *testing.T) {
	const size = 32 << 20
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, nil, size)
		for p := make([]byte, 32<<10); ; {
			if _, err := w.Write(p); err != nil {
				return
			}
		}
	})
	counted := make(chan string, 10)
	addr, clientTLS := listen(t, New(h, Config{CountError: func(kind string) { counted <- kind }}))
	rt := &http2.Transport{TLSClientConfig: clientTLS}
	defer rt.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+"/", nil)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, p := 0, make([]byte, 4<<10)
	for err == nil {
		var k int
		k, err = resp.Body.Read(p)
		n += k
	}
	if err != io.EOF || n != size || len(counted) > 0 {
		t.Errorf("%d bytes of %d, %v, %d errors counted", n, size, err, len(counted))
	}
}

// TestAClientThatMeasuresTheRoundTrip: gRPC's sends a PING with the first DATA after each answer to the last one.
func TestAClientThatMeasuresTheRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const messages = 2000
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			_ = w.WriteHeader(200, nil, -1)
			for range messages {
				_, _ = w.Write([]byte("x"))
				_ = w.Flush()
				time.Sleep(time.Millisecond)
			}
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.request(1, "/", true)
		for n := 0; n < messages; {
			switch f := x.next().(type) {
			case *data:
				n += f.n
				_ = x.fr.WriteWindowUpdate(0, 1)
				_ = x.fr.WritePing(false, [8]byte{})
				select {
				case <-x.pings:
				case <-x.done:
					t.Fatalf("shown the door after %d messages", n)
				}
			case *response:
			default:
				t.Fatalf("after %d messages: %+v", n, f)
			}
		}
		x.Close()
		<-x.done
	})
}
