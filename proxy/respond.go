package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

var copyBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// writeHeader is the one place where a final header section leaves.
func (p *Proxy) writeHeader(x *exchange, status int, fields message.Fields, length int64) error {
	x.status, x.firstByte = status, time.Now()
	if !fields.Has("date") { // what we make ourselves, and an origin's answer without one (RFC 9110 §6.6.1)
		fields = append(fields[:len(fields):len(fields)], message.Field{Name: "date", Value: p.clock.date(x.firstByte)})
	}
	if err := x.w.WriteHeader(status, fields, length); err != nil {
		return p.clientGone(x, err)
	}
	return nil
}

func (p *Proxy) clientGone(x *exchange, err error) error {
	x.incomplete = true
	return clientLeft(err)
}

// errLeft is a client that left a ready answer.
var errLeft = clientLeft(nil)

// stopped is an exchange that the edge's end cuts.
func stopped(cause error) *message.Error {
	return &message.Error{Blame: message.BlameEdge, Status: http.StatusServiceUnavailable, Reason: "edge stopped", Err: cause}
}

func clientLeft(err error) *message.Error {
	return &message.Error{Blame: message.BlameClient, Status: 499, Reason: "client went away", Err: err}
}

// live is the field section of an origin's answer, with what this hop adds.
func (p *Proxy) live(x *exchange, res *upstream.Response, extra ...message.Field) message.Fields {
	out := make(message.Fields, 0, len(res.Fields)+len(extra)+3)
	for _, f := range res.Fields {
		// The origin's own alternatives are none of this edge's (RFC 7838 §3), and its tags are for the edge alone.
		if f.Name != "alt-svc" && !x.service.policy.HidesField(f.Name) {
			out = append(out, f)
		}
	}
	out = append(out, extra...)
	out.Add("via", p.viaOf(res))
	return p.status(x, out)
}

// stored is the field section of an object, which has our Via already, with what this hop adds.
func (p *Proxy) stored(x *exchange, fields message.Fields, extra ...message.Field) message.Fields {
	out := make(message.Fields, 0, len(fields)+len(extra)+2)
	return p.status(x, append(append(out, fields...), extra...))
}

// status adds Cache-Status.
func (p *Proxy) status(x *exchange, out message.Fields) message.Fields {
	if !x.asked {
		return out
	}
	if mode := x.service.policy.CacheStatus; mode != cache.StatusOff {
		var buf [quickBuffer]byte
		out.Add("cache-status", string(mode.Append(buf[:0], &x.key, x.result, x.outcome)))
	}
	return out
}

// respondLive streams a response that nobody shares.
func (p *Proxy) respondLive(x *exchange, res *upstream.Response) error {
	if err := p.writeHeader(x, res.Status, p.live(x, res), res.ContentLength); err != nil {
		return err
	}
	if noBody(x.r.Method, res.Status) {
		return nil
	}
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		// Of unknown length: it may be events that someone waits for, or a stream of messages. The header section is one of them.
		if res.ContentLength < 0 && !buffered(res) {
			if err := x.w.Flush(); err != nil {
				return p.clientGone(x, err)
			}
		}
		n, err := res.Body.Read(*buf)
		if n > 0 {
			if werr := p.write(x, (*buf)[:n]); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			return p.trailers(x, res.Trailers())
		}
		if err != nil {
			x.incomplete = true
			return err
		}
	}
}

// buffered reports whether more of the body has come already, where that is known: then what there is need not be sent apart.
func buffered(res *upstream.Response) bool {
	b, ok := res.Body.(interface{ Buffered() bool })
	return ok && b.Buffered()
}

// answer is a response made from an object, ready to be sent.
type answer struct {
	status int
	fields message.Fields
	length int64
	object *cache.Object
	reader *cache.Reader // nil when no body is sent
	whole  bool
	pieces pieces      // those that follow reader
	parts  *byteRanges // several ranges; nil for the whole or one
}

// varyByCoding goes with every answer made from an object that others may get in a content coding.
var varyByCoding = message.Field{Name: "vary", Value: "accept-encoding"}

