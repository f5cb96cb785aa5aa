package h3

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

var connectWebSocket = headers(":method: CONNECT", ":protocol: websocket", ":scheme: https", ":authority: a.test", ":path: /chat")

// inTunnel switches protocols and calls do.
func inTunnel(do func(ctx context.Context, tn message.Tunnel)) handlerFunc {
	return func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.Upgrade != "websocket" || r.Method != "GET" {
			_ = w.WriteHeader(400, nil, 0)
			return
		}
		tn, err := w.SwitchProtocols(message.Fields{{Name: "sec-websocket-protocol", Value: "x"}})
		if err == nil {
			do(ctx, tn)
		}
	}
}

func openTunnel(t *testing.T, qc *quic.Conn) (*quic.Stream, *reader) {
	t.Helper()
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = str.SetReadDeadline(time.Now().Add(patience))
	_, _ = str.Write(connectWebSocket)
	r := &reader{in: str, buf: make([]byte, 512)}
	typ, n, err := r.next()
	if err != nil || typ != frameHeaders {
		t.Fatal(typ, err)
	}
	p, err := r.payload(int(n))
	if err != nil {
		t.Fatal(err)
	}
	if f := parseResponse(t, frame(frameHeaders, p...)).fields; f.Get(":status") != "200" || f.Get("sec-websocket-protocol") != "x" || f.Has("content-length") {
		t.Fatalf("answered %v", f)
	}
	return str, r
}

// data reads the content of one DATA frame.
func data(t *testing.T, r *reader) string {
	t.Helper()
	typ, n, err := r.next()
	if err != nil || typ != frameData {
		t.Fatal(typ, err)
	}
	p, err := r.payload(int(n))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// TestTunnel: both ways, each side ended by itself; the context lives on when our side has ended.
func TestTunnel(t *testing.T) {
	ended := make(chan error, 1)
	r := start(t, inTunnel(func(ctx context.Context, tn message.Tunnel) {
		buf := make([]byte, 100)
		for range 2 {
			n, _ := tn.Read(buf)
			_, _ = tn.Write(buf[:n])
		}
		_ = tn.CloseWrite()
		if _, err := tn.Write([]byte("x")); err == nil {
			t.Error("written after CloseWrite")
		}
		n, err := tn.Read(buf)
		if string(buf[:n]) != "more" || err != nil || ctx.Err() != nil {
			t.Errorf("after CloseWrite: %q, %v, %v", buf[:n], err, ctx.Err())
		}
		_, err = tn.Read(buf)
		ended <- err
	}), Config{})
	str, rd := openTunnel(t, r.dial(t))
	for _, s := range []string{"one", "two"} {
		_, _ = str.Write(join(frame(0x21, 9), frame(frameData), frame(frameData, []byte(s)...)))
		if got := data(t, rd); got != s {
			t.Errorf("got %q", got)
		}
	}
	if _, _, err := rd.next(); err != io.EOF {
		t.Errorf("our side did not end: %v", err)
	}
	_, _ = str.Write(frame(frameData, []byte("more")...))
	_ = str.Close()
	if err := <-ended; err != io.EOF {
		t.Errorf("the client's side ended with %v", err)
	}
}

// TestTunnelEndsWithItsHandler: who is still in Read or Write gets an error.
func TestTunnelEndsWithItsHandler(t *testing.T) {
	late, opened := make(chan error, 3), make(chan struct{})
	r := start(t, inTunnel(func(_ context.Context, tn message.Tunnel) {
		reading, writing := make(chan struct{}), make(chan struct{})
		go func() {
			close(reading)
			_, err := tn.Read(make([]byte, 1))
			late <- err
			_, err = tn.Read(make([]byte, 1))
			late <- err
		}()
		go func() {
			close(writing)
			var err error
			for err == nil {
				_, err = tn.Write(make([]byte, 1<<20))
			}
			late <- err
		}()
		<-reading
		<-writing
		<-opened // what is cut within a frame is reset, and the client may not see its beginning
	}), Config{})
	openTunnel(t, r.dial(t))
	close(opened)
	for range 3 {
		select {
		case err := <-late:
			if err == nil || err == io.EOF {
				t.Errorf("got %v", err)
			}
		case <-time.After(patience):
			t.Fatal("still in Read or Write")
		}
	}
}

// silent is a stream on which nothing comes after in; what waits ends with the stream's reading side.
type silent struct {
	*memory
	ended chan struct{}
	once  *sync.Once
}

func newSilent(in []byte) silent { return silent{newMemory(in), make(chan struct{}), new(sync.Once)} }

func (s silent) Read(p []byte) (int, error) {
	s.mu.Lock()
	n := copy(p, s.in)
	s.in = s.in[n:]
	s.mu.Unlock()
	if n == 0 {
		<-s.ended
		return 0, &quic.StreamError{}
	}
	return n, nil
}

func (s silent) CancelRead(c quic.StreamErrorCode) {
	s.memory.CancelRead(c)
	s.once.Do(func() { close(s.ended) })
}

// TestIdleTunnel: one direction that moves keeps both alive; then silence ends both.
func TestIdleTunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kinds []string
		c, _ := memoryConn(inTunnel(func(ctx context.Context, tn message.Tunnel) {
			var last time.Time
			var writing sync.WaitGroup
			writing.Go(func() {
				for range 6 {
					time.Sleep(40 * time.Second)
					if _, err := tn.Write([]byte("x")); err != nil {
						t.Error(err)
					}
				}
				last = time.Now()
			})
			_, err := tn.Read(make([]byte, 1))
			writing.Wait()
			var e *message.Error
			if got := time.Since(last); got != time.Minute || !errors.As(err, &e) || e.Reason != "tunnel idle" || e.Blame != message.BlameClient {
				t.Errorf("the read ended %v after the last octet with %v", got, err)
			}
			if _, err := tn.Write([]byte("x")); !errors.As(err, &e) || e.Reason != "tunnel idle" {
				t.Errorf("a write afterwards: %v", err)
			}
			if e = nil; !errors.As(context.Cause(ctx), &e) || e.Reason != "tunnel idle" {
				t.Errorf("the context ended with %v", context.Cause(ctx))
			}
		}), Config{IdleTimeout: time.Minute, CountError: func(k string) { kinds = append(kinds, k) }})
		m := newSilent(connectWebSocket)
		c.exchange(nil, m, 0)
		if m.reset != codeRequestCancelled {
			t.Errorf("reset %#x", m.reset)
		}
		if !slices.Equal(kinds, []string{"tunnel_idle"}) {
			t.Errorf("counted %q", kinds)
		}
	})
}

