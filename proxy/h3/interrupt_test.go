package h3

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// waits gives a goroutine the time to wait for the client. No test depends on it: what comes too early must end, too.
func waits() { time.Sleep(20 * time.Millisecond) }

// TestInterruptedBody: who reads a body that nobody sends comes back, and the answer can still be given.
func TestInterruptedBody(t *testing.T) {
	for name, content := range map[string][]byte{"none": nil, "in a frame": appendVarint([]byte{frameData}, 1000), "in a frame header": {0x40}} {
		var counted sync.Map
		r := start(t, handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			done := make(chan error, 1)
			go func() {
				_, err := io.Copy(io.Discard, r.Body)
				done <- err
			}()
			waits()
			r.Body.(message.Interrupter).Interrupt()
			select {
			case err := <-done:
				if !errors.Is(err, errInterrupted) {
					t.Errorf("%s: the reader got %v", name, err)
				}
			case <-time.After(patience):
				t.Errorf("%s: the reader still waits", name)
			}
			if _, err := r.Body.Read(make([]byte, 1)); !errors.Is(err, errInterrupted) {
				t.Errorf("%s: a read afterwards: %v", name, err)
			}
			if ctx.Err() != nil {
				t.Errorf("%s: the context ended: %v", name, context.Cause(ctx))
			}
			ok(ctx, w, r)
		}), Config{CountError: func(k string) { counted.Store(k, true) }})
		str, err := r.dial(t).OpenStreamSync(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(join(request("POST"), content))
		_ = str.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(str)
		if err != nil || parseResponse(t, got).fields.Get(":status") != "200" {
			t.Errorf("%s: answered % x, %v", name, got, err)
		}
		counted.Range(func(k, _ any) bool { t.Errorf("%s: counted %v", name, k); return true })
	}
}

// TestInterruptedTunnel: both directions come back at once, and the client is told that the stream is no more.
func TestInterruptedTunnel(t *testing.T) {
	opened := make(chan struct{}) // the client has our answer, which a reset would overtake
	r := start(t, inTunnel(func(ctx context.Context, tn message.Tunnel) {
		var work sync.WaitGroup
		work.Go(func() {
			if _, err := tn.Read(make([]byte, 1)); !errors.Is(err, errInterrupted) {
				t.Errorf("the reader got %v", err)
			}
		})
		work.Go(func() {
			if _, err := tn.Write(make([]byte, 8<<20)); !errors.Is(err, errInterrupted) { // the client's window is smaller
				t.Errorf("the writer got %v", err)
			}
		})
		select {
		case <-opened:
		case <-ctx.Done():
		}
		waits()
		tn.(message.Interrupter).Interrupt()
		work.Wait()
		if _, err := tn.Write([]byte("x")); !errors.Is(err, errInterrupted) {
			t.Errorf("a write afterwards: %v", err)
		}
		if _, err := tn.Read(make([]byte, 1)); !errors.Is(err, errInterrupted) {
			t.Errorf("a read afterwards: %v", err)
		}
		if err := tn.CloseWrite(); err == nil {
			t.Error("our side could be ended within a frame")
		}
	}), Config{})
	str, _ := openTunnel(t, r.dial(t))
	close(opened)
	wantReset(t, str)
}

// TestTunnelLeftInAFrame: a handler that returns while a frame is being written leaves no stream that ends within a frame, which the
// client must take for an error of the whole connection (RFC 9114 §7.1).
func TestTunnelLeftInAFrame(t *testing.T) {
	begun := make(chan struct{}) // the client has the beginning of the frame
	r := start(t, inTunnel(func(ctx context.Context, tn message.Tunnel) {
		go func() { _, _ = tn.Write(make([]byte, 8<<20)) }()
		select {
		case <-begun:
		case <-ctx.Done():
		}
	}), Config{})
	str, rd := openTunnel(t, r.dial(t))
	typ, n, err := rd.next()
	close(begun)
	if err != nil || typ != frameData || n != 8<<20 {
		t.Fatal(typ, n, err)
	}
	wantReset(t, str)
}

// wantReset reads to the end of what came, which must not be taken for whole.
func wantReset(t *testing.T, str *quic.Stream) {
	t.Helper()
	waits() // the server's window is full
	_, err := io.Copy(io.Discard, str)
	var reset *quic.StreamError
	if !errors.As(err, &reset) || reset.ErrorCode != codeRequestCancelled {
		t.Errorf("the stream ended with %v", err)
	}
}
