package proxy

import (
	"time"

	"nearcast/cache"
)

// lookup asks the cache, once the service is known.
func (p *Proxy) lookup(x *exchange) {
	x.asked = true
	if !x.service.policy.Enabled || p.cache == nil {
		x.result = cache.Result{State: cache.Bypass, Reason: cache.ReasonDisabled}
		return
	}
	if x.r.Body != nil {
		// Content on a GET may change its meaning for the origin, and is no part of the key.
		x.result = cache.Result{State: cache.Bypass, Reason: cache.ReasonMethod}
		return
	}
	x.key = cache.KeyOf(x.service.name, x.r)
	x.result = p.cache.Lookup(time.Now(), x.key, x.r, x.service.policy)
}
