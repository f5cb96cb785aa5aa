package proxy

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// maxJoins bounds how often a request joins a fill that turns out to be another variant's.
const maxJoins = 3

// pass forwards the request as it is: the cache has no part in it, but an unsafe method may make stored responses obsolete.
func (p *Proxy) pass(x *exchange) error {
	x.letGo()
	if e := p.refusal(x, workPass); e != nil {
		return p.orStale(x, e)
	}
	requested := time.Now()
	fields := x.r.Fields
	if x.service.policy.Compress.Enabled {
		fields = cache.OriginFields(x.r, fields)
	}
	res, err := p.forward(x.ctx, x, fields, p.inform(x))
	if err != nil {
		return p.orStale(x, err)
	}
	defer func() { res.Body.Close() }() // also ends what is still under way
	x.outcome.Forwarded, x.outcome.Status = true, res.Status
	if p.cache != nil && x.service.policy.Enabled {
		if p.cache.Invalidate(x.service.name, x.r, x.service.policy, res.Status, res.Fields) {
			p.sync(x.ctx) // the client must not see the old response again, whatever happens to this process
		}
		p.keepPosted(x, res, requested)
	}
	return p.respondLive(x, res)
}

// sync waits until what has been deleted is on disk, as long as a purge does. A disk that fails notes that it has to start anew.
func (p *Proxy) sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, purgeSync)
	defer cancel()
	_ = p.cache.Sync(ctx)
}