// respondObject answers from the cache. cache.ErrGone and cache.ErrNotHeld mean that nothing was sent.
func (p *Proxy) respondObject(x *exchange, o *cache.Object) error {
	a, err := p.plan(x, o.Form(x.r), nil)
	if err != nil {
		return err
	}
	return p.send(x, a)
}

// plan evaluates the client's preconditions and range against an object. live, when it is not nil, is what the object is made of: the
// client that caused a fetch gets what the origin answered it. The answer must be sent: it may hold a reader, which
// keeps a body that passes through from going on without it.
func (p *Proxy) plan(x *exchange, o *cache.Object, live *upstream.Response) (*answer, error) {
	var lines [3]message.Field
	extra := lines[:0]
	if o.VaryByCoding() {
		extra = append(extra, varyByCoding)
	}
	if cache.EvaluateConditional(x.r, o) == http.StatusNotModified {
		return &answer{status: http.StatusNotModified, fields: p.stored(x, cache.NotModifiedFields(o), append(extra, age(o))...), length: o.Length}, nil
	}
	if plan := x.result.Part; plan != nil && len(plan.Pieces) > 0 && o.Status == http.StatusPartialContent {
		return p.planPieces(x, plan, o)
	}
	x.letGo()
	if came, partial := o.Extent(); partial && live != nil && !servesRange(x.r, o) && !x.needsMore(http.StatusPartialContent) {
		return p.asItCame(x, o, came, live)
	}
	if live == nil {
		extra = append(extra, age(o))
	}
	rg, status := cache.ParseRange(x.r, o)
	var parts *answer
	if rg == cache.Several {
		if parts = p.planRanges(x, o); parts == nil {
			rg, status = cache.Whole, http.StatusOK
		}
	}
	a := &answer{status: o.Status, length: o.Length, object: o, whole: rg == cache.Whole}
	switch {
	case parts != nil:
		a, rg = parts, parts.parts.span(0)
		extra = append(extra, message.Field{Name: "content-type", Value: a.parts.contentType()})
	case status == http.StatusPartialContent:
		a.status, a.length = status, rg.End-rg.Start
		extra = append(extra, message.Field{Name: "content-range", Value: rg.ContentRange(o.Length)})
	case status == http.StatusRequestedRangeNotSatisfiable:
		unsatisfied := message.Field{Name: "content-range", Value: cache.UnsatisfiedRange(o.Length)}
		return &answer{status: status, fields: p.stored(x, nil, unsatisfied)}, nil
	}
	if live != nil {
		a.fields = p.live(x, replacing(live, extra), extra...)
	} else {
		a.fields = p.stored(x, replaced(o.Fields, extra), extra...)
	}
	if noBody(x.r.Method, a.status) {
		return a, nil
	}
	var err error
	a.reader, err = o.NewReader(x.ctx, rg)
	return a, err
}

func age(o *cache.Object) message.Field {
	return message.Field{Name: "age", Value: strconv.FormatInt(int64(o.Age(time.Now())/time.Second), 10)}
}

func (p *Proxy) send(x *exchange, a *answer) error {
	if a.reader != nil {
		defer func() { a.reader.Close() }()
	}
	defer func() { a.pieces.close() }()
	if err := p.writeHeader(x, a.status, a.fields, a.length); err != nil || a.reader == nil {
		return err
	}
	if a.parts != nil {
		return p.copyParts(x, a)
	}
	if a.pieces != nil {
		return p.copyPieces(x, a)
	}
	return p.copyObject(x, a)
}

func (p *Proxy) copyObject(x *exchange, a *answer) error {
	for {
		if a.object.Length < 0 && !a.reader.Ready() { // as in respondLive
			if err := x.w.Flush(); err != nil {
				return p.clientGone(x, err)
			}
		}
		b, err := a.reader.Next()
		if len(b) > 0 {
			if werr := p.write(x, b); werr != nil {
				return werr
			}
		}
		if err == io.EOF {
			if a.whole {
				return p.trailers(x, a.object.Trailers())
			}
			return nil
		}
		if err != nil {
			x.incomplete = true
			return err
		}
	}
}

