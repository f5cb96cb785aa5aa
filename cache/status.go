package cache

import (
	"strconv"
	"time"
)

// Outcome is what became of a request that Lookup could not answer. Its zero value: Lookup did.
type Outcome struct {
	Forwarded bool // the request went to an origin, by itself or through a fill it waited for
	Status    int  // the origin's status code, 0 when there was none
	Stored    bool // the answer is being stored
	// TTL is how long what is stored stays fresh, when Stored.
	TTL       time.Duration
	Collapsed bool   // another request's fetch answered it
	Reason    Reason // of Respond or Wait: why it was not stored
}

// appendStatus appends the Cache-Status member for a request (RFC 9211), such as "nearcast; hit; ttl=30" or
// "nearcast; fwd=uri-miss; fwd-status=200; stored". fwd=miss: something of the URL is stored, such as other parts. detail is a Reason's word.
func appendStatus(b []byte, res *Result, out *Outcome) []byte {
	b = append(b, "nearcast"...)
	detail := res.Reason
	switch {
	case out.Forwarded:
		b = append(b, "; fwd="...)
		b = append(b, forwardWord(res)...)
		if out.Status != 0 {
			b = append(b, "; fwd-status="...)
			b = strconv.AppendInt(b, int64(out.Status), 10)
		}
		if out.Stored {
			b = append(b, "; stored"...)
		}
		if out.Collapsed {
			b = append(b, "; collapsed"...)
		}
		if out.Reason != ReasonNone {
			detail = out.Reason
		}
	case res.Object != nil:
		b = append(b, "; hit; ttl="...)
		b = strconv.AppendInt(b, floorSeconds(res.TTL), 10)
	}
	if out.Reason == ReasonDisconnected || out.Reason == ReasonOverload {
		detail = out.Reason
	}
	switch detail {
	case ReasonNone, ReasonFresh, ReasonStored, ReasonNotStored, ReasonNoVariant, ReasonExpired, ReasonMethod:
		return b // said already
	}
	b = append(b, `; detail="`...)
	b = append(b, detail.String()...)
	return append(b, '"')
}

// forwardWord is the value of fwd (RFC 9211 §2.2).
func forwardWord(res *Result) string {
	switch res.State {
	case Part:
		if len(res.Part.Pieces) > 0 {
			return "partial"
		}
		if res.Object != nil {
			return staleWord(res)
		}
	case Bypass:
		if res.Reason == ReasonMethod {
			return "method"
		}
		return "bypass"
	case Stale:
		return staleWord(res)
	}
	switch {
	case res.Reason == ReasonNoVariant:
		return "vary-miss"
	case res.Untold:
		return "miss"
	}
	return "uri-miss"
}

func staleWord(res *Result) string {
	if res.TTL > 0 && res.Reason != ReasonNoCache {
		return "request" // fresh, but the request would not have it
	}
	return "stale"
}

func floorSeconds(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d < 0 && d%time.Second != 0 {
		n--
	}
	return n
}
