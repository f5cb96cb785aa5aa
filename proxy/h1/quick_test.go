package h1

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// memory answers GET and HEAD from memory, /slow by Serve; the path is the number of bytes. It may answer several connections.
type memory struct {
	serve handlerFunc
	piece int // bytes of a piece; 0: all
	lie   int // bytes that are missing
	fresh message.Fields

	mu      sync.Mutex
	ends    []string // "sent complete err" of each answer
	refused []message.Refusal
	block   encodedOnce
}

// encodedOnce is a Block that counts its encodings.
type encodedOnce struct {
	fields message.Fields
	made   []byte
	times  int
}

func (e *encodedOnce) Encoded(_ message.Protocol, encode func([]byte, message.Fields) []byte) []byte {
	if e.made == nil {
		e.times++
		e.made = encode(nil, e.fields)
	}
	return e.made
}

// pieces is a body in parts.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Next() []byte {
	if len(p.rest) == 0 {
		return nil
	}
	n := min(p.size, len(p.rest))
	part := p.rest[:n]
	p.rest = p.rest[n:]
	return part
}

// body of the answers, which tells where a byte belongs.
var content = func() []byte {
	b := make([]byte, 2<<20)
	for i := range b {
		b[i] = byte('a' + i/1000%26)
	}
	return b
}()

func (m *memory) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	m.serve(ctx, w, r)
}

func (m *memory) Refused(x message.Refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, x)
}

func (m *memory) Quick(r *message.Request) *message.Ready {
	size, err := strconv.Atoi(r.Target.Path[1:])
	if err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	a := &message.Ready{Status: 200, Block: &m.block, Fields: m.fresh, ContentLength: int64(size), Owner: m}
	if r.Method != "HEAD" {
		piece := m.piece
		if piece == 0 {
			piece = max(size, 1)
		}
		a.Body, a.BodyLength = &pieces{content[:size-m.lie], piece}, int64(size)
	}
	return a
}

func (m *memory) Done(a *message.Ready, sent int64, complete bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, fmt.Sprint(sent, complete, a.Err))
}

func newMemory() *memory {
	return &memory{serve: short, fresh: message.Fields{{Name: "age", Value: "1"}},
		block: encodedOnce{fields: message.Fields{{Name: "content-type", Value: "text/plain"}, {Name: "alt-svc", Value: "no"}, {Name: "connection", Value: "x"}}}}
}

func TestAReadyAnswerIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, piece := range []int{0, 700, 9000} {
			m := newMemory()
			m.piece = piece
			x := serve(t.Context(), New(m, Config{IdleTimeout: time.Minute}))
			var want []string
			for _, size := range []int{0, 5, 1000, 16 << 10, 16<<10 + 1, 100 << 10, 1 << 20} {
				resp := x.roundTrip(t, fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", size))
				body, _ := io.ReadAll(resp.Body)
				if resp.StatusCode != 200 || !bytes.Equal(body, content[:size]) || resp.ContentLength != int64(size) || resp.Close {
					t.Errorf("%d bytes in pieces of %d: status %d, %d bytes of %d", size, piece, resp.StatusCode, len(body), resp.ContentLength)
				}
				if h := resp.Header; h.Get("Content-Type") != "text/plain" || h.Get("Age") != "1" || h.Get("Alt-Svc") != "" || h.Get("Connection") != "" {
					t.Errorf("header section %v", h)
				}
				want = append(want, fmt.Sprint(size, true, nil))
			}
			x.Close()
			<-x.done
			if !slices.Equal(m.ends, want) || m.block.times != 1 {
				t.Errorf("ends %q, want %q; encoded %d times", m.ends, want, m.block.times)
			}
		}
	})
}

func TestAReadyAnswerWithoutABody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		x := serve(t.Context(), New(m, Config{IdleTimeout: time.Minute}))
		_, _ = io.WriteString(x, "HEAD /1000 HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(x.br, &http.Request{Method: "HEAD"})
		if err != nil || resp.ContentLength != 1000 {
			t.Fatalf("%v, %v", resp, err)
		}
		x.roundTrip(t, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
		x.Close()
		<-x.done
	})
}

