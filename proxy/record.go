package proxy

import (
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// record counts and logs the exchange, whatever became of it. The edge's own probes are counted by package health, not here.
func (p *Proxy) record(x *exchange) {
	if x.selfProbe {
		return
	}
	now := time.Now()
	m := p.meters.none
	if x.service != nil {
		m = x.service.meters
	}
	m.observe(x, now.Sub(x.r.Received))
	if p.access != nil {
		p.access.write(func(b []byte) []byte { return p.access.exchange(b, p, x, now) })
	}
}

// Refused implements message.Refuser.
func (p *Proxy) Refused(x message.Refusal) {
	p.meters.refused(&x)
	if p.access != nil {
		now := time.Now()
		p.access.write(func(b []byte) []byte { return p.access.refusal(b, &x, now) })
	}
}

// cacheUse is what the cache did for a request.
type cacheUse uint8

const (
	cacheHit cacheUse = iota
	cacheMiss
	cacheStale
	cacheRevalidated
	cacheCollapsed
	cacheBypass
)

var cacheWords = [...]string{cacheHit: "hit", cacheMiss: "miss", cacheStale: "stale", cacheRevalidated: "revalidated", cacheCollapsed: "collapsed", cacheBypass: "bypass"}

// String returns the word for logs and metrics.
func (u cacheUse) String() string { return cacheWords[u] }

func (x *exchange) cacheUse() cacheUse {
	switch {
	case x.stale:
		return cacheStale
	case x.outcome.Collapsed:
		return cacheCollapsed
	case x.result.State == cache.Stale && x.outcome.Status == 304:
		return cacheRevalidated
	case x.result.State == cache.Hit, x.result.State == cache.Part && !x.outcome.Forwarded && x.fault == nil:
		return cacheHit
	case x.result.State == cache.Bypass:
		return cacheBypass
	}
	return cacheMiss
}

// cacheReason is why: of the answer when there was one, else of the lookup.
func (x *exchange) cacheReason() cache.Reason {
	if x.outcome.Reason != cache.ReasonNone {
		return x.outcome.Reason
	}
	return x.result.Reason
}
