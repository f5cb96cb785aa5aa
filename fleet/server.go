package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// A question is one packet and its answer is made at once, so whoever takes longer has nothing to ask.
	serveTimeout = 2 * time.Second
	// More than the longest interval, so that edges keep their connections.
	idleTimeout = 30 * time.Second
	maxFields   = 4 << 10
	// stopTimeout is what answers under way get when the process stops.
	stopTimeout = 250 * time.Millisecond
)

// refusal is why a question got no answer.
type refusal uint8

const (
	refusedConnection refusal = iota // too many connections
	refusedRate                      // too many questions
	refusedForm                      // no question at all
	refusedMAC                       // signed with no key that is accepted
	numRefusals
)

var refusalNames = [numRefusals]string{"too many connections", "too many questions", "malformed", "not authentic"}

// server answers questions.
type server struct {
	// immutable
	http    *http.Server
	gate    *gate
	keys    func() *keyring
	answer  func(now time.Time) *Report
	metrics *serverMetrics

	conns sync.WaitGroup // goroutines of connections
}

type sourceKey struct{}

func newServer(l net.Listener, sources *sources, keys func() *keyring, answer func(time.Time) *Report, m *serverMetrics, log *slog.Logger) *server {
	s := &server{keys: keys, answer: answer, metrics: m}
	s.gate = &gate{Listener: l, sources: sources, refused: func() { m.refused[refusedConnection].Inc() }}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: serveTimeout,
		ReadTimeout:       serveTimeout,
		WriteTimeout:      serveTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxFields,
		Protocols:         new(http.Protocols),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // strangers' doings
		ConnState:         s.count,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sourceKey{}, c.(*visitor).source)
		},
		DisableGeneralOptionsHandler: true,
	}
	s.http.Protocols.SetHTTP1(true)
	return s
}

// listen opens the address; the error says what to do.
func listen(address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("fleet.address %q: the port is in use by another process; stop that one or choose another port", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("fleet.address %q: this machine does not have the address", address)
	case err != nil:
		return nil, fmt.Errorf("fleet.address %q: %w", address, err)
	}
	return l, nil
}

// count knows of each connection's goroutine, so that run can wait for it: closed is the last that one reports.
func (s *server) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
}

// run answers until ctx ends.
func (s *server) run(ctx context.Context) error {
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.gate) }()
	var err error
	select {
	case err = <-failed:
		s.http.Close()
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if s.http.Shutdown(stop) != nil {
			s.http.Close()
		}
		<-failed
	}
	s.conns.Wait()
	if err != nil {
		return fmt.Errorf("fleet listener %s: %w", s.gate.Addr(), err)
	}
	return nil
}

// ServeHTTP answers a question. Whoever asks anything else is told as little as possible, and shown out.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if !r.Context().Value(sourceKey{}).(*source).ask(now) {
		s.refuse(w, refusedRate, http.StatusTooManyRequests)
		return
	}
	if r.Method != http.MethodGet || r.RequestURI != path || r.ContentLength != 0 {
		s.refuse(w, refusedForm, http.StatusNotFound)
		return
	}
	q, mac, err := readQuestion(r.Header)
	if err != nil {
		s.refuse(w, refusedForm, http.StatusBadRequest)
		return
	}
	keys, err := s.keys().verifyQuestion(q, mac)
	if err != nil {
		s.refuse(w, refusedMAC, http.StatusForbidden)
		return
	}
	body, err := s.answer(now).encode()
	if err != nil {
		http.Error(w, "", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set(fieldMAC, keys.answerMAC(q, body))
	if _, err := w.Write(body); err == nil {
		s.metrics.answered.Inc()
	}
}

func (s *server) refuse(w http.ResponseWriter, why refusal, status int) {
	s.metrics.refused[why].Inc()
	w.Header().Set("Connection", "close")
	w.WriteHeader(status)
}
