package cache

import "time"

// revalidateWindow is how long past its freshness the response may serve while it is validated in the background (RFC 5861 §3).
func (t *terms) revalidateWindow() time.Duration {
	if t.neverStale && !t.staleAsStated {
		return 0
	}
	return t.staleWhileRevalidate
}

// errorWindow is how long past its freshness the response may serve when the origins fail (RFC 5861 §4). The response's own directive
// wins over the service's; asked is the request's.
func (t *terms) errorWindow(p *Policy, asked time.Duration) time.Duration {
	switch {
	case t.neverStale && !t.staleAsStated:
		return 0
	case t.neverStale:
		return t.staleIfError
	case t.staleIfErrorSet:
		return max(t.staleIfError, asked)
	}
	return max(p.StaleIfError, asked)
}

// disconnectWindow is how long past its freshness the response may serve when no origin can be reached (RFC 9111 §4.2.4).
func (t *terms) disconnectWindow(p *Policy) time.Duration {
	if t.neverStale {
		return 0
	}
	return p.StaleOnDisconnect
}

// within reports whether a response that is past its freshness by so much, less than nothing when it is fresh, may serve in a window.
// What is fresh may unless it has to be validated each time: only the request did not want it as it is.
func (t *terms) within(past, window time.Duration) bool {
	if past < 0 {
		return !t.noCache
	}
	return window > 0 && past <= window
}