// TestIdleTunnelThatNobodyReads: a client that has ended its side, and keeps its connection alive, holds nothing for longer.
func TestIdleTunnelThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := memoryConn(inTunnel(func(ctx context.Context, tn message.Tunnel) {
			if _, err := tn.Read(make([]byte, 1)); err != io.EOF {
				t.Error(err)
			}
			began := time.Now()
			select { // the origin has nothing to say
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			var e *message.Error
			if got := time.Since(began); got != time.Minute || !errors.As(context.Cause(ctx), &e) || e.Reason != "tunnel idle" {
				t.Errorf("ended after %v with %v", got, context.Cause(ctx))
			}
		}), Config{IdleTimeout: time.Minute})
		m := newMemory(connectWebSocket)
		c.exchange(nil, m, 0)
		if m.reset != codeRequestCancelled {
			t.Errorf("reset %#x", m.reset)
		}
	})
}

func TestTunnelRules(t *testing.T) {
	for name, b := range map[string][]byte{"HEADERS": headers("a: b"), "SETTINGS": frame(frameSettings)} {
		r := start(t, inTunnel(func(_ context.Context, tn message.Tunnel) { _, _ = tn.Read(make([]byte, 1)) }), Config{})
		qc := r.dial(t)
		str, _ := openTunnel(t, qc)
		_, _ = str.Write(b)
		if got := endCode(t, qc); got != codeFrameUnexpected {
			t.Errorf("%s: ended with %#x", name, got)
		}
	}
}

// TestUpgradeThatIsNotTaken: the handler answers as if it had not been asked for.
func TestUpgradeThatIsNotTaken(t *testing.T) {
	_, p := run(t, ok, connectWebSocket)
	if p.fields.Get(":status") != "200" || p.fields.Get("content-length") != "0" {
		t.Errorf("answered %v", p.fields)
	}
}
