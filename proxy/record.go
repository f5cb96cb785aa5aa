package proxy

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// record counts and logs the exchange, whatever became of it. The edge's own probes are counted by package health, not here.
func (p *Proxy) record(x *exchange) {
	if x.selfProbe {
		return
	}
	if x.status == 0 { // a step panicked: the front end answers
		x.status = 500
		x.fault = &message.Error{Blame: message.BlameEdge, Status: 500, Reason: "internal error"}
	}
	took := time.Since(x.r.Received)
	m := p.meters.none
	if x.service != nil {
		m = x.service.meters
	}
	m.observe(x, took)
	if p.opts.Access != nil {
		p.opts.Access.LogAttrs(context.Background(), slog.LevelInfo, "request", p.attrs(x, took)...)
	}
}

// attrs are the access log's fields. Their names are an interface: docs/operating.md lists them.
func (p *Proxy) attrs(x *exchange, took time.Duration) []slog.Attr {
	r := x.r
	a := make([]slog.Attr, 0, 28)
	a = append(a,
		slog.String("edge", p.opts.Edge),
		slog.String("region", p.opts.Region),
		slog.String("client_ip", r.Client.Addr().String()),
		slog.String("protocol", r.Protocol.String()),
		slog.String("method", r.Method),
		slog.String("scheme", r.Scheme),
		slog.String("host", r.Authority),
		slog.String("target", r.Target.String()),
		slog.Int("status", x.status),
		slog.Int64("bytes_out", x.sent),
		slog.Float64("duration_ms", milliseconds(took)),
	)
	if !x.firstByte.IsZero() {
		a = append(a, slog.Float64("first_byte_ms", milliseconds(x.firstByte.Sub(r.Received))))
	}
	if r.TLS != nil {
		a = append(a, slog.String("tls_version", tls.VersionName(r.TLS.Version)), slog.Bool("tls_resumed", r.TLS.Resumed))
	}
	if place := p.locate(x); place.Country != "" {
		a = append(a, slog.String("client_country", place.Country))
	}
	if x.service != nil {
		a = append(a, slog.String("service", x.service.name))
	}
	if x.asked {
		a = append(a, slog.String("cache", cacheWord(x)), slog.String("cache_reason", cacheReason(x).String()))
	}
	if x.origin != nil {
		a = append(a, slog.String("origin", x.origin.id.Name), slog.String("origin_region", x.origin.region), slog.Int("attempts", x.attempts))
	}
	if x.fault != nil {
		a = append(a, slog.String("blame", x.fault.Blame.String()), slog.String("reason", x.fault.Reason))
		if x.fault.Err != nil {
			a = append(a, slog.String("error", x.fault.Err.Error()))
		}
	}
	if x.incomplete {
		a = append(a, slog.Bool("incomplete", true))
	}
	if ua := r.Fields.Get("user-agent"); ua != "" {
		a = append(a, slog.String("user_agent", ua))
	}
	return a
}

// cacheWord is what the cache did for the request, one of cacheWords.
func cacheWord(x *exchange) string {
	switch {
	case x.stale:
		return "stale"
	case x.outcome.Collapsed:
		return "collapsed"
	case x.result.State == cache.Stale && x.outcome.Status == 304:
		return "revalidated"
	case x.result.State == cache.Hit:
		return "hit"
	case x.result.State == cache.Bypass:
		return "bypass"
	}
	return "miss"
}

var cacheWords = []string{"hit", "miss", "stale", "revalidated", "collapsed", "bypass"}

// cacheReason is why: of the answer when there was one, else of the lookup.
func cacheReason(x *exchange) cache.Reason {
	if x.outcome.Reason != cache.ReasonNone {
		return x.outcome.Reason
	}
	return x.result.Reason
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
