package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// script is a listener that plays what accept returns, one after the other, then waits for its Close.
type script struct {
	mu     sync.Mutex
	next   []any // error or net.Conn
	closed chan struct{}
	once   sync.Once
}

func newScript(steps ...any) *script { return &script{next: steps, closed: make(chan struct{})} }

func (s *script) Accept() (net.Conn, error) {
	s.mu.Lock()
	if len(s.next) > 0 {
		step := s.next[0]
		s.next = s.next[1:]
		s.mu.Unlock()
		if err, ok := step.(error); ok {
			return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
		}
		return step.(net.Conn), nil
	}
	s.mu.Unlock()
	<-s.closed
	return nil, net.ErrClosed
}

func (s *script) Close() error   { s.once.Do(func() { close(s.closed) }); return nil }
func (s *script) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func syscallError(e syscall.Errno) error { return os.NewSyscallError("accept4", e) }

// scripted returns a front whose only listener plays steps.
func scripted(t *testing.T, limits LimitsConfig, steps ...any) (*Front, *tcpListener) {
	f, err := Open(nil, TLSConfig{}, limits, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	l := &tcpListener{ln: newScript(steps...), m: f.m.listener("script"), info: Listener{Name: "script"}}
	f.tcp = append(f.tcp, l)
	return f, l
}

// TestAcceptErrorsBackOff: out of file descriptors must neither spin nor end the listener; the pauses double, and end with success.
func TestAcceptErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		steps := []any{syscallError(syscall.EMFILE), syscallError(syscall.ENFILE), syscallError(syscall.ENOMEM), syscallError(syscall.ECONNABORTED), server}
		for range 20 {
			steps = append(steps, syscallError(syscall.EMFILE))
		}
		f, l := scripted(t, testLimits(), steps...)
		begin := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		var accepted time.Duration
		go func() {
			ended <- f.accept(ctx, l, func(g *guest) { accepted = time.Since(begin); g.conn.Close() })
		}()
		synctest.Wait()
		time.Sleep(75 * time.Millisecond)
		synctest.Wait()
		if accepted != 75*time.Millisecond {
			t.Errorf("the connection was accepted after %v, want 5+10+20+40 ms of pauses before it", accepted)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := l.m.acceptErrors[acceptNoFiles].Get(); n != 22 {
			t.Errorf("%d errors counted as out of files, want 22", n)
		}
		if n := l.m.acceptErrors[acceptAborted].Get(); n != 1 {
			t.Errorf("%d errors counted as aborted, want 1", n)
		}
		l.closing.Store(true)
		l.ln.Close()
		if err := <-ended; err != nil {
			t.Errorf("a closed listener ended with %v", err)
		}
		cancel()
	})
}

func TestAcceptPauseEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var steps []any
		for range 100 {
			steps = append(steps, syscallError(syscall.EMFILE))
		}
		f, l := scripted(t, testLimits(), steps...)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- f.accept(ctx, l, func(*guest) {}) }()
		time.Sleep(5 * time.Second)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestDeadListenerLeavesTheOthers: one socket's death is remembered and said, and nothing else happens.