func TestReadyAnswersKeepTheirOrderAndShareAWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		client, server := net.Pipe()
		counted := &countWrites{Conn: server}
		done := make(chan struct{})
		go func() {
			defer close(done)
			New(m, Config{IdleTimeout: time.Minute}).ServeConn(t.Context(), counted, testInfo)
		}()
		var in strings.Builder
		paths := []string{"/1", "/2", "/30", "/400", "/50000", "/6", "/slow", "/7", "/8"}
		for _, p := range paths {
			fmt.Fprintf(&in, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", p)
		}
		go func() {
			_, _ = io.WriteString(client, in.String()+"GET /9 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		}()
		all, _ := io.ReadAll(client)
		<-done
		br := readerOf(all)
		for _, p := range append(paths, "/9") {
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("%s: %v", p, err)
			}
			body, _ := io.ReadAll(resp.Body)
			want := []byte(p)
			if n, err := strconv.Atoi(p[1:]); err == nil {
				want = content[:n]
			}
			if !bytes.Equal(body, want) || resp.Close != (p == "/9") {
				t.Errorf("%s: %d bytes, close: %t", p, len(body), resp.Close)
			}
		}
		// The first five with what the large one fills up; the rest of it; 6 before the slow one; the slow one and the rest.
		if counted.n != 4 {
			t.Errorf("%d writes", counted.n)
		}
		if len(m.ends) != len(paths) || m.ends[4] != "50000 true <nil>" {
			t.Errorf("ends %q", m.ends)
		}
	})
}

func readerOf(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// countWrites counts and can fail.
type countWrites struct {
	net.Conn
	n    int
	fail int // bytes after which it fails; 0: never
}

var errGone = errors.New("gone")

func (c *countWrites) Write(p []byte) (int, error) {
	c.n++
	if c.fail > 0 {
		n := min(len(p), c.fail)
		c.fail -= n
		if m, err := c.Conn.Write(p[:n]); err != nil {
			return m, err
		}
		if c.fail == 0 {
			c.fail = -1
			return n, errGone
		}
		return n, nil
	}
	if c.fail < 0 {
		return 0, errGone
	}
	return c.Conn.Write(p)
}

func TestAClientThatLeavesEndsItsAnswers(t *testing.T) {
	for _, c := range []struct {
		in   string
		fail int
		want []string
	}{
		{"GET /1000 HTTP/1.1\r\nHost: a\r\n\r\nGET /500 HTTP/1.1\r\nHost: a\r\n\r\n", 600, []string{"525 false <nil>", "0 false <nil>"}},
		{"GET /1000 HTTP/1.1\r\nHost: a\r\n\r\nGET /500 HTTP/1.1\r\nHost: a\r\n\r\n", 10, []string{"0 false <nil>", "0 false <nil>"}},
		{"GET /10 HTTP/1.1\r\nHost: a\r\n\r\nGET /100000 HTTP/1.1\r\nHost: a\r\n\r\n", 50_000, []string{"10 true <nil>", "49840 false <nil>"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			client, server := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				New(m, Config{IdleTimeout: time.Minute}).ServeConn(t.Context(), &countWrites{Conn: server, fail: c.fail}, testInfo)
			}()
			go func() { _, _ = io.Copy(io.Discard, client) }()
			_, _ = io.WriteString(client, c.in)
			<-done
			client.Close()
			if !slices.Equal(m.ends, c.want) {
				t.Errorf("%q failing after %d: ends %q, want %q", c.in, c.fail, m.ends, c.want)
			}
		})
	}
}

func TestAnAnswerThatTheServerCutSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		ctx, cancel := context.WithCancelCause(t.Context())
		x := serve(ctx, New(m, Config{IdleTimeout: time.Minute}))
		_, _ = io.WriteString(x, "GET /1000 HTTP/1.1\r\nHost: a\r\n\r\n")
		synctest.Wait()
		cancel(errGone)
		<-x.done
		if want := []string{"0 false gone"}; !slices.Equal(m.ends, want) {
			t.Errorf("ends %q, want %q", m.ends, want)
		}
	})
}

func TestAReadyAnswerShorterThanItSaysEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1000, 100_000} {
			m := newMemory()
			m.lie = 10
			kinds := map[string]int{}
			x := serve(t.Context(), New(m, Config{CountError: func(k string) { kinds[k]++ }}))
			_, _ = fmt.Fprintf(x, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", size)
			all, _ := io.ReadAll(x.br)
			<-x.done
			if kinds[errIncomplete] != 1 || len(m.ends) != 1 || !strings.Contains(m.ends[0], "false") || len(all) > size+100 {
				t.Errorf("%d: %v, ends %q, %d bytes", size, kinds, m.ends, len(all))
			}
		}
	})
}

func TestAltSvcIsOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fresh.Add("alt-svc", "theirs")
		m.serve = func(_ context.Context, w message.ResponseWriter, r *message.Request) {
			_ = w.WriteHeader(200, message.Fields{{Name: "alt-svc", Value: "theirs"}}, 0)
		}
		x := serve(t.Context(), New(&marked{m}, Config{}))
		for _, path := range []string{"/1", "/slow"} {
			resp := x.roundTrip(t, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			if got := resp.Header.Values("Alt-Svc"); !slices.Equal(got, []string{"ours"}) {
				t.Errorf("%s: %q", path, got)
			}
		}
		x.Close()
		<-x.done
	})
}

// marked sets AltSvc, as the front does.
type marked struct{ *memory }

func (m *marked) Quick(r *message.Request) *message.Ready {
	r.AltSvc = "ours"
	return m.memory.Quick(r)
}

// script is a connection that brings the same again and again, and takes everything.
type script struct {
	net.Conn
	in   []byte
	left int // how often
	got  int
}

func (s *script) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	return copy(p, s.in), nil
}
func (s *script) Write(p []byte) (int, error)      { s.got += len(p); return len(p), nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
func (s *script) Close() error                     { return nil }

// reuse answers without an allocation of its own.
type reuse struct {
	message.Handler
	block  encodedOnce
	fields message.Fields
	a      [maxBatch]message.Ready
	p      [maxBatch]pieces
	n      int
	size   int
}

func (h *reuse) Quick(*message.Request) *message.Ready {
	i := h.n % maxBatch
	h.n++
	h.p[i] = pieces{content[:h.size], 64 << 10}
	h.a[i] = message.Ready{Status: 200, Block: &h.block, Fields: h.fields, ContentLength: int64(h.size), Body: &h.p[i], BodyLength: int64(h.size)}
	return &h.a[i]
}

func newReuse(size int) *reuse {
	return &reuse{Handler: short, size: size, fields: message.Fields{{Name: "age", Value: "17"}, {Name: "date", Value: "Sun, 06 Nov 1994 08:49:37 GMT"}},
		block: encodedOnce{fields: message.Fields{{Name: "content-type", Value: "text/html; charset=utf-8"}, {Name: "etag", Value: `"abc"`}, {Name: "cache-control", Value: "max-age=600"}}}}
}

const hitRequest = "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\n\r\n"

// limited is how a server in use is set.
var limited = Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, Pace: message.Pace{Grace: 30 * time.Second, Rate: 1024}}

func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := &script{in: []byte(hitRequest), left: 1 << 62}
			c := newConn(b.Context(), New(newReuse(size), limited), s, testInfo)
			b.ReportAllocs()
			for b.Loop() {
				c.next()
			}
		})
	}
}

// BenchmarkHitTCP is a client that sends and waits, over loopback.
func BenchmarkHitTCP(b *testing.B) {
	for _, size := range []int{1 << 10, 100 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			client, server := tcpPair(b)
			done := make(chan struct{})
			go func() {
				defer close(done)
				New(newReuse(size), limited).ServeConn(b.Context(), server, testInfo)
			}()
			buf := make([]byte, 256<<10)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = io.WriteString(client, hitRequest)
				for n := 0; n < size; {
					m, err := client.Read(buf)
					if err != nil {
						b.Fatal(err)
					}
					n += m
				}
			}
			client.Close()
			<-done
		})
	}
}

func tcpPair(t testing.TB) (client, server *net.TCPConn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}