// fill makes or joins the one fetch for what the cache does not have.
func (p *Proxy) fill(x *exchange) error {
	if (x.result.State == cache.Miss && x.result.Conditional || x.result.State == cache.Part && len(x.result.Part.Pieces) == 0) && p.refused(x) {
		return p.pass(x) // what comes is nobody else's, and a fetch for all would go without the client's condition
	}
	if x.result.Part != nil {
		defer x.letGo()
		if err := x.hold(x.result.Part); err != nil {
			return p.pass(x)
		}
	}
	p.hint(x)
	asked := x.service.policy.Asked(x.r)
	for range maxJoins {
		f, leader := p.begin(x, asked)
		if leader {
			if e := p.refusedFill(x); e != nil {
				f.Fail(e)
				return p.orStale(x, e)
			}
			return p.lead(x, f)
		}
		obj, reason, err := f.Wait(x.ctx, x.r)
		if err != nil && x.ctx.Err() == nil && leadersOwn(err) {
			continue
		}
		if err != nil {
			return p.orStale(x, err)
		}
		if obj != nil {
			x.outcome = cache.Outcome{Forwarded: true, Collapsed: true, Status: obj.Status, Reason: reason}
			err := p.respondObject(x, obj)
			if errors.Is(err, cache.ErrGone) || errors.Is(err, cache.ErrNotHeld) {
				x.outcome = cache.Outcome{} // it passes through without being kept, and its beginning is gone; or it is not the part that was asked for
				break
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

// lead fetches for everyone who waits. The fetch does not end with this client, but with the proxy; the client's exchange does not wait
// for it once the client has gone.
func (p *Proxy) lead(x *exchange, f *cache.Fill) error {
	ctx, cancel := p.detach(x.ctx)
	bg := x.behind(ctx)
	gate := &informGate{to: p.inform(x)}
	arrived, left := make(chan arrival), x.ctx.Done()
	p.background(func() {
		defer close(arrived)
		defer f.Fail(errLeaderGone)
		got, err := p.fetch(ctx, bg, f, gate.pass)
		if err != nil {
			f.Fail(err)
		}
		select {
		case arrived <- arrival{got, err}:
		case <-left: // others may still want it
			finish(got, cancel)
		}
	})
	select {
	case a, ok := <-arrived:
		gate.close()
		if !ok {
			cancel()
			return errLeaderGone
		}
		x.learn(bg)
		return p.answerLeader(x, a, cancel)
	case <-x.ctx.Done():
		gate.close()
		return message.Cause(x.ctx)
	}
}

// arrival is what the leader waits for.
type arrival struct {
	fetched
	err error
}

// answerLeader answers the client that caused the fetch.
func (p *Proxy) answerLeader(x *exchange, got arrival, cancel context.CancelFunc) error {
	switch {
	case got.err != nil:
		cancel()
		return p.orStale(x, got.err)
	case got.writer == nil && got.object != nil:
		cancel()
		return p.respondObject(x, got.object)
	case got.writer == nil && x.needsMore(got.res.Status):
		got.res.Body.Close()
		cancel()
		return p.pass(x)
	case got.writer == nil:
		// Nobody shares it: from here on it is this client's alone.
		defer cancel()
		defer context.AfterFunc(x.ctx, cancel)()
		defer got.res.Body.Close()
		return p.respondLive(x, got.res)
	}
	// The answer has its reader before the body begins to arrive, so that it misses nothing of it.
	a, err := func() (*answer, error) {
		defer p.background(func() { finish(got.fetched, cancel) }) // whatever happens here: others wait for the body
		return p.plan(x, got.writer.Object().Form(x.r), got.res)
	}()
	if errors.Is(err, cache.ErrNotHeld) {
		return p.pass(x)
	}
	if err != nil {
		return err
	}
	return p.send(x, a)
}

// finish takes a fetch to its end without a client of its own.
func finish(got fetched, cancel context.CancelFunc) {
	defer cancel()
	switch {
	case got.writer != nil:
		pump(got.writer, got.res)
	case got.res != nil:
		got.res.Body.Close()
	}
}

// behind is an exchange for a fetch that may outlive x: it shares nothing with it that x goes on to change or that ends with it.
func (x *exchange) behind(ctx context.Context) *exchange {
	r := *x.r
	r.Body, r.ContentLength, r.Trailers, r.State = nil, 0, nil, nil
	r.Detach()
	bg := &exchange{ctx: ctx, r: &r, found: x.found}
	bg.keyBuffer = nil // x's
	bg.key = x.service.keyOf(&r)
	return bg
}

// learn takes over what the fetch came upon.
func (x *exchange) learn(bg *exchange) {
	x.origin, x.attempts, x.outcome, x.place, x.located = bg.origin, bg.attempts, bg.outcome, bg.place, bg.located
}

var errLeaderGone = &message.Error{Blame: message.BlameEdge, Status: 502, Reason: "fetch given up"}

// leadersOwn says whether a fetch failed for reasons that are no others'. Those who waited then fetch for themselves; when
// the origins have failed the leader, asking them again at once, all together, is the last thing they need.
func leadersOwn(err error) bool {
	return errors.Is(err, errLeaderGone) || asError(err).Blame == message.BlameClient
}

// fetched is what a fetch came to: an object alone (a 304 refreshed it), a response that is being stored (with a writer), or one that is not.
type fetched struct {
	object *cache.Object
	writer *cache.Writer
	res    *upstream.Response
}

// fetch asks the origin for the whole resource, with the stored object's validators if there is one, and decides the fill.
func (p *Proxy) fetch(ctx context.Context, x *exchange, f *cache.Fill, inform func(int, message.Fields)) (fetched, error) {
	var conditions message.Fields
	if x.result.Part != nil {
		conditions = x.result.Part.Fields()
	} else if x.result.Object != nil {
		conditions = cache.Conditions(x.result.Object)
	}
	requested := time.Now()
	offered := p.offer(x)
	res, err := p.forward(ctx, x, wholeFields(x.r.Fields, append(conditions, offered...)), inform)
	if err != nil {
		return fetched{}, err
	}
	x.outcome.Forwarded, x.outcome.Status = true, res.Status
	if offered != nil && res.Status == 304 {
		if res, err = p.chosen(ctx, x, res, inform); err != nil {
			return fetched{}, err
		}
	}
	head := p.headOf(res, requested)
	if conditions != nil && x.result.Part == nil && res.Status == 304 {
		res.Body.Close()
		obj := f.NotModified(x.r, head, x.result.Object, x.service.policy)
		x.outcome.Stored, x.outcome.TTL = true, obj.TTL(head.Received)
		return fetched{object: obj}, nil
	}
	if x.result.ServeStaleOnError && staleOnStatus(res.Status) {
		res.Body.Close()
		return fetched{}, &message.Error{Blame: message.BlameOrigin, Status: res.Status, Reason: "origin answered an error"}
	}
	if x.service.policy.EarlyHints {
		f.NoteHints(x.r, &head, x.service.policy)
	}
	w, reason := p.decide(x, f, head)
	x.outcome.Stored, x.outcome.Reason = w != nil || reason == cache.ReasonHeadMatches, reason
	if w != nil {
		x.outcome.TTL = w.Object().TTL(head.Received)
	}
	return fetched{writer: w, res: res}, nil
}

// headOf is an origin's answer as the cache judges it.
func (p *Proxy) headOf(res *upstream.Response, requested time.Time) cache.Response {
	return cache.Response{
		Status: res.Status, Fields: asShared(res.Fields, p.viaOf(res)), Length: res.ContentLength,
		Requested: requested, Received: time.Now(),
	}
}

// staleOnStatus are the answers that stale-if-error covers (RFC 5861 §4).
func staleOnStatus(status int) bool {
	return status == 500 || status >= 502 && status <= 504
}

// pump copies the body into the fill. Its readers, the leader's client among them, each read at their own pace.
func pump(w *cache.Writer, res *upstream.Response) {
	defer res.Body.Close()
	defer w.Abort(errLeaderGone) // harmless after Commit
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	for {
		n, err := res.Body.Read(*buf)
		if n > 0 {
			if _, werr := w.Write((*buf)[:n]); werr != nil {
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

// maxRevalidations bounds the revalidations in the background at a time. Beyond it a stale object serves without: who asks next tries again.
const maxRevalidations = 1024

// revalidate refreshes a stale object in the background while its client is served (RFC 5861 §3). It does not wait; of a crowd, the first alone
// costs more than a short lock.
func (p *Proxy) revalidate(x *exchange) {
	now := time.Now()
	if !p.cache.Wanted(now, x.key, x.r) || p.refusal(x, workRefresh) != nil {
		return
	}
	if p.revalidations.Add(1) > maxRevalidations {
		p.revalidations.Add(-1)
		p.meters.crowdedOut.Inc()
		return
	}
	ctx, cancel := context.WithCancel(p.life)
	bg := x.behind(ctx)
	bg.r.TLS = nil      // and so are its wish for speed, and the risk that it took for that
	bg.r.Method = "GET" // the answer to a HEAD would refresh nothing
	bg.r.Fields.DeleteFunc(func(f message.Field) bool {
		return f.Name == "cache-control" || f.Name == "pragma" || f.Name == "early-data"
	}) // its client is served
	f, leader := p.cache.Begin(now, bg.key, bg.r)
	if !leader {
		cancel()
		p.revalidations.Add(-1)
		return
	}
	p.background(func() {
		defer p.revalidations.Add(-1)
		defer cancel()
		defer f.Fail(errLeaderGone)
		got, err := p.fetch(ctx, bg, f, nil)
		if err != nil {
			f.Fail(err)
		}
		finish(got, cancel)
	})
}

// background runs what outlives its client. A panic in it fails the fetch, never the process.
func (p *Proxy) background(f func()) {
	p.fetches.Go(func() {
		defer func() {
			if v := recover(); v != nil {
				p.log.Error("a fetch panicked; it failed, the edge goes on", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		f()
	})
}

// detach makes a context that ends with the proxy instead of the client.
func (p *Proxy) detach(client context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(client))
	stop := context.AfterFunc(p.life, cancel)
	return ctx, func() { stop(); cancel() }
}
