// Package upstream keeps the connections to origins and makes one attempt of a request on one of them.
//
// Over HTTP/1.1 (RFC 9112) an exchange runs in its caller's goroutine on a connection of its own; only a request body that is not small
// is sent by another. Requests are never pipelined, and a connection is kept only when the framing of all that passed is beyond doubt. Over
// HTTP/2 (RFC 9113) the frames are golang.org/x/net/http2's.
package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"

	"nearcast/proxy/message"
)

// Origin is one origin server. Its methods may be called by any goroutine.
type Origin struct {
	// immutable
	name      string // host:port as the URL has it
	addr      string // with the scheme's port where that has none
	authority string // for probes that name no host
	scheme    string // "http" or "https": what requests say
	cfg       Config
	tls       *tls.Config // nil for http and h2c

	// shared
	inFlight atomic.Int64
	pool     pool
	multi    *multiplexed // nil where HTTP/2 is never spoken
}

// New returns the origin at u, a URL without a path:
//
//	http://   HTTP/1.1
//	https://  TLS 1.2 or later; HTTP/2 or HTTP/1.1, as the origin chooses by ALPN (RFC 7301)
//	h2c://    HTTP/2 without TLS, with prior knowledge (RFC 9113 §3.3)
//
// Another scheme is an error. Nothing is dialed before the first request.
func New(u *url.URL, cfg Config) (*Origin, error) {
	cfg.setDefaults()
	o := &Origin{name: u.Host, authority: u.Host, scheme: "http", cfg: cfg}
	port := "80"
	switch u.Scheme {
	case "http":
	case "h2c":
		o.multi = newMultiplexed(&o.cfg, true)
	case "https":
		port, o.scheme = "443", "https"
		o.tls = tlsConfig(&o.cfg, u.Hostname())
		o.multi = newMultiplexed(&o.cfg, false)
	default:
		return nil, fmt.Errorf("an origin's scheme is http, https or h2c, not %q", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	o.addr = net.JoinHostPort(u.Hostname(), port)
	o.pool.init(&o.cfg)
	return o, nil
}

// Name returns the origin's host:port.
func (o *Origin) Name() string { return o.name }

// Close closes the idle connections. Exchanges under way go on, and their connections are closed after them.
func (o *Origin) Close() {
	o.pool.close()
	if o.multi != nil {
		o.multi.close()
	}
}

// RoundTrip makes the attempt and returns when the final header section is there. It and the response's body end when ctx does.
//
// Errors are *message.Error. RetrySafe is true when no byte of the request reached a connection, and with reason "stale connection", when an
// idle connection turned out to be closed before it brought any byte of a response and the method is idempotent (RFC 9110 §9.2.2, RFC 9112
// §9.3.1). Such a request without a body, or with a small one, has then been sent again once, on a new connection, before the error is returned.
//
// Request.Body is not read any more when RoundTrip has returned an error or Response.Body is closed; either waits for a Read in
// progress, which is ended where the body is a [message.Interrupter].
func (o *Origin) RoundTrip(ctx context.Context, a *Attempt) (*Response, error) {
	if n := o.inFlight.Add(1); n > int64(o.cfg.MaxConnections) {
		o.inFlight.Add(-1)
		return nil, o.limited()
	}
	kept := false // also after a panic
	defer func() {
		if !kept {
			o.inFlight.Add(-1)
		}
	}()
	res, err := o.attempt(ctx, a)
	kept = err == nil
	return res, err
}

// limited refuses an exchange because of MaxConnections.
func (o *Origin) limited() *message.Error {
	o.cfg.Events.Limited()
	return &message.Error{Blame: message.BlameEdge, Status: http.StatusServiceUnavailable, Reason: reasonLimit, RetrySafe: true}
}

func (o *Origin) attempt(ctx context.Context, a *Attempt) (*Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, dialFault(ctx, err)
	}
	if o.multi != nil && !requestSendable(a) {
		return nil, unsendable(errField)
	}
	var l line
	for again := false; ; again = true {
		var err error
		if l, err = o.line(ctx, again, l.newest); err != nil {
			return nil, err
		}
		res, taken, err := o.attemptOn(ctx, a, l)
		if err == nil {
			return res, nil
		}
		if again || taken || ctx.Err() != nil || !isStale(err) {
			return nil, err
		}
	}
}

// attemptOn makes the attempt on a connection. taken is true when it failed after some of the request's body was read.
func (o *Origin) attemptOn(ctx context.Context, a *Attempt, l line) (res *Response, taken bool, err error) {
	if l.shared != nil {
		return o.attempt2(ctx, a, l)
	}
	return o.attempt1(ctx, a, l)
}

// isStale reports whether a new connection may serve better than the kept one did.
func isStale(err error) bool {
	e, ok := err.(*message.Error)
	return ok && e.RetrySafe && e.Reason == reasonStale
}
