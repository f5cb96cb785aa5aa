package proxy

import (
	"net/http"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// orStale answers with the stale object where that is allowed (RFC 5861 §4, RFC 9111 §4.2.4). Otherwise it returns err, as a 504 where the
// object was there but must not serve without validation and no origin could be reached (RFC 9111 §5.2.2.2).
func (p *Proxy) orStale(x *exchange, err error) error {
	e := asError(err)
	if x.takesStale(&x.result, e, x.outcome) {
		return p.respondObject(x, x.result.Object)
	}
	if e.Blame != message.BlameClient && x.result.MustRevalidate && disconnected(e) && !refused(e) {
		timeout := *e
		timeout.Status = http.StatusGatewayTimeout
		return &timeout
	}
	return err
}

// takesStale reports whether what was stored may serve after a failure, and notes that it does. forwarded is what became of the request where the
// origin has answered.
func (x *exchange) takesStale(stored *cache.Result, e *message.Error, forwarded cache.Outcome) bool {
	cut := disconnected(e)
	if e.Blame == message.BlameClient || !stored.ServeStaleOnError && !(cut && stored.ServeStaleOnDisconnect) {
		return false
	}
	x.stale, x.fault, x.outcome = true, e, forwarded
	switch {
	case e.Reason == reasonOverload:
		x.outcome = cache.Outcome{Reason: cache.ReasonOverload}
	case cut:
		x.outcome = cache.Outcome{Reason: cache.ReasonDisconnected}
	}
	return true
}

// disconnected reports whether a fetch failed since no origin could be reached or none answered, or was to be asked. Bytes that make no answer are one that
// failed: the origin is there.
func disconnected(e *message.Error) bool {
	return e.Reason == noOrigin || refused(e) || e.Blame == message.BlameOrigin && upstream.Unreached(e.Reason)
}

// refused reports whether it was decided that no origin is asked.
func refused(e *message.Error) bool { return e.Reason == reasonOverload || e.Reason == noneUp }
