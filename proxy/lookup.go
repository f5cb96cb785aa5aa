package proxy

import (
	"slices"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// lookup asks the cache, once the service is known.
func (p *Proxy) lookup(x *exchange, now time.Time) {
	x.asked = true
	x.withoutDevice()
	if !x.service.policy.Enabled || p.cache == nil {
		x.result = cache.Result{State: cache.Bypass, Reason: cache.ReasonDisabled}
		return
	}
	if x.r.Body != nil || changesMeaning(x.r.Fields) {
		// Content on a GET may change its meaning for the origin, and is no part of the key. So may some fields.
		x.result = cache.Result{State: cache.Bypass, Reason: cache.ReasonMethod}
		return
	}
	x.key = x.service.policy.KeyOf(x.service.name, x.r, &x.keyBuffer)
	x.result = p.cache.Lookup(now, x.key, x.r, x.service.policy)
}

// changesMeaning reports whether the request has a field by which common frameworks take it for a request with another method,
// scheme, host or target. An answer to that under the key of this one would poison the cache. Many servers take an underscore for a hyphen.
func changesMeaning(f message.Fields) bool {
	for i := range f {
		n := f[i].Name
		if len(n) < len("x-host") || n[0] != 'x' || n[1] != '-' && n[1] != '_' {
			continue
		}
		if strings.IndexByte(n, '_') >= 0 {
			n = strings.ReplaceAll(n, "_", "-")
		}
		switch n {
		case "x-http-method-override", "x-http-method", "x-method-override", "x-original-method",
			"x-original-url", "x-original-uri", "x-rewrite-url", "x-rewrite-uri", "x-script-name",
			"x-host", "x-original-host", "x-http-host-override", "x-scheme", "x-url-scheme":
			return true
		}
	}
	return false
}

// ownVary are the fields that this hop makes anew for each client: the cache can't tell its variants by what the client sent.
var ownVary = []string{"x-forwarded-for", "forwarded", "early-data"}

// asShared is an answer's field section as the cache is to judge and store it: with this hop's Via, without the origin's own alternatives,
// which are none of this edge's (RFC 7838 §3), and one that varies by what this hop adds is for nobody else.
func asShared(f message.Fields, via string) message.Fields {
	out := make(message.Fields, 0, len(f)+2)
	own := false
	for _, x := range f {
		if x.Name == "alt-svc" {
			continue
		}
		out = append(out, x)
		if x.Name == "vary" {
			for name := range strings.SplitSeq(x.Value, ",") {
				own = own || slices.Contains(ownVary, strings.ToLower(strings.TrimSpace(name)))
			}
		}
	}
	out.Add("via", via)
	if own {
		out.Add("vary", "*")
	}
	return out
}
