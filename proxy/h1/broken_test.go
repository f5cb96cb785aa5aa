package h1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// panicky is a memory of which Done panics.
type panicky struct {
	*memory
	dones atomic.Int32
}

func (p *panicky) Quick(r *message.Request) *message.Ready {
	a := p.memory.Quick(r)
	if a != nil {
		a.Owner = p
	}
	return a
}

func (p *panicky) Done(*message.Ready, int64, bool) {
	p.dones.Add(1)
	panic("done")
}

// TestAPanicOfAnAnswersOwner ends the answer, once, and neither the process nor the answers of the same write.
func TestAPanicOfAnAnswersOwner(t *testing.T) {
	for _, path := range []string{"/9", "/100000"} {
		synctest.Test(t, func(t *testing.T) {
			p := &panicky{memory: newMemory()}
			panics := 0
			x := serve(t.Context(), New(p, Config{CountError: func(kind string) {
				if kind == errPanic {
					panics++
				}
			}}))
			in := "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"
			go func() { _, _ = io.WriteString(x, in+in+in) }()
			for range 3 {
				if resp, err := http.ReadResponse(x.br, nil); err != nil {
					t.Fatal(err)
				} else if n, _ := io.Copy(io.Discard, resp.Body); n != resp.ContentLength {
					t.Errorf("%s: %d bytes", path, n)
				}
			}
			x.Close()
			<-x.done
			if n := p.dones.Load(); n != 3 || panics != 3 {
				t.Errorf("%s: %d ends, %d panics counted", path, n, panics)
			}
		})
	}
}

// rotten is a body of which the reading panics.
type rotten struct{}

func (rotten) Next() []byte { panic("rotten") }

// TestAnAnswerWhoseBodyPanicsIsGivenBack, and so is what waits before it.
func TestAnAnswerWhoseBodyPanicsIsGivenBack(t *testing.T) {
	for _, path := range []string{"/9", "/100000"} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			h := quickFunc{m, func(r *message.Request) *message.Ready {
				a := m.Quick(r)
				if r.Target.HasQuery {
					a.Body = rotten{}
				}
				return a
			}}
			x := serve(t.Context(), New(h, Config{}))
			go func() {
				_, _ = io.WriteString(x, "GET /5 HTTP/1.1\r\nHost: a\r\n\r\nGET "+path+"?x HTTP/1.1\r\nHost: a\r\n\r\n")
			}()
			_, _ = io.Copy(io.Discard, x)
			<-x.done
			if len(m.ends) != 2 || !strings.HasPrefix(m.ends[0], "0 false") || !strings.HasPrefix(m.ends[1], "0 false") {
				t.Errorf("%s: %q", path, m.ends)
			}
		})
	}
}

// quickFunc is a memory with another Quick.
type quickFunc struct {
	*memory
	quick func(r *message.Request) *message.Ready
}

func (q quickFunc) Quick(r *message.Request) *message.Ready { return q.quick(r) }

// TestWhatIsBeforeAnEmptyLieIsSent: an answer of which nothing comes ends the connection behind those before it.
func TestWhatIsBeforeAnEmptyLieIsSent(t *testing.T) {
	for _, size := range []int{9, 100_000} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			h := quickFunc{m, func(r *message.Request) *message.Ready {
				a := m.Quick(r)
				if r.Target.HasQuery {
					a.Body = &pieces{}
				}
				return a
			}}
			x := serve(t.Context(), New(h, Config{}))
			go func() {
				_, _ = io.WriteString(x, fmt.Sprintf("GET /5 HTTP/1.1\r\nHost: a\r\n\r\nGET /%d?x HTTP/1.1\r\nHost: a\r\n\r\n", size))
			}()
			for _, want := range []error{nil, io.ErrUnexpectedEOF} {
				resp, err := http.ReadResponse(x.br, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(resp.Body); err != want {
					t.Errorf("%d: %v, want %v", size, err, want)
				}
			}
			<-x.done
			if len(m.ends) != 2 || m.ends[0] != "5 true <nil>" || !strings.HasPrefix(m.ends[1], "0 false") {
				t.Errorf("%d: %q", size, m.ends)
			}
		})
	}
}

// failing is a connection of which the write of 100 Continue gets stuck half-way.
type failing struct{ net.Conn }

func (f failing) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "HTTP/1.1 100") {
		n, _ := f.Conn.Write(p[:12])
		return n, os.ErrDeadlineExceeded
	}
	return f.Conn.Write(p)
}

// TestNothingFollowsHalfAnInformationalResponse.
func TestNothingFollowsHalfAnInformationalResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			_, err := io.ReadAll(r.Body)
			var e *message.Error
			if !errors.As(err, &e) || e.Blame != message.BlameClient || e.Reason != errNotTaken {
				t.Errorf("reading the body: %v", err)
			}
			short(ctx, w, r)
		})
		kinds := ""
		s := New(h, Config{IdleTimeout: time.Minute, CountError: func(kind string) { kinds += fmt.Sprintln(kind) }})
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(t.Context(), failing{server}, testInfo)
		}()
		go func() {
			_, _ = io.WriteString(client, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		}()
		if got, _ := io.ReadAll(client); string(got) != "HTTP/1.1 100" {
			t.Errorf("the client got %q", got)
		}
		<-done
		if kinds != errNotTaken+"\n" {
			t.Errorf("counted %q", kinds)
		}
	})
}
