// Package modeltest is a slow and plain model of a shared cache, for tests: what RFC 9111, RFC 9110, RFC 5861 and RFC 9213 let a cache do
// with a request, written from the RFCs and sharing nothing with package cache, the parsers of fields included. It keeps a list of every
// response that may be stored, and looks through all of it for every answer.
//
// An RFC leaves choices, so the model knows no one right answer: [Model.Check] says whether what happened is among what is allowed. A doubtful
// field value (such as two max-age) may be read either way. What the RFCs leave to the cache and this project has decided stands in [Policy].
//
// A [History] is what clients ask, what the origin answers, and the time between. It is a text of a few lines, so that one that fails
// can be kept as a table case, and can be made from bytes, for random and fuzz tests.
package modeltest

import "time"

// Policy are the decisions that the RFCs leave to the cache and its operator.
type Policy struct {
	// DefaultTTL is the freshness of a response with no explicit one and no Last-Modified.
	DefaultTTL time.Duration
	// StaleIfError is used for responses without a stale-if-error of their own (RFC 5861 §4).
	StaleIfError time.Duration
	// StaleOnDisconnect is how long past its freshness a response may serve when no origin can be reached (RFC 9111 §4.2.4).
	StaleOnDisconnect time.Duration
	// SharedForbidsStale: s-maxage forbids stale use like proxy-revalidate (RFC 9111 §5.2.2.10), even beside RFC 5861's directives.
	SharedForbidsStale bool
	// SetCookie says which responses with Set-Cookie are stored.
	SetCookie CookieRule
	// StorePost: the answer to a POST is stored when it has explicit freshness and a Content-Location that is the target (RFC 9110 §9.3.3).
	StorePost bool
	// StorePartial: a 206 is stored (RFC 9111 §3.3, §3.4).
	StorePartial bool
	// TrustNotModified: a 304 is about what was asked for even when it names another entity tag, and updates it, which RFC 9111 §4.3.4 would leave
	// alone.
	TrustNotModified bool
	// HeadFreshens: a HEAD answer updates what is stored for GET (RFC 9111 §4.3.5).
	HeadFreshens bool
	// InvalidateLocations: the answer to an unsafe request invalidates its Location and Content-Location too (RFC 9111 §4.4).
	InvalidateLocations bool
	// Targeted: CDN-Cache-Control counts (RFC 9213 §2.2).
	Targeted bool
	// ObeyRequests: the directives of requests are obeyed (RFC 9111 §5.2.1). Without, no-store and only-if-cached are, and stale-if-error.
	ObeyRequests bool
	// Key says what of a request, besides its URL, tells stored responses apart, and what of the URL does not.
	Key Key
	// Negative are lifetimes of errors without one of their own, by status ("404") or by class ("4xx", "5xx").
	Negative map[string]time.Duration
	// PurgeMethod: PURGE purges, and is not forwarded.
	PurgeMethod bool
	// EarlyHints: the links of pages are sent in a 103 before the page (RFC 8297).
	EarlyHints bool
	// Compress: stored text may be coded for clients that accept it.
	Compress bool
	// MaxObject is the size above which nothing need be stored as a whole; 0: there is none.
	MaxObject int
	// Slices: large responses are fetched, stored and put together in pieces, and end where the origin fails to give the next.
	Slices bool
	// Forgetful: anything may be lost at any time, such as for want of memory.
	Forgetful bool
	// Useful: besides never doing what is forbidden, the cache must answer from the store where nothing at all stands against
	// it, and validate with the validators it has. A cache that never stores anything would pass without.
	Useful bool
}

// Key is what tells stored responses apart.
type Key struct {
	Without []string // query parameters that don't count
	Headers []string
	Cookies []string
	Device  bool // a phone gets another answer than a desktop
}

// CookieRule says which responses with Set-Cookie may be stored. The RFCs leave all of them to the cache (RFC 9111 §7.3).
type CookieRule uint8

const (
	CookieNever    CookieRule = iota
	CookieShared              // with public or s-maxage
	CookieExplicit            // with any explicit freshness, or public
	CookieStripped            // all, without the cookie
)
