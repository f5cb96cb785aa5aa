package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// What a service's early_data may be.
const (
	// EarlyDataSafe: requests that do no harm when they are sent again (GET, HEAD and OPTIONS without content) are acted on before the handshake is
	// complete, and reach the origin with Early-Data: 1. All others wait for it.
	EarlyDataSafe = "safe"
	// EarlyDataOff: every request waits for it, those that are answered from the cache among them.
	EarlyDataOff = "off"
)

// earlyUse is what became of a request that may have been a replay (RFC 8470).
type earlyUse uint8

const (
	earlyNone     earlyUse = iota // it was none
	earlyServed                   // acted on at once
	earlyDelayed                  // when the handshake was complete
	earlyRefused                  // with 425
	earlyRepeated                 // the origin refused it with 425; sent again when the handshake was complete
)

var earlyWords = [...]string{earlyServed: "served", earlyDelayed: "delayed", earlyRefused: "refused", earlyRepeated: "repeated"}

// String returns the word for logs and metrics.
func (u earlyUse) String() string { return earlyWords[u] }

var (
	errEarly = clientError(http.StatusTooEarly, "early data")
	// errTooEarly is an origin's 425 to a request that can be sent again, not in early data.
	errTooEarly = clientError(http.StatusTooEarly, "early data refused by the origin")
)

// early reports whether the request may be a replay: it came in early data here and the handshake is not complete yet, or at a hop before this one, which
// says so. What the field's value is makes no difference (RFC 8470 §5.1).
func early(r *message.Request) bool { return earlyHere(r) || r.Fields.Has("early-data") }

func earlyHere(r *message.Request) bool {
	return r.TLS != nil && r.TLS.EarlyData && (r.TLS.Handshake == nil || !r.TLS.Handshake.Complete())
}

// safe are the methods that may be repeated by someone else at will.
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS":
		return true
	}
	return false
}

// settle lets a request that must not be acted on in early data wait for the handshake (RFC 8470 §3).
func (p *Proxy) settle(x *exchange) error {
	if !early(x.r) {
		return nil
	}
	if x.repeatable() {
		x.early = earlyServed
		return nil
	}
	return x.await(earlyDelayed)
}

// repeatable reports whether it does no harm when somebody else sends the request again. Content, and fields that override the method, may make something
// else of a safe method; credentials and ranges do not.
func (x *exchange) repeatable() bool {
	r := x.r
	return !x.service.careful && safe(r.Method) && r.Body == nil && r.Upgrade != websocket && !changesMeaning(r.Fields)
}

// await waits until the request is no replay. What came to a hop before this one in early data stays one here: only the client can send that again.
func (x *exchange) await(as earlyUse) error {
	r := x.r
	x.early = as
	if r.Fields.Has("early-data") || r.TLS.Handshake == nil {
		x.early = earlyRefused
		return errEarly
	}
	t, err := r.TLS.Handshake.Wait(x.ctx)
	switch {
	case err != nil && x.ctx.Err() != nil:
		return message.Cause(x.ctx)
	case err != nil:
		x.early = earlyRefused
		return &message.Error{Blame: errEarly.Blame, Status: errEarly.Status, Reason: errEarly.Reason, Err: err}
	}
	r.TLS = t
	return nil
}

// settleFirst is for what takes several requests to the origin: it is worth the wait, where waiting helps.
func (x *exchange) settleFirst() error {
	if !earlyHere(x.r) || x.r.Fields.Has("early-data") {
		return nil
	}
	return x.await(earlyDelayed)
}

// refusedEarly reports whether an origin has refused what was sent with fields since it came here in early data. It was this hop that took it, so this hop
// may send it again (RFC 8470 §5.2); else the 425 is for the client.
func (x *exchange) refusedEarly(res *upstream.Response, fields message.Fields) bool {
	r := x.r
	return res.Status == http.StatusTooEarly && fields.Has("early-data") && !r.Fields.Has("early-data") && r.TLS.Handshake != nil
}

// repeats reports whether the exchange is to begin again after err, with the handshake complete.
func (x *exchange) repeats(err error) bool { return errors.Is(err, errTooEarly) && x.status == 0 }

// repeat begins again. Others may have fetched it in the meantime.
func (p *Proxy) repeat(x *exchange) error {
	if err := x.await(earlyRepeated); err != nil {
		return err
	}
	x.asked, x.result, x.outcome = false, cache.Result{}, cache.Outcome{}
	return p.answer(x)
}

// noteEarly counts what became of the request.
func (s *serviceMeters) noteEarly(x *exchange) {
	if x.early == earlyServed && x.status == http.StatusTooEarly { // the origin's answer to what a hop before this one took
		x.early = earlyRefused
	}
	if x.early != earlyNone {
		s.early[x.early].Inc()
	}
}

// validEarlyData checks a service's early_data.
func validEarlyData(s string) error {
	if !slices.Contains([]string{EarlyDataSafe, EarlyDataOff}, s) {
		return fmt.Errorf("is %q; write safe (requests that may be repeated need not wait for the handshake) or off", s)
	}
	return nil
}
