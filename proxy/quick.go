package proxy

import (
	"net/http"
	"strconv"
	"time"
	"unsafe"

	"nearcast/cache"
	"nearcast/health"
	"nearcast/proxy/message"
)

// quick is an exchange that is answered from memory, and the answer. It is made once and used again and again: nothing of it may be
// kept beyond Done.
type quick struct {
	exchange
	p     *Proxy
	ready message.Ready
	body  cache.Pieces
	lines message.Fields // Ready.Fields; the array is kept
	buf   [quickBuffer]byte
}

// quickBuffer holds the values of the lines of any answer but a redirect with a long target: age, content-range, cache-status.
const quickBuffer = 256

// maxKeptKey is the largest buffer of a key that is used again.
const maxKeptKey = 4 << 10

// Quick implements message.QuickHandler. What it has found before it gives up is in r.State, for Serve.
func (p *Proxy) Quick(r *message.Request) *message.Ready {
	switch {
	case r.Method != "GET" && r.Method != "HEAD", r.Body != nil, r.Upgrade == websocket, r.Target.Path == health.SelfPath, p.admissible(r) != nil:
		return nil
	}
	now := r.Received // which is now, as nobody has waited for anything since: a clock takes as long as all the rest of a lookup
	if now.IsZero() {
		now = time.Now()
	}
	q := p.quicks.Get().(*quick)
	q.r = r
	if r.RedirectPort != 0 {
		return q.redirect(now)
	}
	if q.service = p.table.find(hostOf(r.Authority), r.Target.Path); q.service == nil {
		q.release()
		return nil
	}
	if r.TLS != nil && r.TLS.EarlyData {
		q.early = earlyServed // a hit does nothing that may not be done twice
	}
	if q.service.careful && early(r) {
		q.release()
		return nil
	}
	p.lookup(&q.exchange, now)
	switch {
	case q.result.State == cache.Hit && q.hit(now):
		return &q.ready
	case q.result.ServeStaleWhileRevalidate && q.hit(now):
		q.stale = true
		p.revalidate(&q.exchange)
		return &q.ready
	}
	r.State = q
	return nil
}

// redirect is Proxy.redirect.
func (q *quick) redirect(now time.Time) *message.Ready {
	location := appendLocation(q.buf[:0], q.r)
	q.lines = append(q.lines[:0], message.Field{Name: "location", Value: text(location)}, message.Field{Name: "date", Value: q.p.clock.date(now)})
	q.ready = message.Ready{Status: http.StatusPermanentRedirect, Fields: q.lines, Owner: q}
	q.status, q.firstByte = q.ready.Status, now
	return &q.ready
}

// hit makes the answer from the object found, as plan does; false leaves it to Serve.
func (q *quick) hit(now time.Time) bool {
	o, a := q.result.Object.Form(q.r), &q.ready
	*a = message.Ready{Status: o.Status, Block: o, ContentLength: o.Length, Owner: q}
	q.lines = q.lines[:0]
	rg, status := cache.Whole, o.Status
	if q.result.Conditional {
		if status = cache.EvaluateConditional(q.r, o); status == 0 {
			if rg, status = cache.ParseRange(q.r, o); rg == cache.Several {
				return false
			}
		}
	}
	switch status {
	case http.StatusNotModified:
		a.Status, a.Block = status, nil
		q.lines = cache.AppendNotModified(q.lines, o)
	case http.StatusPartialContent:
		if o.SaysOfContent() {
			return false
		}
		a.Status, a.ContentLength = status, rg.End-rg.Start
	case http.StatusRequestedRangeNotSatisfiable:
		return false
	}
	if !noBody(q.r.Method, a.Status) {
		if !o.Pin(&q.body, rg) {
			return false
		}
		if a.BodyLength = a.ContentLength; a.BodyLength > 0 {
			a.Body = &q.body
		}
	}
	if a.Status == http.StatusNoContent {
		a.ContentLength = -1 // RFC 9110 §8.6
	}
	q.addLines(o, rg)
	a.Fields = q.lines
	q.status, q.firstByte = a.Status, now
	return true
}

// addLines adds what this hop adds to an object's fields. Their values stand in buf; a value that does not fit moves the rest of them into
// memory of its own, and takes nothing from those before it.
func (q *quick) addLines(o *cache.Object, rg cache.Range) {
	if o.VaryByCoding() {
		q.lines = append(q.lines, varyByCoding)
	}
	b := strconv.AppendInt(q.buf[:0], int64(q.result.Age/time.Second), 10)
	q.lines = append(q.lines, message.Field{Name: "age", Value: text(b)})
	if q.ready.Status == http.StatusPartialContent {
		n := len(b)
		b = rg.AppendContentRange(b, o.Length)
		q.lines = append(q.lines, message.Field{Name: "content-range", Value: text(b[n:])})
	}
	if mode := q.service.policy.CacheStatus; mode != cache.StatusOff {
		n := len(b)
		b = mode.Append(b, &q.key, q.result, cache.Outcome{})
		q.lines = append(q.lines, message.Field{Name: "cache-status", Value: text(b[n:])})
	}
}

// Done implements message.ReadyOwner.
func (q *quick) Done(a *message.Ready, sent int64, complete bool) {
	q.sent = sent
	if !complete {
		q.incomplete, q.fault = true, errLeft
		if a.Err != nil {
			q.fault = stopped(a.Err)
		}
	}
	q.p.record(&q.exchange)
	q.release()
}

// release puts q back, without anything that it refers to.
func (q *quick) release() {
	q.body.Close()
	clear(q.lines)
	b := q.keyBuffer
	q.exchange, q.ready, q.lines = exchange{}, message.Ready{}, q.lines[:0]
	if cap(b) <= maxKeptKey {
		q.keyBuffer = b
	}
	q.p.quicks.Put(q)
}

// text is b as a string that shares its bytes: they are not written again before Done.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
