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
	case OnlyIfCached:
		return "only-if-cached"
	}
	return "miss"
}

// Result is the answer of Lookup.
type Result struct {
	State  State
	Reason Reason
	// Object is the stored response with Hit and Stale, else nil.
	Object *Object
	// Age is the object's age (RFC 9111 §4.2.3), the value of the Age field when it is served.
	Age time.Duration
	// TTL is how long it stays fresh; negative when it is stale.
	TTL time.Duration
	// ServeStaleWhileRevalidate, with Stale: serve Object at once and revalidate in the background (RFC 5861 §3).
	ServeStaleWhileRevalidate bool
	// ServeStaleOnError, with Stale: Object may serve when no origin can be reached or the origin answers
	// 500, 502, 503 or 504 (RFC 5861 §4, RFC 9111 §4.2.4).
	ServeStaleOnError bool
}

// Lookup finds the stored variant for r and judges it. It never blocks on anything but a short lock.
func (c *Cache) Lookup(now time.Time, key Key, r *message.Request, p *Policy) Result {
	return Result{State: Miss, Reason: ReasonNotStored}
}