func TestDeadListenerLeavesTheOthers(t *testing.T) {
	before := goroutines()
	f, _ := scripted(t, testLimits(), syscallError(syscall.EBADF))
	if err := f.listen(0, &ListenConfig{Address: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	if err := f.Healthy(); err != nil {
		t.Errorf("before the start: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, text(200, "ok")) }()
	eventually(t, "the death is remembered", func() bool { return f.Healthy() != nil })
	if err := f.Healthy(); !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), "script (TCP)") {
		t.Errorf("Healthy: %v, want the listener and the error named", err)
	}
	c, err := net.Dial("tcp", f.tcp[1].info.Address.String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n")
	if got, _ := io.ReadAll(c); !strings.HasSuffix(string(got), "ok") {
		t.Errorf("the other listener answered %q", got)
	}
	c.Close()
	select {
	case err := <-ended:
		t.Errorf("Run returned with %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	noLeak(t, before)
}

func TestConnectionLimit(t *testing.T) {
	limits := testLimits()
	limits.MaxConnections = 2
	e := startEdge(t, text(200, "ok"), limits)
	held := []net.Conn{dialPlain(t, e), dialPlain(t, e)}
	eventually(t, "two connections are open", func() bool { return e.open.Load() == 2 })

	third := dialPlain(t, e)
	if n, err := third.Read(make([]byte, 1)); err == nil {
		t.Errorf("the third connection got %d bytes, want it closed", n)
	}
	h3 := e.h3()
	defer h3.close()
	if _, err := h3.rt.RoundTrip(h3.request(t, "GET", "/", nil)); err == nil {
		t.Error("a QUIC connection was taken beyond the limit")
	}
	for _, i := range []int{plainListener, tlsListener} {
		if n := e.tcp[i].m.refused[refusedLimit].Get(); n == 0 {
			t.Errorf("refusals on listener %d are not counted", i)
		}
	}
	held[0].Close()
	eventually(t, "a place is free again", func() bool { return e.open.Load() < 2 })
	c := e.h3()
	defer c.close()
	if _, body := c.get(t, "/"); body != "ok" {
		t.Errorf("got %q with a free place", body)
	}
}

// TestSlowClientsAreCut: whoever does not get to the end of a handshake or header section in time gives the place free.
func TestSlowClientsAreCut(t *testing.T) {
	limits := testLimits()
	limits.HeaderTimeout, limits.IdleTimeout = 300*time.Millisecond, 600*time.Millisecond
	e := startEdge(t, text(200, "ok"), limits)
	tests := []struct{ name, sent string }{
		{"says nothing", ""},
		{"half a request line", "GET / HT"},
		{"half a preface", "PRI * HTTP"},
		{"a header section without end", "GET / HTTP/1.1\r\nHost: a\r\n"},
		{"HTTP/2 without SETTINGS", preface},
		{"HTTP/2 with half a header section", preface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82"},
		{"idle after a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := dialPlain(t, e)
			_, _ = io.WriteString(c, tt.sent)
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
	t.Run("TLS handshake", func(t *testing.T) {
		t.Parallel()
		c, err := net.Dial("tcp", e.addr(tlsListener))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write([]byte{22, 3, 1, 2, 0})
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is still open")
		}
		eventually(t, "the timeout is counted", func() bool { return e.tcp[tlsListener].m.failures[failTimeout].Get() == 1 })
	})
	t.Run("the others are served meanwhile", func(t *testing.T) {
		for _, c := range e.clients() {
			defer c.close()
			c.get(t, "/")
		}
	})
}

// TestStalledBody: a client that stops in the middle of its body must not hold a handler for ever.
func TestStalledBody(t *testing.T) {
	limits := testLimits()
	limits.IdleTimeout = 300 * time.Millisecond
	failed := make(chan error, 1)
	e := startEdge(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		_, err := io.ReadAll(r.Body)
		failed <- err
		w.Abort()
	}), limits)
	for _, c := range e.clients() {
		t.Run(c.name, func(t *testing.T) {
			defer c.close()
			pr, pw := io.Pipe()
			defer pw.Close()
			r := c.request(t, "POST", "/", pr)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if resp, err := c.rt.RoundTrip(r); err == nil {
					resp.Body.Close()
				}
			}()
			_, _ = pw.Write([]byte("the beginning"))
			var e *message.Error
			if err := <-failed; !errors.As(err, &e) || e.Blame != message.BlameClient {
				t.Errorf("the handler got %v, want the client blamed", err)
			}
			pw.CloseWithError(io.ErrUnexpectedEOF)
			<-done
		})
	}
}

func TestPlainHTTPOnTheTLSPort(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	c, err := net.Dial("tcp", e.addr(tlsListener))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	line, _ := bufio.NewReader(c).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.0 400") {
		t.Errorf("got %q, want to be told", line)
	}
	eventually(t, "it is counted", func() bool { return e.tcp[tlsListener].m.failures[failPlain].Get() == 1 })
}

func TestHandshakeReasons(t *testing.T) {
	for err, want := range map[error]string{
		io.EOF:                           failClosed,
		os.ErrDeadlineExceeded:           failTimeout,
		tls.RecordHeaderError{Msg: "x"}:  failPlain,
		syscallError(syscall.ECONNRESET): failClosed,
		&net.OpError{Op: "remote error", Err: errors.New("tls: unknown certificate authority")}: failRejected,
		errors.New("tls: client offered only unsupported versions: [301]"):                      failVersion,
		errors.New("tls: client requested unsupported application protocols ([\"spdy\"])"):      failProtocol,
		errors.New("tls: no cipher suite supported by both client and server"):                  failOther,
	} {
		if got := handshakeReason(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// TestSniff: a slow HTTP/1 client is passed on as soon as it is known to be one, and no byte is lost.
func TestSniff(t *testing.T) {
	tests := []struct {
		sent  string
		http2 bool
	}{
		{"G", false}, {"P", false}, {"PUT / HTTP/1.1\r\n", false}, {"PRI * HTTP/1.1\r\n", false}, {preface, true}, {preface + "more", true}, {"\x00", false},
		{"PRO", false}, {"PROXY TCP4", false},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 3, 100} {
			client, server := net.Pipe()
			go func() {
				for rest := tt.sent; rest != ""; {
					n := min(size, len(rest))
					_, _ = io.WriteString(client, rest[:n])
					rest = rest[n:]
				}
				client.Close()
			}()
			c, http2, err := sniff(server, nil)
			if tt.sent == "P" { // could still have become either
				if err == nil {
					t.Error("decided after P alone")
				}
				continue
			}
			if err != nil || http2 != tt.http2 {
				t.Errorf("%q by %d: HTTP/2 %t, %v", tt.sent, size, http2, err)
				continue
			}
			if got, _ := io.ReadAll(c); string(got) != tt.sent {
				t.Errorf("%q by %d: read back %q", tt.sent, size, got)
			}
		}
	}
}
