package upstream

//lint:file-ignore SA1019 as in h2pool.go

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
)

// exchange2 is one request and its response on a stream of an HTTP/2 connection.
type exchange2 struct {
	o      *Origin
	ctx    context.Context // that of RoundTrip
	cancel context.CancelCauseFunc
	a      *Attempt
	reused bool
	wrote  atomic.Bool // the header section went out

	body   *requestBody // nil for none
	pipe   *io.PipeWriter
	wait   answerWait
	inform informer
	once   sync.Once
}

var (
	errAnswerLate = errors.New("no response in time, or nothing of the request taken")
	errBodyLate   = errors.New("no more of the body in time")
	errOver       = errors.New("the exchange is over")
)

// attempt2 makes the attempt on a stream. Errors are *message.Error.
func (o *Origin) attempt2(ctx context.Context, a *Attempt, l line) (res *Response, taken bool, err error) {
	x := &exchange2{o: o, ctx: ctx, a: a, reused: l.reused}
	sctx, cancel := context.WithCancelCause(ctx)
	x.cancel = cancel
	x.inform.to = a.Informational
	req := x.build(sctx)
	if x.body == nil {
		x.awaitAnswer()
	}
	hr, err := l.shared.RoundTrip(req)
	x.wait.end()
	if e := x.inform.close(); err == nil && e != nil {
		hr.Body.Close()
		err = e
	}
	if err == nil && (hr.StatusCode < 200 || hr.StatusCode > 999) { // RFC 9110 §15
		hr.Body.Close()
		err = malformed(errMalformed)
	}
	if err != nil {
		x.end()
		return nil, x.body != nil && x.body.touched.Load(), x.fault(sctx, err)
	}
	return x.respond(sctx, hr, l.shared.c), false, nil
}

// awaitAnswer begins the wait for the response's header section: the request is complete.
func (x *exchange2) awaitAnswer() {
	if d := x.o.cfg.ResponseTimeout; d > 0 {
		x.wait.begin(d, func() { x.cancel(errAnswerLate) })
	}
}

// answerWait bounds the wait for a header section. It may be over before it begins: an answer can come before the request's end.
type answerWait struct {
	mu    sync.Mutex
	over  bool
	timer *time.Timer
}

func (w *answerWait) begin(d time.Duration, late func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && w.timer == nil {
		w.timer = time.AfterFunc(d, late)
	}
}

func (w *answerWait) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// build makes the request as x/net wants it, with strings of its own: x/net keeps them in the connection's compression table, for as long as the
// connection lasts, and may still be writing them when RoundTrip has returned.
func (x *exchange2) build(ctx context.Context) *http.Request {
	own := *x.a.Request
	own.Fields = x.a.Fields
	own.Detach()
	r := &own
	req := &http.Request{
		Method: r.Method, URL: targetURL(x.o, r.Target), Host: r.Authority, Header: toHeader(r.Fields),
		Proto: "HTTP/2.0", ProtoMajor: 2,
	}
	switch n := x.a.bodyLength(); {
	case r.Upgrade != "": // extended CONNECT (RFC 8441)
		var pr *io.PipeReader
		pr, x.pipe = io.Pipe()
		req.Method, req.Body, req.ContentLength = http.MethodConnect, pr, -1
		req.Header[":protocol"] = []string{r.Upgrade}
		req.Header.Del(wsKey)
	case n != 0:
		x.body = newRequestBody(x.a.Body, x.o.cfg.ResponseTimeout, func() { x.cancel(errAnswerLate) })
		x.body.sent = x.awaitAnswer
		req.Body, req.ContentLength = x.body, n
		if r.Trailers != nil {
			req.Trailer = http.Header{}
			x.body.trailers, x.body.into = r.Trailers, req.Trailer
		}
	}
	hints := 0
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { x.wrote.Store(true) },
		Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			if hints++; hints >= maxHints { // x/net leaves it to us
				return errHints
			}
			if status == http.StatusSwitchingProtocols { // RFC 9113 §8.6
				return errMalformed
			}
			if status != http.StatusContinue && x.inform.to != nil {
				x.inform.pass(status, fromHeader(http.Header(h)))
			}
			return nil
		},
	}))
}

// respond makes the response, a tunnel where one was asked for and granted.
func (x *exchange2) respond(ctx context.Context, hr *http.Response, c *conn) *Response {
	res := &Response{Status: hr.StatusCode, Fields: fromHeader(hr.Header), ContentLength: length2(hr), Peer: c.peer, Protocol: message.HTTP2}
	body := &responseBody{x: x, ctx: ctx, hr: hr, res: res}
	res.Body = body
	body.stop = context.AfterFunc(ctx, body.abort)
	if x.pipe != nil && hr.StatusCode < 300 {
		res.Status, res.ContentLength = http.StatusSwitchingProtocols, -1
		if key := x.a.Fields.Get(wsKey); key != "" && x.a.Request.Upgrade == "websocket" {
			res.Fields.Set(wsAccept, hashOf(key))
		}
		res.Tunnel = &tunnel2{responseBody: body, pipe: x.pipe}
		return res
	}
	return res
}

