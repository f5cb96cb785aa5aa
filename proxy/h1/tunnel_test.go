package h1

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

const upgrade = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"

// echoing changes protocols and sends back what it gets until the client ends.
func echoing(t *testing.T, kept *message.Tunnel) handlerFunc {
	return func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		if r.Upgrade != "websocket" {
			_ = w.WriteHeader(200, nil, 0)
			return
		}
		tn, err := w.SwitchProtocols(message.Fields{{Name: "sec-websocket-accept", Value: "x"}, {Name: "upgrade", Value: "no"}})
		if err != nil {
			t.Error(err)
			return
		}
		if kept != nil {
			*kept = tn
		}
		if _, err := w.Write([]byte("x")); err == nil || w.WriteHeader(200, nil, 0) == nil {
			t.Error("a response in a tunnel")
		}
		_, _ = io.Copy(tn, tn)
	}
}

func TestATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept message.Tunnel
		x := serve(t.Context(), New(echoing(t, &kept), Config{IdleTimeout: time.Minute}))
		go func() { _, _ = io.WriteString(x, upgrade+"early") }()
		resp, err := http.ReadResponse(x.br, nil)
		if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" || !strings.EqualFold(resp.Header.Get("Connection"), "upgrade") ||
			resp.Header.Get("Sec-Websocket-Accept") != "x" {
			t.Fatalf("%v, %v", resp, err)
		}
		for _, s := range []string{"early", "hello", strings.Repeat("x", 100_000)} {
			if s != "early" {
				go func() { _, _ = io.WriteString(x, s) }()
			}
			got := make([]byte, len(s))
			if _, err := io.ReadFull(x.br, got); err != nil || string(got) != s {
				t.Errorf("%.20q came back as %.20q, %v", s, got, err)
			}
			time.Sleep(50 * time.Second) // not idle for long enough
		}
		x.Close()
		<-x.done
		if _, err := kept.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("reading the tunnel after its end: %v", err)
		}
		if _, err := kept.Write([]byte("x")); err == nil {
			t.Error("the tunnel was written to after its end")
		}
		if kept.CloseWrite() == nil {
			t.Error("the tunnel was closed after its end")
		}
	})
}

func TestATunnelIsIdleOnlyWhenNothingMovesEitherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kinds := map[string]int{}
		var mu sync.Mutex
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			tn, err := w.SwitchProtocols(nil)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				for range 5 {
					time.Sleep(40 * time.Second)
					_, _ = tn.Write([]byte("tick"))
				}
			}()
			_, err = io.Copy(io.Discard, tn) // the client sends nothing
			var e *message.Error
			if !errors.As(err, &e) || e.Reason != "tunnel idle" {
				t.Errorf("the tunnel ended with %v", err)
			}
		})
		x := serve(t.Context(), New(h, Config{IdleTimeout: time.Minute, CountError: func(k string) { mu.Lock(); kinds[k]++; mu.Unlock() }}))
		begin := time.Now()
		_, _ = io.WriteString(x, upgrade)
		_, _ = io.Copy(io.Discard, x.br)
		<-x.done
		if took := time.Since(begin); took != 200*time.Second+time.Minute || kinds[errTunnelIdle] != 1 {
			t.Errorf("ended after %v, counted %v", took, kinds)
		}
	})
}

// TestATunnelEndsWithItsHandler, also under a goroutine that is still reading.
// TestATunnelHoldsNoOutputBuffer, which it has no use for however long it lasts.
func TestATunnelHoldsNoOutputBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept message.Tunnel
		x := serve(t.Context(), New(echoing(t, &kept), Config{IdleTimeout: time.Minute}))
		x.roundTrip(t, upgrade)
		synctest.Wait()
		if n := cap(kept.(*tunnel).c.out.buf); n > 0 {
			t.Errorf("%d bytes are held", n)
		}
		x.Close()
		<-x.done
	})
}

func TestATunnelEndsWithItsHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := make(chan error, 1)
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			tn, err := w.SwitchProtocols(nil)
			if err != nil {
				t.Error(err)
				return
			}
			go func() {
				_, err := tn.Read(make([]byte, 1))
				left <- err
			}()
			time.Sleep(time.Second)
		})
		x := serve(t.Context(), New(h, Config{}))
		_, _ = io.WriteString(x, upgrade)
		_, _ = io.Copy(io.Discard, x.br)
		<-x.done
		if err := <-left; err == nil || err == io.EOF {
			t.Errorf("the reader got %v", err)
		}
	})
}

func TestTheServersEndCutsATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		x := serve(ctx, New(echoing(t, nil), Config{}))
		_, _ = io.WriteString(x, upgrade)
		if _, err := http.ReadResponse(x.br, nil); err != nil {
			t.Fatal(err)
		}
		cancel()
		<-x.done
	})
}

func TestOnlyOneSideOfATunnelEnds(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan struct{})
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		tn, err := w.SwitchProtocols(nil)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(tn, "bye")
		if err := tn.CloseWrite(); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(tn); err != nil || string(got) != "more" {
			t.Errorf("%q, %v", got, err)
		}
	})
	go func() {
		defer close(done)
		New(h, Config{IdleTimeout: time.Minute}).ServeConn(t.Context(), server, testInfo)
	}()
	_, _ = io.WriteString(client, upgrade)
	br := bufio.NewReader(client)
	if _, err := http.ReadResponse(br, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(br); err != nil || string(got) != "bye" {
		t.Errorf("%q, %v", got, err)
	}
	_, _ = io.WriteString(client, "more")
	_ = client.CloseWrite()
	<-done
	client.Close()
}

func TestNoTunnelWithoutAnUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if _, err := w.SwitchProtocols(nil); err == nil {
				t.Error("changed protocols unasked")
			}
			short(ctx, w, r)
		})
		x := serve(t.Context(), New(h, Config{}))
		if resp := x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
		// Asked and not granted: an answer like any other.
		x.roundTrip(t, strings.Replace(upgrade, "WebSocket", "h2c", 1))
		x.roundTrip(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		x.Close()
		<-x.done
	})
}

func TestAnInterruptedTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			tn, err := w.SwitchProtocols(nil)
			if err != nil {
				t.Error(err)
				return
			}
			var work sync.WaitGroup
			work.Go(func() {
				if _, err := tn.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("the reader got %v", err)
				}
			})
			work.Go(func() {
				if _, err := tn.Write(make([]byte, 1<<20)); err == nil { // nobody takes it
					t.Error("all was written")
				}
			})
			synctest.Wait()
			tn.(interface{ Interrupt() }).Interrupt()
			work.Wait()
		})
		x := serve(t.Context(), New(h, Config{}))
		_, _ = io.WriteString(x, upgrade)
		if _, err := http.ReadResponse(bufio.NewReaderSize(x, 16), nil); err != nil {
			t.Fatal(err)
		}
		<-x.done
	})
}
