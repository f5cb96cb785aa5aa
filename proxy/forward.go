package proxy

import (
	"context"
	"sync"
	"time"

	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// forward sends the request to the nearest healthy origin, and on to the next where a retry is safe. ctx may outlive the client.
func (p *Proxy) forward(ctx context.Context, x *exchange, fields message.Fields, inform func(int, message.Fields)) (*upstream.Response, error) {
	fields = withDevice(x, p.rebuild(x.r, fields))
	var last error = &message.Error{Blame: message.BlameEdge, Status: 503, Reason: noOrigin}
	for i, o := range p.order(x, time.Now()) {
		if i >= x.service.cfg.Upstream.MaxAttempts {
			break
		}
		res, err := p.attempt(ctx, x, o, fields, inform)
		if err == nil && x.refusedEarly(res, fields) {
			res.Body.Close()
			return nil, errTooEarly
		}
		if err == nil {
			return res, nil
		}
		e := asError(err)
		o.meters.failed(e)
		if e.Blame == message.BlameOrigin && e.Reason != staleConnection {
			o.suspect.raise(time.Now())
		}
		last = e
		if !mayRetry(x.r.Method, x.body.touched(), e) {
			break
		}
	}
	return nil, p.unreachable(x.service, last)
}

// noOrigin is the reason when there is none to ask.
const noOrigin = "no origin"

// staleConnection is upstream's reason for a kept connection that turned out to be closed, which is no sign of a failing origin.
const staleConnection = "stale connection"

func (p *Proxy) attempt(ctx context.Context, x *exchange, o *origin, fields message.Fields, inform func(int, message.Fields)) (*upstream.Response, error) {
	x.origin = o
	x.attempts++
	start := time.Now()
	a := &upstream.Attempt{Request: x.r, Fields: fields, Informational: inform}
	if x.body != nil {
		a.Body = x.body
	}
	res, err := o.conn.RoundTrip(ctx, a)
	o.meters.attempted(time.Since(start), err)
	if err == nil {
		o.suspect.clear()
		p.reached(x.service, res.Status, time.Now())
	}
	return res, err
}

// informGate lets 1xx responses through only while their client waits: a fetch may outlive it.
type informGate struct {
	mu     sync.Mutex
	closed bool
	to     func(int, message.Fields)
}

func (g *informGate) pass(status int, f message.Fields) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.to(status, f)
	}
}

func (g *informGate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// touched reports whether a part of the body is gone. A nil body is none.
func (b *requestBody) touched() bool { return b != nil && b.read.Load() }

// mayRetry says whether another origin may be asked after an attempt failed before its header section (RFC 9110 §9.2.2). It is pure.
func mayRetry(method string, bodyTouched bool, e *message.Error) bool {
	switch {
	case e.Blame == message.BlameClient:
		return false // it went away, or sent what nobody can take
	case bodyTouched:
		return false // the rest alone would be another request
	case e.RetrySafe:
		return true // no byte of it can have been acted on
	}
	return upstream.Idempotent(method)
}