func (p *Proxy) write(x *exchange, b []byte) error {
	n, err := x.w.Write(b)
	x.sent += int64(n)
	if err != nil {
		return p.clientGone(x, err)
	}
	return nil
}

func (p *Proxy) trailers(x *exchange, f message.Fields) error {
	if len(f) == 0 {
		return nil
	}
	if err := x.w.WriteTrailers(f); err != nil {
		return p.clientGone(x, err)
	}
	return nil
}

// noBody reports whether a response has no body whatever its fields say (RFC 9110 §6.4.1).
func noBody(method string, status int) bool {
	return method == "HEAD" || status == http.StatusNoContent || status == http.StatusNotModified
}

// fail ends an exchange whose steps returned an error: with an answer where none has begun, else by cutting it off.
func (p *Proxy) fail(x *exchange, err error) {
	e, connected := x.blame(err)
	x.fault = e
	if x.status != 0 {
		x.incomplete = true
		x.w.Abort()
		return
	}
	if !connected {
		x.status, x.incomplete = e.Status, true
		x.w.Abort()
		return
	}
	body := fmt.Sprintf("%d %s\n", e.Status, http.StatusText(e.Status))
	fields := message.Fields{
		{Name: "content-type", Value: "text/plain; charset=utf-8"},
		{Name: "cache-control", Value: "no-store"},
		{Name: "proxy-status", Value: p.proxyStatus(e)},
	}
	if e.Status == http.StatusServiceUnavailable {
		fields.Add("retry-after", "5")
	}
	if e.Status == http.StatusMethodNotAllowed {
		fields.Add("allow", allowed)
	}
	x.outcome.Forwarded = x.outcome.Forwarded || x.attempts > 0
	if refused(e) && !x.outcome.Forwarded {
		x.unanswered(e)
	}
	if err := p.writeHeader(x, e.Status, p.status(x, fields), int64(len(body))); err == nil && x.r.Method != "HEAD" {
		_ = p.write(x, []byte(body))
	}
}

// blame says who is to blame for err, and whether the client can still be told.
func (x *exchange) blame(err error) (e *message.Error, connected bool) {
	e = asError(err)
	gone := x.ctx.Err() != nil || e.Blame == message.BlameClient && e.Status == 499
	if !gone {
		return e, true
	}
	// What fails now, such as the origin's body that nobody reads any more, fails because the client's connection has ended.
	if cut := message.Cut(x.ctx); cut != nil {
		return stopped(cut), false
	}
	if e.Blame != message.BlameClient || e.Status != 499 {
		e = clientLeft(err)
	}
	return e, false
}

// proxyErrors are the RFC 9209 §2.3 error types of our reasons.
var proxyErrors = map[string]string{
	"connection refused":      "connection_refused",
	"connect timeout":         "connection_timeout",
	"connect failed":          "destination_unavailable",
	"connection closed":       "connection_terminated",
	staleConnection:           "connection_terminated",
	"tls failed":              "tls_protocol_error",
	"response timeout":        "connection_read_timeout",
	"read timeout":            "connection_read_timeout",
	"response body cut":       "http_response_incomplete",
	"upgrade not supported":   "http_upgrade_failed",
	"malformed response":      "http_protocol_error",
	"origin connection limit": "connection_limit_reached",
	noOrigin:                  "destination_not_found",
	noneUp:                    "destination_unavailable",
	"request loop":            "proxy_loop_detected",
	"internal error":          "proxy_internal_error",
}

// proxyStatus is the Proxy-Status value of an error of ours (RFC 9209).
func (p *Proxy) proxyStatus(e *message.Error) string {
	kind, ok := proxyErrors[e.Reason]
	if !ok {
		kind = "http_request_error"
		if e.Blame != message.BlameClient {
			kind = "proxy_internal_response"
		}
	}
	return p.statusName + "; error=" + kind + "; details=" + strconv.Quote(e.Reason)
}
