// Package nethttp lets a server of the net/http family serve a [message.Handler].
package nethttp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"nearcast/proxy/message"
)

// Options is what a front end sets once for all its requests.
type Options struct {
	Protocol message.Protocol
	// Stall is the longest time one read of a request body or one write of a response may take. 0 means no limit.
	Stall time.Duration
	// Closing reports whether the response to a request with that context should tell the client to leave the connection. It may be nil.
	Closing func(context.Context) bool
	// Log gets panics of the handler; nil discards.
	Log *slog.Logger
}

// lingerBody is how long an HTTP/1.1 client that was answered early may take to send the rest of its body. Its connection is closed then.
const lingerBody = 5 * time.Second

type connKey struct{}

// WithConn returns a context that carries info to every request of one connection, and server for [message.Cut].
func WithConn(ctx, server context.Context, info message.ConnInfo) context.Context {
	return context.WithValue(message.WithServer(ctx, server), connKey{}, info)
}

// Handler returns an http.Handler that serves h. The requests' contexts must descend from one made by [WithConn].
// It never lets net/http guess a Content-Type, and a response shorter than its declared length is aborted.
func Handler(h message.Handler, o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Closing == nil {
		o.Closing = func(context.Context) bool { return false }
	}
	return &handler{next: h, opt: o}
}

type handler struct {
	next message.Handler
	opt  Options
}

func (h *handler) ServeHTTP(hw http.ResponseWriter, hr *http.Request) {
	w := newWriter(hw, hr, &h.opt)
	r, sent, err := request(hr, w.rc, &h.opt)
	w.sent = sent
	if err != nil {
		refuse(w, err)
	} else {
		h.serve(hr.Context(), w, r)
	}
	left := sent.leave()
	if r == nil { // refused before anybody looked for a body
		left = hr.Body != nil && hr.Body != http.NoBody
	}
	if !w.wroteHeader && !w.aborted && hr.Context().Err() == nil {
		_ = w.WriteHeader(http.StatusInternalServerError, nil, 0)
	}
	if !w.complete() || left && h.opt.Protocol == message.HTTP1 && !w.linger() {
		panic(http.ErrAbortHandler)
	}
}

// serve calls the handler. A panic in it ends the exchange, never the process.
func (h *handler) serve(ctx context.Context, w *writer, r *message.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		h.opt.Log.Error("a request handler panicked; the request failed, the edge goes on",
			"method", r.Method, "authority", r.Authority, "path", r.Target.Path, "panic", p, "stack", string(debug.Stack()))
		if w.wroteHeader {
			w.aborted = true
		}
	}()
	h.next.Serve(ctx, w, r)
}

// refuse answers a request that never reaches the handler, and leaves the connection: what follows on it is not worth trusting.
func refuse(w *writer, err error) {
	status := http.StatusBadRequest
	var e *message.Error
	if errors.As(err, &e) && e.Status != 0 {
		status = e.Status
	}
	w.leave = true
	_ = w.WriteHeader(status, nil, 0)
}