// end ends the stream, and the reading of the request's body.
func (x *exchange2) end() {
	x.once.Do(func() {
		x.cancel(errOver)
		if x.pipe != nil {
			x.pipe.CloseWithError(errOver)
		}
		x.endBody()
	})
}

// endBody ends the reading of the request's body.
func (x *exchange2) endBody() {
	if x.body != nil {
		x.body.end()
	}
}

// fault says why there is no response.
func (x *exchange2) fault(ctx context.Context, err error) *message.Error {
	var own *message.Error
	if x.ctx.Err() != nil {
		return waitFault(x.ctx, x.ctx.Err())
	}
	if x.body != nil {
		if f := x.body.fault.Load(); f != nil {
			return f
		}
	}
	if errors.As(err, &own) {
		return own
	}
	if context.Cause(ctx) == errAnswerLate {
		return originFault(http.StatusGatewayTimeout, reasonTimeout, err)
	}
	untouched := x.body == nil || !x.body.touched.Load()
	switch unprocessed := isUnprocessed(err); {
	case says(err, "extended connect not supported"):
		e := originFault(http.StatusBadGateway, reasonNoUpgrade, err)
		e.RetrySafe = true
		return e
	case unprocessed || isLost(err):
		e := originFault(http.StatusBadGateway, reasonClosed, err)
		e.RetrySafe = unprocessed || !x.wrote.Load() || x.reused && untouched && Idempotent(x.a.Request.Method)
		if x.reused && (unprocessed || e.RetrySafe) {
			e.Reason = reasonStale
		}
		return e
	}
	e := malformed(err)
	e.RetrySafe = !x.wrote.Load()
	return e
}

// isUnprocessed reports whether the origin has said that it did nothing for the request (RFC 9113 §8.7), or never saw it.
func isUnprocessed(err error) bool {
	var s http2.StreamError
	if errors.As(err, &s) {
		return s.Code == http2.ErrCodeRefusedStream
	}
	return says(err, "client conn not usable", "client conn could not be established", "graceful shutdown GOAWAY")
}

// says reports whether an error is one of those that x/net has, but does not export.
func says(err error, words ...string) bool {
	text := err.Error()
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
}

// isLost reports whether the connection has ended.
func isLost(err error) bool {
	var goAway http2.GoAwayError
	return isClosed(err) || errors.As(err, &goAway) || errors.Is(err, net.ErrClosed) ||
		says(err, "client connection lost", "client connection force closed", "client conn is closed", "GOAWAY from server")
}

// length2 is the declared length.
func length2(hr *http.Response) int64 {
	switch hr.StatusCode {
	case http.StatusNoContent:
		return 0
	case http.StatusNotModified: // x/net says 0
		n, err := strconv.ParseUint(hr.Header.Get("Content-Length"), 10, 63)
		if err != nil {
			return -1
		}
		return int64(n)
	}
	return hr.ContentLength
}

// targetURL makes x/net send the target byte for byte: RawPath wins where it is an encoding of Path, which a normalised target always is.
func targetURL(o *Origin, t message.Target) *url.URL {
	path, err := url.PathUnescape(t.Path)
	if err != nil {
		path = t.Path
	}
	return &url.URL{Scheme: o.scheme, Host: o.name, Path: path, RawPath: t.Path, RawQuery: t.Query, ForceQuery: t.HasQuery}
}

// toHeader makes a map of the fields that are sent. TE goes to HTTP/2 as "trailers" (RFC 9113 §8.2.2), which gRPC needs.
func toHeader(f message.Fields) http.Header {
	h := make(http.Header, len(f)+1)
	for _, x := range f {
		if x.Name == "te" && strings.EqualFold(x.Value, "trailers") || x.Name == "content-type" && strings.HasPrefix(x.Value, "application/grpc") {
			h["Te"] = []string{"trailers"}
		}
		if !wire.HopByHop(x.Name) {
			k := textproto.CanonicalMIMEHeaderKey(x.Name)
			h[k] = append(h[k], x.Value)
		}
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or x/net sends its own
	}
	return h
}

func fromHeader(h http.Header) message.Fields {
	f := make(message.Fields, 0, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		if wire.HopByHop(name) {
			continue
		}
		for _, v := range values {
			f.Add(name, v)
		}
	}
	return f
}
