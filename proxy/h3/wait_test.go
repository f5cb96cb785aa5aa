package h3

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/replay"
	"nearcast/proxy/message"
)

// earlyRequest sends a request to r in early data, from a client that hears nothing until open is called: quic-go's reads the server's parameters unguarded
// while it opens a stream.
func (k *keepFirst) earlyRequest(t *testing.T, r *running, method string) (qc *quic.Conn, str *quic.Stream, open func()) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{PacketConn: udp, open: make(chan struct{})}
	tr := &quic.Transport{Conn: g}
	open = sync.OnceFunc(func() { close(g.open) })
	t.Cleanup(func() { open(); tr.Close(); udp.Close() })
	if qc, err = tr.DialEarly(patient(t), r.udp().LocalAddr(), k.config(), nil); err != nil {
		t.Fatal(err)
	}
	if str, err = qc.OpenStreamSync(patient(t)); err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request(method))
	_ = str.Close()
	_ = str.SetReadDeadline(time.Now().Add(patience))
	return qc, str, open
}

// answered is the status of the response on str.
func answered(t *testing.T, str io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(str)
	if err != nil {
		t.Fatal(err)
	}
	return parseResponse(t, b).fields.Get(":status")
}

// TestAHandlerCanWaitForTheHandshake, also while others of its connection are served.
func TestAHandlerCanWaitForTheHandshake(t *testing.T) {
	seen := make(chan *message.TLS, 2)
	r := start(t, handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.TLS.EarlyData {
			before := r.TLS.Handshake.Complete()
			settled, err := r.TLS.Handshake.Wait(ctx)
			if err != nil || before || !r.TLS.Handshake.Complete() {
				t.Errorf("%v, complete before: %t", err, before)
			}
			seen <- settled
		}
		_ = w.WriteHeader(204, nil, -1)
	}), Config{TLS: shared(t), EarlyData: true, Replay: replay.New(replay.Config{})})
	k := &keepFirst{session: newSession()}
	k.visit(t, r)
	qc, str, open := k.earlyRequest(t, r, "POST")
	eventually(t, "the handler waits", func() bool { return r.awaiting.Load() == 1 })
	open()
	if status := answered(t, str); status != "204" {
		t.Errorf("status %s", status)
	}
	if s := <-seen; s.EarlyData || !s.Resumed || s.Handshake != nil {
		t.Errorf("it is then %+v", s)
	}
	if n := r.awaiting.Load(); n != 0 {
		t.Errorf("%d wait", n)
	}
	_ = qc.CloseWithError(codeNoError, "")
}

// TestAWaitEnds with its context, and with a connection whose handshake takes too long.
func TestAWaitEnds(t *testing.T) {
	for _, byContext := range []bool{false, true} {
		failed := make(chan error, 1)
		r := start(t, handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.TLS.EarlyData {
				own, cancel := context.WithCancel(ctx)
				defer cancel()
				if byContext {
					cancel()
				}
				_, err := r.TLS.Handshake.Wait(own)
				failed <- err
			}
			_ = w.WriteHeader(204, nil, -1)
		}), Config{TLS: shared(t), EarlyData: true, HandshakeTimeout: time.Second})
		k := &keepFirst{session: newSession()}
		k.visit(t, r)
		k.earlyRequest(t, r, "POST")
		select {
		case err := <-failed:
			if err == nil || byContext != errors.Is(err, context.Canceled) {
				t.Errorf("by its context %t: %v", byContext, err)
			}
		case <-time.After(patience):
			t.Fatal("it waits on")
		}
	}
}

// TestFewMayWait: beyond the bound a handler is told so, and a request that must wait is refused.
func TestFewMayWait(t *testing.T) {
	failed := make(chan error, 1)
	h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.TLS.EarlyData {
			_, err := r.TLS.Handshake.Wait(ctx)
			failed <- err
		}
		_ = w.WriteHeader(204, nil, -1)
	})
	kinds := make(chan string, 4)
	r := start(t, h, Config{TLS: shared(t), EarlyData: true, Replay: replay.New(replay.Config{}), CountError: func(kind string) { kinds <- kind }})
	k := &keepFirst{session: newSession()}
	k.visit(t, r)
	r.awaiting.Store(maxWaiting)
	_, str, open := k.earlyRequest(t, r, "POST")
	if err := <-failed; !errors.Is(err, errManyWait) {
		t.Errorf("the handler is told %v", err)
	}
	open()
	if status := answered(t, str); status != "204" {
		t.Errorf("status %s", status)
	}
	_, str, open = k.earlyRequest(t, r, "GET") // with the same ticket again
	if kind := <-kinds; kind != errEarly.kind {
		t.Errorf("counted as %s", kind)
	}
	open()
	if status := answered(t, str); status != "425" {
		t.Errorf("status %s", status)
	}
	if n := r.awaiting.Load(); n != maxWaiting {
		t.Errorf("%d wait", n-maxWaiting)
	}
}
