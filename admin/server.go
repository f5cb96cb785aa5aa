package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// Source is what the endpoints show.
type Source struct {
	// Set is written at /metrics, with the process's own metrics, and Help gives the HELP texts by metric name.
	Set  *metrics.Set
	Help map[string]string
	// Status returns what /status shows as JSON.
	Status func() any
	// Healthy says for /healthz whether the edge can serve, and if not, why.
	Healthy func() (bool, string)
	// Purger does what /purge asks for; nil: there is no /purge.
	Purger Purger
	// Orderer takes the orders of /drain and /undrain; nil: there are none.
	Orderer Orderer
	// Inspector says what /explain asks for; nil: there is no /explain.
	Inspector Inspector
}

// Server is the operator's listener. It is not for the public: bind it to a loopback or management address.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens the address. A nil Server, from a Config without address, does nothing.
func Listen(c Config, s Source, log *slog.Logger) (*Server, error) {
	if c.Address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.Address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("admin.address %q: the port is in use by another process; stop that one or choose another port", c.Address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("admin.address %q: this machine does not have the address", c.Address)
	case err != nil:
		return nil, fmt.Errorf("admin.address %q: %w", c.Address, err)
	}
	return &Server{listener: l, http: &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}, nil
}

// Addr is the address in use; nil without a listener.
func (s *Server) Addr() net.Addr {
	if s == nil {
		return nil
	}
	return s.listener.Addr()
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return nil
	}
	failed := make(chan error, 1)
	go func() { failed <- s.http.Serve(s.listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("admin listener %s: %w", s.listener.Addr(), err)
	case <-ctx.Done():
	}
	// A scrape that is under way may end; nobody waits long for one.
	stop, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.http.Shutdown(stop) != nil {
		s.http.Close()
	}
	<-failed
	return nil
}

func (s Source) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", s.metrics)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(s.Status())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		ok, why := s.Healthy()
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, why)
	})
	if s.Purger != nil {
		mux.HandleFunc("POST /purge", s.purge)
	}
	if s.Orderer != nil {
		mux.HandleFunc("POST /drain", s.drain)
		mux.HandleFunc("POST /undrain", s.undrain)
	}
	if s.Inspector != nil {
		mux.HandleFunc("GET /explain", s.explain)
	}
	return mux
}

func (s Source) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	s.Set.WritePrometheus(&b)
	metrics.WriteProcessMetrics(&b)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_ = writeHelp(w, &b, s.Help)
}

// Expose switches TYPE and HELP lines on, which the metrics library keeps as one switch for the process. main calls it once.
func Expose() { metrics.ExposeMetadata(true) }
