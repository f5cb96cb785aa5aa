package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"nearcast/proxy/message"
)

// stage is an origin in memory. Each connection, numbered from 0, is a net.Pipe that serve has the other end of, and that ends when it returns.
type stage struct {
	*Origin
	mu     sync.Mutex
	dials  int
	closed []string // why connections were closed
	reused int
}

func staged(t testing.TB, cfg Config, serve func(n int, c *peer)) *stage {
	t.Helper()
	s := &stage{}
	var serving sync.WaitGroup
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		s.mu.Lock()
		n := s.dials
		s.dials++
		s.mu.Unlock()
		serving.Go(func() {
			defer theirs.Close()
			serve(n, &peer{theirs, bufio.NewReader(theirs)})
		})
		return ours, nil
	}
	cfg.Events.Closed = func(reason string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = append(s.closed, reason)
	}
	cfg.Events.Reused = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reused++
	}
	s.Origin = originOf(t, "http://origin.example:8080", cfg)
	t.Cleanup(serving.Wait)
	t.Cleanup(s.Close)
	return s
}

// saw is why connections were closed so far.
func (s *stage) saw() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.closed, ", ")
}

// idle is how many connections wait.
func (s *stage) idle() int {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	return len(s.pool.idle)
}

// peer is the origin's end of a connection.
type peer struct {
	net.Conn
	*bufio.Reader
}

func (p *peer) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// head reads a header section; "" at the end of the connection.
func (p *peer) head() string {
	var b strings.Builder
	for {
		line, err := p.ReadString('\n')
		if err != nil {
			return ""
		}
		if b.WriteString(line); line == "\r\n" {
			return b.String()
		}
	}
}

func (p *peer) say(s string) error {
	_, err := io.WriteString(p.Conn, s)
	return err
}

// answering serves every request with the same.
func answering(reply string) func(int, *peer) {
	return func(_ int, p *peer) {
		for p.head() != "" {
			if p.say(reply) != nil {
				return
			}
		}
	}
}

// fetch makes an attempt and reads the body.
func fetch(ctx context.Context, o *Origin, a *Attempt) (*Response, string, error) {
	res, err := o.RoundTrip(ctx, a)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res, string(b), err
}

// want checks an error of ours.
func want(t testing.TB, what string, err error, blame message.Blame, status int, reason string, safe bool) {
	t.Helper()
	var e *message.Error
	if !errors.As(err, &e) || e.Blame != blame || e.Status != status || e.Reason != reason || e.RetrySafe != safe {
		t.Errorf("%s: got %#v (%v), want %v %d %q, retry safe %v", what, err, err, blame, status, reason, safe)
	}
}

func with(method string, length int64) *message.Request {
	r := get("/")
	r.Method, r.ContentLength = method, length
	return r
}
