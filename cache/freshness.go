package cache

import (
	"time"

	"nearcast/proxy/message"
)

const (
	// heuristicFraction of the time since Last-Modified is a heuristic lifetime (RFC 9111 §4.2.2).
	heuristicFraction = 10
	// maxHeuristic bounds it.
	maxHeuristic = 24 * time.Hour
)

// statusTraits is what RFC 9110 says of status codes.
type statusTraits uint8

const (
	// understood: the code's meaning for caching is implemented (for must-understand, RFC 9111 §5.2.2.3).
	understood statusTraits = 1 << iota
	// heuristic: cacheable without explicit freshness (RFC 9110 §15.1).
	heuristic
	// affirmative: the service's default TTL applies, as it does not to errors.
	affirmative
)

func traitsOf(status int) statusTraits {
	switch status {
	case 200, 203, 204, 300, 301, 308:
		return understood | heuristic | affirmative
	case 404, 405, 410, 414, 501:
		return understood | heuristic
	case 201, 202, 205, 302, 303, 307, 400, 401, 402, 403, 406, 407, 408, 409, 411, 412, 413, 415, 416, 417, 421, 422, 426, 500, 502, 503, 504, 505:
		return understood
	}
	return 0
}

// lifetimeSource is what a response's lifetime was taken from.
type lifetimeSource uint8

const (
	fromNothing lifetimeSource = iota
	fromSMaxAge
	fromMaxAge
	fromExpires
	fromNegative     // Policy.Negative
	fromLastModified // a heuristic (RFC 9111 §4.2.2)
	fromDefault      // Policy.DefaultTTL
)

// explicit tells that the origin has said it.
func (s lifetimeSource) explicit() bool { return fromSMaxAge <= s && s <= fromExpires }

// lifetime is how long a response stays fresh from its origin, and by what (RFC 9111 §4.2.1).
func lifetime(resp *Response, d *directives, targeted bool, p *Policy) (life time.Duration, from lifetimeSource) {
	switch {
	case d.sMaxAge != absent: // the first that is there counts, in this order, for a shared cache
		return seconds(d.sMaxAge), fromSMaxAge
	case d.maxAge != absent:
		return seconds(d.maxAge), fromMaxAge
	}
	if !targeted {
		if expires, valid, found := dateField(resp.Fields, "expires", resp.Received); found {
			if !valid {
				return 0, fromExpires // a date in the past, above all "0" (RFC 9111 §5.3)
			}
			return max(expires.Sub(dateOf(resp)), 0), fromExpires
		}
	}
	if ttl, ok := p.Negative.of(resp.Status); ok {
		return ttl, fromNegative
	}
	traits := traitsOf(resp.Status)
	if traits&heuristic == 0 && !d.has(flagPublic) {
		return 0, fromNothing
	}
	if modified, valid, _ := dateField(resp.Fields, "last-modified", resp.Received); valid {
		life = dateOf(resp).Sub(modified) / heuristicFraction
		return min(max(life, 0), maxHeuristic), fromLastModified
	}
	if traits&affirmative != 0 {
		return p.DefaultTTL, fromDefault
	}
	return 0, fromNothing
}

// dateOf is when the response was generated: its Date, or the time of its receipt when that can't be read (RFC 9110 §6.6.1).
func dateOf(resp *Response) time.Time {
	if t, valid, _ := dateField(resp.Fields, "date", resp.Received); valid {
		return t
	}
	return resp.Received
}

// initialAge is the age of a response when it was received (RFC 9111 §4.2.3). Date has whole seconds, and so must have what it is subtracted from.
func initialAge(resp *Response) time.Duration {
	apparent := max(resp.Received.Truncate(time.Second).Sub(dateOf(resp).Truncate(time.Second)), 0)
	delay := max(resp.Received.Sub(resp.Requested), 0)
	return max(apparent, ageValue(resp.Fields)+delay)
}

// ageValue reads the Age field: of several values the first, of an unreadable one nothing (RFC 9111 §5.1).
func ageValue(f message.Fields) time.Duration {
	for i := range f {
		if f[i].Name == "age" {
			first, _ := cutMember(f[i].Value)
			n, _ := parseDelta(first)
			return seconds(n)
		}
	}
	return 0
}
