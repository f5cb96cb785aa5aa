package upstream

import (
	"nearcast/proxy/message"
)

// whole ends the exchange when the response is complete.
func (x *exchange) whole() {
	switch {
	case !x.head.KeepAlive:
		x.end(closeAsked)
	case x.r != x.w: // it sent more than one response
		x.end(closeByOrigin)
	default:
		x.end("")
	}
}

// end ends the exchange once: the connection goes back to the pool, or is closed for a reason.
func (x *exchange) end(reason string) {
	if x.over {
		return
	}
	x.over = true
	if x.send != nil && !x.send.finish(reason == "") && reason == "" {
		reason = closeUnread
	}
	if !x.unwatch() && reason == "" {
		reason = closeFault // it is being interrupted
	}
	x.release()
	x.b = nil
	c := x.c
	x.c, x.send = nil, nil
	switch {
	case x.probe:
		c.Conn.Close()
		return
	case reason == "":
		x.o.pool.put(c)
	default:
		x.o.pool.drop(c, reason)
	}
	if x.holds {
		x.o.inFlight.Add(-1)
	}
}

// fail ends an exchange without a response, and says why there is none.
func (x *exchange) fail(err error) *message.Error {
	send := x.send
	x.holds = false // the attempt goes on, or frees its place itself
	x.end(closeFault)
	if send != nil && send.fault != nil && x.ctx.Err() == nil {
		err = send.fault
	}
	e := waitFault(x.ctx, err)
	if e.Blame != message.BlameOrigin || e.Reason == reasonMalformed {
		return e
	}
	if own := *e; !x.wrote || x.reused && !x.heard && isClosed(err) {
		own.RetrySafe = !x.wrote || !x.taken && Idempotent(x.a.Request.Method)
		if x.reused && isClosed(err) {
			own.Reason = reasonStale
		}
		return &own
	}
	return e
}

// Idempotent reports whether a request with the method may be made twice, to the effect of once (RFC 9110 §9.2.2).
func Idempotent(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE":
		return true
	}
	return false
}
