package proxy

import (
	"context"
	"errors"
	"io"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// maxJoins bounds how often a request joins a fill that turns out to be another variant's.
const maxJoins = 3

// pass forwards the request as it is: the cache has no part in it, but an unsafe method may make stored responses obsolete.
func (p *Proxy) pass(x *exchange) error {
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	res, err := p.forward(ctx, x, x.r.Fields, p.inform(x))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	x.outcome.Forwarded, x.outcome.Status = true, res.Status
	if p.cache != nil && x.service.policy.Enabled {
		p.cache.Invalidate(x.service.name, x.r, res.Status, res.Fields)
	}
	return p.respondLive(x, res, newStallGuard(x.service.cfg.Upstream.ResponseTimeout, cancel))
}

// fill makes or joins the one fetch for what the cache does not have.
func (p *Proxy) fill(x *exchange) error {
	for range maxJoins {
		f, leader := p.cache.Begin(time.Now(), x.key, x.r)
		if leader {
			return p.lead(x, f)
		}
		obj, reason, err := f.Wait(x.ctx, x.r)
		if err != nil {
			return p.orStale(x, err)
		}
		if obj != nil {
			x.outcome = cache.Outcome{Forwarded: true, Collapsed: true, Status: obj.Status, Reason: reason}
			err := p.respondObject(x, obj)
			if errors.Is(err, cache.ErrGone) {
				break // it passes through without being kept, and its beginning is gone
			}
			return err
		}
		x.outcome.Reason = reason
		if reason != cache.ReasonOtherVariant {
			break
		}
	}
	return p.pass(x)
}

// lead fetches for everyone who waits. The fetch does not end with this client, but with the proxy.
func (p *Proxy) lead(x *exchange, f *cache.Fill) error {
	defer f.Fail(errLeaderGone)
	ctx, cancel := p.detach(x.ctx)
	fetched, err := p.fetch(ctx, x, f, p.inform(x))
	switch {
	case err != nil:
		cancel()
		f.Fail(err)
		return p.orStale(x, err)
	case fetched.writer == nil && fetched.object != nil:
		cancel()
		return p.respondObject(x, fetched.object)
	case fetched.writer == nil:
		// Nobody shares it: from here on it is this client's alone.
		defer cancel()
		defer context.AfterFunc(x.ctx, cancel)()
		defer fetched.res.Body.Close()
		return p.respondLive(x, fetched.res, newStallGuard(x.service.cfg.Upstream.ResponseTimeout, cancel))
	}
	// The answer has its reader before the body begins to arrive, so that it misses nothing of it.
	a, err := p.plan(x, fetched.writer.Object(), fetched.res.Fields)
	guard := newStallGuard(x.service.cfg.Upstream.ResponseTimeout, cancel)
	p.fetches.Go(func() {
		defer cancel()
		pump(fetched.writer, fetched.res, guard)
	})
	if err != nil {
		return err
	}
	return p.send(x, a)
}

var errLeaderGone = &message.Error{Blame: message.BlameEdge, Status: 502, Reason: "fetch given up"}

// fetched is what a fetch came to: an object alone (a 304 refreshed it), a response that is being stored (with a writer), or one that is not.
type fetched struct {
	object *cache.Object
	writer *cache.Writer
	res    *upstream.Response
}

// fetch asks the origin for the whole resource, with the stored object's validators if there is one, and decides the fill.
func (p *Proxy) fetch(ctx context.Context, x *exchange, f *cache.Fill, inform func(int, message.Fields)) (fetched, error) {
	var conditions message.Fields
	if x.result.Object != nil {
		conditions = cache.Conditions(x.result.Object)
	}
	for {
		requested := time.Now()
		res, err := p.forward(ctx, x, wholeFields(x.r.Fields, conditions), inform)
		if err != nil {
			return fetched{}, err
		}
		x.outcome.Forwarded, x.outcome.Status = true, res.Status
		head := cache.Response{Status: res.Status, Fields: res.Fields, Length: res.ContentLength, Requested: requested, Received: time.Now()}
		if conditions != nil && res.Status == 304 {
			res.Body.Close()
			if obj := f.NotModified(x.r, head, x.result.Object, x.service.policy); obj != nil {
				x.outcome.Stored = true
				return fetched{object: obj}, nil
			}
			conditions = nil // it is not about what we have: fetch the whole
			continue
		}
		if x.result.ServeStaleOnError && staleOnStatus(res.Status) {
			res.Body.Close()
			return fetched{}, &message.Error{Blame: message.BlameOrigin, Status: res.Status, Reason: "origin answered an error"}
		}
		w, reason := f.Respond(x.r, head, x.service.policy)
		x.outcome.Stored, x.outcome.Reason = w != nil, reason
		return fetched{writer: w, res: res}, nil
	}
}

// staleOnStatus are the answers that stale-if-error covers (RFC 5861 §4).
func staleOnStatus(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// pump copies the body into the fill. Its readers, the leader's client among them, each read at their own pace.
func pump(w *cache.Writer, res *upstream.Response, guard *stallGuard) {
	defer res.Body.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := guard.read(res, buf)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				w.Abort(werr)
				return
			}
		}
		switch {
		case err == io.EOF:
			w.Commit(res.Trailers())
			return
		case err != nil:
			w.Abort(err)
			return
		}
	}
}

// orStale answers with the stale object where that is allowed (RFC 5861 §4), and otherwise returns err.
func (p *Proxy) orStale(x *exchange, err error) error {
	if e := asError(err); x.result.ServeStaleOnError && e.Blame != message.BlameClient {
		x.stale, x.fault = true, e
		return p.respondObject(x, x.result.Object)
	}
	return err
}

// revalidate refreshes a stale object in the background while its client is served (RFC 5861 §3).
func (p *Proxy) revalidate(x *exchange) {
	f, leader := p.cache.Begin(time.Now(), x.key, x.r)
	if !leader {
		return
	}
	ctx, cancel := p.detach(x.ctx)
	// The client's exchange goes on and ends by itself: the background has its own.
	r := *x.r
	r.Body, r.ContentLength, r.Trailers = nil, 0, nil
	r.Fields = x.r.Fields.Clone()
	bg := &exchange{ctx: ctx, r: &r, service: x.service, key: x.key, result: x.result, place: x.place, located: x.located}
	p.fetches.Go(func() {
		defer cancel()
		defer f.Fail(errLeaderGone)
		got, err := p.fetch(ctx, bg, f, nil)
		switch {
		case err != nil:
			f.Fail(err)
		case got.writer != nil:
			pump(got.writer, got.res, newStallGuard(x.service.cfg.Upstream.ResponseTimeout, cancel))
		case got.res != nil:
			got.res.Body.Close()
		}
	})
}

// detach makes a context that ends with the proxy instead of the client.
func (p *Proxy) detach(client context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(client))
	stop := context.AfterFunc(p.life, cancel)
	return ctx, func() { stop(); cancel() }
}
