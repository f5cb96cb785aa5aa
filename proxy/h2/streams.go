package h2

import (
	"context"
	"net/http"
	"sync"
)

// streams counts the requests running on one connection, because the library's ServeConn returns without waiting for them.
type streams struct {
	gen *generation

	mu     sync.Mutex
	n      int
	closed bool
	none   chan struct{} // closed when closed is set and n is 0
}

func newStreams(g *generation) *streams { return &streams{gen: g, none: make(chan struct{})} }

// enter is false once the connection has ended: the request must not begin.
func (s *streams) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.n++
	return true
}

func (s *streams) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n--
	s.check()
}

// close lets no request begin any more and waits for those running.
func (s *streams) close() {
	s.mu.Lock()
	s.closed = true
	s.check()
	s.mu.Unlock()
	<-s.none
}

func (s *streams) check() {
	if s.closed && s.n == 0 {
		close(s.none)
	}
}

type streamsKey struct{}

func (s *streams) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, streamsKey{}, s)
}

// counted makes every request enter and leave its connection's count.
func counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := r.Context().Value(streamsKey{}).(*streams)
		if !s.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.leave()
		h.ServeHTTP(w, r)
	})
}
