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
	cut := disconnected(e)
	switch {
	case e.Blame == message.BlameClient:
	case x.result.ServeStaleOnError, cut && x.result.ServeStaleOnDisconnect:
		x.stale, x.fault = true, e
		if cut {
			x.outcome = cache.Outcome{Reason: cache.ReasonDisconnected}
		}
		return p.respondObject(x, x.result.Object)
	case cut && x.result.MustRevalidate:
		timeout := *e
		timeout.Status = http.StatusGatewayTimeout
		return &timeout
	}
	return err
}

// disconnected reports whether a fetch failed since no origin could be reached or none answered. Bytes that make no answer are one that
// failed: the origin is there.
func disconnected(e *message.Error) bool {
	return e.Reason == noOrigin || e.Blame == message.BlameOrigin && upstream.Unreached(e.Reason)
}
