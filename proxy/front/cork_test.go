package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"nearcast/proxy/message"
)

// recorder is a connection that remembers what is written to it.
type recorder struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte
	fail   error
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return 0, r.fail
	}
	r.writes = append(r.writes, bytes.Clone(p))
	return len(p), nil
}

func (r *recorder) sizes() (n []int) {
	for _, w := range r.writes {
		n = append(n, len(w))
	}
	return n
}

func (r *recorder) all() []byte { return bytes.Join(r.writes, nil) }

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestCorkedWritesLeaveTogether(t *testing.T) {
	r := &recorder{}
	c := &corkable{Conn: r}
	_, _ = c.Write([]byte("a"))
	c.Cork()
	_, _ = c.Write([]byte("b"))
	_, _ = c.Write([]byte("c"))
	if len(r.writes) != 1 {
		t.Fatalf("writes %q before the end", r.writes)
	}
	if err := c.Uncork(); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("d"))
	if got := string(bytes.Join(r.writes, []byte("|"))); got != "a|bc|d" {
		t.Errorf("writes %s", got)
	}
	if c.kept != nil {
		t.Error("a buffer is held while idle")
	}
	c.Cork()
	if err := c.Uncork(); err != nil || c.kept != nil || len(r.writes) != 3 {
		t.Errorf("corked for nothing: %v, %d writes", err, len(r.writes))
	}
}

func TestCorkedBound(t *testing.T) {
	for _, size := range []int{1, 1400, 16 << 10, 16401, 100 << 10, maxCorked, maxCorked + 1, 300 << 10} {
		r := &recorder{}
		c := &corkable{Conn: r}
		c.Cork()
		var want []byte
		for len(want) < 400<<10 && len(want) < 2000*size {
			p := pattern(size)
			if n, err := c.Write(p); n != size || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
			want = append(want, p...)
			if c.kept != nil && len(c.kept.b) > maxCorked {
				t.Fatalf("%d bytes kept", len(c.kept.b))
			}
		}
		if err := c.Uncork(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.all(), want) {
			t.Errorf("pieces of %d: what was sent is not what was written", size)
		}
		if size < 16<<10 && len(r.writes) > len(want)/(maxCorked-size)+1 {
			t.Errorf("pieces of %d: %d writes for %d bytes: %v", size, len(r.writes), len(want), r.sizes())
		}
	}
}

// TestAFailedCorkStaysFailed: after a write that may have sent a part, nothing else may follow.
func TestAFailedCorkStaysFailed(t *testing.T) {
	r := &recorder{fail: io.ErrShortWrite}
	c := &corkable{Conn: r}
	c.Cork()
	_, _ = c.Write([]byte("a"))
	if err := c.Uncork(); err != io.ErrShortWrite {
		t.Errorf("Uncork: %v", err)
	}
	r.fail = nil
	if _, err := c.Write([]byte("b")); err != io.ErrShortWrite {
		t.Errorf("Write: %v", err)
	}
	c.Cork()
	if _, err := c.Write([]byte("b")); err != io.ErrShortWrite {
		t.Errorf("corked Write: %v", err)
	}
	if err := c.Uncork(); err != io.ErrShortWrite || len(r.writes) > 0 {
		t.Errorf("Uncork: %v, sent %q", err, r.writes)
	}
}

func TestCorkCostsNoAllocation(t *testing.T) {
	c := &corkable{Conn: sink{}}
	small, record := make([]byte, 1000), make([]byte, 16401)
	if n := testing.AllocsPerRun(1000, func() {
		c.Cork()
		_, _ = c.Write(small)
		for range 10 {
			_, _ = c.Write(record)
		}
		_ = c.Uncork()
		_, _ = c.Write(small)
	}); n != 0 && !raceDetector {
		t.Errorf("%v allocations", n)
	}
}

// sink takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }

// TestCorkUnderTLS: many records of one connection in one write, while the other side's key updates are answered.
func TestCorkUnderTLS(t *testing.T) {
	client, server := tcpPair(t)
	count := &counter{Conn: server}
	c := &corkable{Conn: count}
	tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{keyPair(t)}})
	peer := tls.Client(client, insecure.Clone())
	want := pattern(100 << 10)
	done := make(chan error, 1)
	go func() {
		got := make([]byte, len(want))
		_, err := io.ReadFull(peer, got)
		if err == nil && !bytes.Equal(got, want) {
			err = errors.New("not what was sent")
		}
		done <- err
	}()
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	before := count.n
	var corker message.Corker = c
	corker.Cork()
	if _, err := tc.Write(want); err != nil {
		t.Fatal(err)
	}
	if err := corker.Uncork(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := count.n - before; n != 1 {
		t.Errorf("%d writes to the socket, want 1", n)
	}
	if raw, err := c.SyscallConn(); err != nil || raw.Control(func(uintptr) {}) != nil {
		t.Errorf("the socket cannot be reached: %v", err)
	}
}

func TestSyscallConnOfWhatHasNone(t *testing.T) {
	if _, err := (&corkable{Conn: sink{}}).SyscallConn(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("got %v", err)
	}
}

// counter counts the writes to a socket.
type counter struct {
	net.Conn
	n int
}

func (c *counter) Write(p []byte) (int, error) { c.n++; return c.Conn.Write(p) }

func (c *counter) SyscallConn() (syscall.RawConn, error) { return c.Conn.(syscall.Conn).SyscallConn() }

// tcpPair is the two ends of a connection over loopback.
func tcpPair(t testing.TB) (client, server net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func BenchmarkTLSWrite100KiB(b *testing.B) {
	for _, corked := range []bool{false, true} {
		b.Run(map[bool]string{false: "plain", true: "corked"}[corked], func(b *testing.B) {
			client, server := tcpPair(b)
			c := &corkable{Conn: server}
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{keyPair(b)}})
			peer := tls.Client(client, insecure.Clone())
			go func() {
				if peer.Handshake() == nil {
					_, _ = io.Copy(io.Discard, client) // the reader's work is not what is measured
				}
			}()
			if err := tc.Handshake(); err != nil {
				b.Fatal(err)
			}
			data := pattern(100 << 10)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if corked {
					c.Cork()
				}
				if _, err := tc.Write(data); err != nil {
					b.Fatal(err)
				}
				if corked {
					if err := c.Uncork(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
