package cache

import (
	"time"

	"nearcast/proxy/message"
)

// State is what the cache can do for a request.
type State uint8

const (
	Miss         State = iota // nothing that fits: Begin, and fetch or wait
	Hit                       // Object may serve as it is
	Stale                     // Object must be validated first: Begin with Conditions(Object)
	Bypass                    // the cache has no part in this request: forward it unchanged
	Part                      // a part is asked for or stored: Result.Part says what to fetch, with BeginPart
	OnlyIfCached              // the client wants a stored response or 504, and there is none (RFC 9111 §5.2.1.7)
)

// String returns the word for logs and metrics.
func (s State) String() string {
	switch s {
	case Hit:
		return "hit"
	case Stale:
		return "stale"
	case Bypass:
		return "bypass"
	case Part:
		return "part"
	case OnlyIfCached:
		return "only-if-cached"
	}
	return "miss"
}

// Result is the answer of Lookup.
type Result struct {
	State  State
	Reason Reason
	// Conditional, with Miss, Hit and Stale: the request has a precondition or a range. Without one there is nothing for
	// [EvaluateConditional] and [ParseRange] to do.
	Conditional bool
	// ServeStaleWhileRevalidate, with Stale: serve Object at once and revalidate in the background (RFC 5861 §3).
	ServeStaleWhileRevalidate bool
	// ServeStaleOnError, with Stale: Object may serve when no origin can be reached or the origin answers
	// 500, 502, 503 or 504 (RFC 5861 §4, RFC 9111 §4.2.4).
	ServeStaleOnError bool
	// ServeStaleOnDisconnect, with Stale: Object may serve when no origin can be reached, or none answers (RFC 9111 §4.2.4).
	ServeStaleOnDisconnect bool
	// MustRevalidate, with Stale: Object must not serve without validation, and when no origin can be reached the answer is a 504
	// (RFC 9111 §5.2.2.2).
	MustRevalidate bool

	// Untold: something of the URL is stored, and is nothing for this request; whether for its variant, range or age is not told apart.
	Untold bool

	absent bool // nothing that fits is in memory

	// Object is the stored response with Hit and Stale, else nil.
	Object *Object
	// Age is the object's age (RFC 9111 §4.2.3), the value of the Age field when it is served.
	Age time.Duration
	// TTL is how long it stays fresh; negative when it is stale.
	TTL time.Duration
	// Part, with the state of that name, is how to answer.
	Part *Plan
}

// Lookup finds the stored variant for r and judges it. It never blocks on anything but a short lock.
func (c *Cache) Lookup(now time.Time, key Key, r *message.Request, p *Policy) Result {
	if r.Method != "GET" && r.Method != "HEAD" {
		return Result{State: Bypass, Reason: ReasonMethod}
	}
	if !p.Enabled {
		return Result{State: Bypass, Reason: ReasonDisabled}
	}
	o, missing := c.find(&key, r)
	return c.judgeFor(now, &key, o, missing, r, p)
}

// judgeFor judges what was found for r; with nothing found, missing says why.
func (c *Cache) judgeFor(now time.Time, key *Key, o *Object, missing Reason, r *message.Request, p *Policy) Result {
	wishes, conditional := asks(r.Fields)
	if o != nil && missing == ReasonNone && !wishes && !conditional { // as most are
		return judge(now, o, &noDirectives, p)
	}
	d := &noDirectives
	if wishes {
		own := p.directivesOf(r)
		d = &own
	}
	if o == nil {
		res := c.lookupParts(now, *key, r, d, p, Result{State: Miss, Reason: missing, Conditional: conditional})
		res.absent = res.State != Hit
		return res
	}
	if conditional && !meetsPreconditions(r, o) {
		if d.has(flagOnlyIfCached) { // the origin is not to be asked, whatever else stands against what is stored
			return Result{State: OnlyIfCached, Reason: ReasonOnlyIfCached}
		}
		return Result{State: Bypass, Reason: ReasonPrecondition}
	}
	res := judge(now, o, d, p)
	res.Conditional = conditional
	if res.State != Hit && missing == ReasonNoVariant {
		return unanswered(r, d, Result{State: Miss, Reason: missing, Conditional: conditional})
	}
	if res.State == Hit || res.ServeStaleWhileRevalidate {
		return res
	}
	return unanswered(r, d, res)
}

// noDirectives are those of most requests. It is never changed.
var noDirectives = newDirectives()

// asks reports whether a request may have directives, and whether it has a precondition or a range.
func asks(f message.Fields) (wishes, conditional bool) {
	for i := range f {
		n := f[i].Name
		wishes = wishes || n == "cache-control" || n == "pragma"
		conditional = conditional || n == "range" || len(n) > 3 && n[:3] == "if-"
	}
	return wishes, conditional
}

// unanswered finds another way for a request that the store can't answer as it is.
func unanswered(r *message.Request, d *directives, res Result) Result {
	switch {
	case d.has(flagOnlyIfCached):
		return Result{State: OnlyIfCached, Reason: ReasonOnlyIfCached}
	case d.has(flagNoStore): // what comes must not be stored, so nobody may share it
		return Result{State: Bypass, Reason: ReasonRequestNoStore}
	case hasOriginPrecondition(r): // the fetch goes without them, and may bring what does not meet them
		return Result{State: Bypass, Reason: ReasonPrecondition}
	}
	return res
}

// judge decides whether a stored response may serve a request with directives d (RFC 9111 §4, §5.2.1).
func judge(now time.Time, o *Object, d *directives, p *Policy) Result {
	age := o.Age(now)
	res := Result{State: Stale, Object: o, Age: age, TTL: o.lifetime - age}
	t := &o.terms
	expired := ReasonExpired
	if t.softened {
		res.TTL, expired = min(res.TTL, 0), ReasonPurged
	}
	past := -res.TTL
	switch {
	case t.noCache:
		res.Reason = ReasonNoCache
	case d.has(flagNoCache):
		res.Reason = ReasonRequestNoCache
	case d.maxAge != absent && age > seconds(d.maxAge)+seconds(d.maxStale): // by which the client takes more
		res.Reason = ReasonRequestMaxAge
	case res.TTL <= 0 && d.maxStale != absent && !t.neverStale && (d.maxStale == anyStale || past <= seconds(d.maxStale)):
		res.State, res.Reason = Hit, ReasonMaxStale
	case res.TTL <= 0:
		res.Reason = expired
		res.ServeStaleWhileRevalidate = d.minFresh == absent && t.within(past, t.revalidateWindow())
	case d.minFresh != absent && res.TTL < seconds(d.minFresh):
		res.Reason = ReasonRequestMinFresh
	default:
		res.State, res.Reason = Hit, ReasonFresh
	}
	if res.State == Stale {
		res.ServeStaleOnError = t.within(past, t.errorWindow(p, seconds(d.staleIfError)))
		res.ServeStaleOnDisconnect = res.ServeStaleOnError || t.within(past, t.disconnectWindow(p))
		res.MustRevalidate = t.neverStale && !res.ServeStaleOnDisconnect
	}
	return res
}
