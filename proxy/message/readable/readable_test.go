package readable

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestWait(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(client, server net.Conn)
		want error
	}{
		"bytes":           {func(client, _ net.Conn) { _, _ = io.WriteString(client, "x") }, nil},
		"the end":         {func(client, _ net.Conn) { client.Close() }, nil},
		"a reset":         {func(client, _ net.Conn) { _ = client.(*net.TCPConn).SetLinger(0); client.Close() }, nil},
		"the deadline":    {func(_, server net.Conn) { _ = server.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"closing":         {func(_, server net.Conn) { server.Close() }, net.ErrClosed},
		"a deadline soon": {func(_, server net.Conn) { _ = server.SetReadDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			w := New(tls.Server(server, &tls.Config{}))
			ended := make(chan error, 1)
			go func() { ended <- w.Wait() }()
			select {
			case err := <-ended:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
			c.do(client, server)
			if err := <-ended; !errors.Is(err, c.want) || err != nil && c.want == nil {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestWhatCameBefore is seen: the poller tells of it only once, and somebody has asked already.
func TestWhatCameBefore(t *testing.T) {
	client, server := pair(t)
	w := New(server)
	_, _ = io.WriteString(client, "ab")
	var p [1]byte
	_, _ = server.Read(p[:])
	_ = server.SetReadDeadline(time.Now().Add(time.Minute))
	for range 3 {
		if err := w.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() { _ = w.Wait() }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if _, err := server.Read(p[:]); err != nil || p[0] != 'b' {
		t.Errorf("then %q was read, %v", p, err)
	}
}

func TestNoSocket(t *testing.T) {
	client, _ := net.Pipe()
	if err := New(client).Wait(); err != nil {
		t.Error(err)
	}
}
