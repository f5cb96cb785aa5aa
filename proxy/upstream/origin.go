// Package upstream keeps the connections to origins and makes one attempt of a request on one of them.
package upstream

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"nearcast/proxy/message"
)

// Config bounds the connections to one origin.
type Config struct {
	ConnectTimeout  time.Duration // one TCP handshake
	ResponseTimeout time.Duration // from the request's last byte to the response's header section
	MaxConnections  int           // requests in flight, each on a connection of its own
	// MaxHeaderSize bounds the response's header section, in bytes.
	MaxHeaderSize int64
}

// Origin is one origin server. Its methods may be called by any goroutine.
type Origin struct {
	// immutable
	name      string // host:port
	base      *url.URL
	transport *http.Transport
	max       int64

	// shared
	inFlight atomic.Int64
	limited  func()
}

// New returns the origin at u, an http:// URL with a port and without a path. limited is called for each attempt that MaxConnections
// refuses; nil is allowed. Nothing is dialed before the first request.
func New(u *url.URL, cfg Config, limited func()) *Origin {
	if limited == nil {
		limited = func() {}
	}
	return &Origin{
		name: u.Host,
		base: u,
		max:  int64(cfg.MaxConnections),
		transport: &http.Transport{
			DialContext:            dialWith(cfg),
			DisableCompression:     true, // what the client asked for is what the origin is asked for
			MaxIdleConnsPerHost:    cfg.MaxConnections,
			IdleConnTimeout:        50 * time.Second, // below the 60 s at which most servers close
			ResponseHeaderTimeout:  cfg.ResponseTimeout,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: cfg.MaxHeaderSize,
			WriteBufferSize:        16 << 10,
			ReadBufferSize:         16 << 10,
		},
		limited: limited,
	}
}

// Name returns the origin's host:port.
func (o *Origin) Name() string { return o.name }

// Close closes the idle connections. Requests in flight go on.
func (o *Origin) Close() { o.transport.CloseIdleConnections() }

// Response is what the origin answered. Body must be closed.
type Response struct {
	Status        int
	Fields        message.Fields // without connection-specific fields
	Body          io.ReadCloser
	ContentLength int64                 // -1 when it is not known
	Trailers      func() message.Fields // valid once Body has returned io.EOF
	Peer          netip.AddrPort
}

// Attempt is one request to an origin: the fields are those to send, already rebuilt for this hop.
type Attempt struct {
	Request *message.Request
	Fields  message.Fields
	Body    io.Reader // nil for none
	// Informational is called for each 1xx response, before RoundTrip returns; nil discards them.
	Informational func(status int, fields message.Fields)
}

// RoundTrip makes the attempt and returns when the final header section is there. Errors are *message.Error; RetrySafe is true
// when no byte of the request reached a connection.
func (o *Origin) RoundTrip(ctx context.Context, a *Attempt) (*Response, error) {
	if n := o.inFlight.Add(1); n > o.max {
		o.inFlight.Add(-1)
		o.limited()
		return nil, &message.Error{Blame: message.BlameEdge, Status: 503, Reason: "origin connection limit", RetrySafe: true}
	}
	res, seen, err := o.send(ctx, a)
	if err != nil {
		o.inFlight.Add(-1)
		return nil, err
	}
	body := &responseBody{ReadCloser: res.Body, done: func() { o.inFlight.Add(-1) }}
	return &Response{
		Status:        res.StatusCode,
		Fields:        fromHeader(res.Header),
		Body:          body,
		ContentLength: length(res),
		Trailers:      func() message.Fields { return fromHeader(res.Trailer) },
		Peer:          seen.peer,
	}, nil
}

// maxStale is how many kept connections in a row may turn out to have been closed by the origin.
const maxStale = 3

// send makes the attempt, again when a kept connection was closed before anything was written to it: that is no sign of a
// failing origin.
func (o *Origin) send(ctx context.Context, a *Attempt) (*http.Response, *progress, error) {
	for stale := 0; ; stale++ {
		seen := &progress{}
		body := &untouched{Reader: a.Body}
		res, err := o.transport.RoundTrip(o.build(seen.trace(ctx, a.Informational), a, body))
		if err == nil && res.StatusCode < 200 { // 101 was not asked for, and what is below 100 is no status
			res.Body.Close()
			err = fmt.Errorf("final status %d", res.StatusCode)
		}
		if err == nil {
			return res, seen, nil
		}
		if stale < maxStale && seen.stale() && !body.read.Load() && ctx.Err() == nil {
			continue
		}
		return nil, nil, classify(ctx, err, seen)
	}
}

// length is the response's declared length. Of a 304 net/http says 0, where the field is that of a 200 (RFC 9110 §8.6).
func length(res *http.Response) int64 {
	if res.StatusCode != http.StatusNotModified {
		return res.ContentLength
	}
	n, err := strconv.ParseUint(res.Header.Get("Content-Length"), 10, 63)
	if err != nil {
		return -1
	}
	return int64(n)
}

func (o *Origin) build(ctx context.Context, a *Attempt, body *untouched) *http.Request {
	r := a.Request
	req := &http.Request{
		Method: r.Method, URL: o.url(r.Target), Host: r.Authority, Header: toHeader(a.Fields),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if a.Body != nil {
		req.Body, req.ContentLength = io.NopCloser(body), r.ContentLength
		if r.Trailers != nil && r.ContentLength < 0 {
			req.Trailer = http.Header{}
			req.Body = &requestBody{Reader: body, trailers: r.Trailers, into: req.Trailer}
		}
	}
	return req.WithContext(ctx)
}

// url makes net/http send the target byte for byte: RawPath wins where it is an encoding of Path, which a normalised target always is.
func (o *Origin) url(t message.Target) *url.URL {
	path, err := url.PathUnescape(t.Path)
	if err != nil {
		path = t.Path
	}
	return &url.URL{Scheme: o.base.Scheme, Host: o.base.Host, Path: path, RawPath: t.Path, RawQuery: t.Query, ForceQuery: t.HasQuery}
}
