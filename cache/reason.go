package cache

// Reason says why the cache decided as it did: why a request was a miss, why a response was not stored.
// The same words stand in logs, in metric labels and in the detail of the Cache-Status field.
type Reason uint8

const (
	ReasonNone Reason = iota

	// Looking up.
	ReasonFresh           // the stored response is fresh for this request
	ReasonNotStored       // nothing is stored under the key (uri-miss)
	ReasonNoVariant       // something is stored, but no variant that fits the request (vary-miss)
	ReasonExpired         // the stored response is past its freshness
	ReasonNoCache         // the stored response says no-cache: validate before every use
	ReasonRequestNoCache  // the request says no-cache, or Pragma: no-cache without Cache-Control
	ReasonRequestMaxAge   // the request's max-age is less than the response's age
	ReasonRequestMinFresh // the response will not be fresh for as long as the request's min-fresh
	ReasonMaxStale        // stale, and the request's max-stale takes it
	ReasonRequestNoStore  // the request says no-store: it goes past the cache
	ReasonMethod          // the method is neither GET nor HEAD
	ReasonDisabled        // the service's cache is switched off
	ReasonRange           // a Range request, and no complete response is stored
	ReasonPrecondition    // If-Match or If-Unmodified-Since that the stored response does not meet: the origin's to answer
	ReasonOnlyIfCached    // only-if-cached, and nothing that may serve
	ReasonPurged          // a soft purge has made the stored response stale

	// Storing.
	ReasonStored        // stored
	ReasonNoStore       // no-store in the response
	ReasonPrivate       // private: for a single user
	ReasonAuthorization // the request had Authorization and the response does not allow sharing (RFC 9111 §3.5)
	ReasonStatus        // the status code is not one that may be stored, or not understood though must-understand asks for it
	ReasonPartial       // 206 that is not one known range of a known length, or was not asked for
	ReasonSetCookie     // Set-Cookie that nobody has called reusable, or that the service refuses
	ReasonVaryStar      // Vary: *
	ReasonNoFreshness   // no freshness, no ground for a heuristic, no validator
	ReasonUnusable      // stored, but good for nothing without validation: nobody else may have it as it arrives
	ReasonTooLarge      // larger than max_object
	ReasonNoMemory      // the budget is in use by responses that are being read
	ReasonInvalidated   // an unsafe request or a purge came in while the response was on its way
	ReasonSuperseded    // a newer response was stored while the body was on its way
	ReasonIncomplete    // the body ended before its length, or failed
	ReasonStaleKept     // an error, in whose place something stays stored that may still serve
	ReasonHead          // the answer to HEAD has no body to store
	ReasonHeadDiffers   // the answer to HEAD is another one's than the stored response, which is stale from now on

	// Waiting.
	ReasonOtherVariant // the response that came is another variant's: Begin again
	ReasonFailed       // the fetch failed

	// Serving and updating what is stored.
	ReasonHeadMatches  // the answer to HEAD has updated the stored response (RFC 9111 §4.3.5)
	ReasonDisconnected // no origin could be reached, and the stored response serves although it is stale
	ReasonOverload     // no origin was asked, since the edge is overloaded; what is stored serves although it is stale, where it may

	reasonCount
)

var reasonWords = [reasonCount]string{
	ReasonNone:            "none",
	ReasonFresh:           "fresh",
	ReasonNotStored:       "not stored",
	ReasonNoVariant:       "no such variant",
	ReasonExpired:         "expired",
	ReasonNoCache:         "no-cache",
	ReasonRequestNoCache:  "request no-cache",
	ReasonRequestMaxAge:   "request max-age",
	ReasonRequestMinFresh: "request min-fresh",
	ReasonMaxStale:        "request max-stale",
	ReasonRequestNoStore:  "request no-store",
	ReasonMethod:          "method",
	ReasonDisabled:        "disabled",
	ReasonRange:           "range",
	ReasonPrecondition:    "precondition",
	ReasonOnlyIfCached:    "only-if-cached",
	ReasonPurged:          "purged",
	ReasonStored:          "stored",
	ReasonNoStore:         "no-store",
	ReasonPrivate:         "private",
	ReasonAuthorization:   "authorization",
	ReasonStatus:          "status",
	ReasonPartial:         "partial content",
	ReasonSetCookie:       "set-cookie",
	ReasonVaryStar:        "vary star",
	ReasonNoFreshness:     "no freshness",
	ReasonUnusable:        "not shareable",
	ReasonTooLarge:        "too large",
	ReasonNoMemory:        "no memory",
	ReasonInvalidated:     "invalidated",
	ReasonSuperseded:      "superseded",
	ReasonIncomplete:      "incomplete",
	ReasonStaleKept:       "stale kept",
	ReasonHead:            "head",
	ReasonHeadMatches:     "head matches",
	ReasonHeadDiffers:     "head differs",
	ReasonOtherVariant:    "other variant",
	ReasonFailed:          "failed",
	ReasonDisconnected:    "disconnected",
	ReasonOverload:        "overload",
}

// String returns the words for logs, metrics and Cache-Status.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonWords[r]
	}
	return "unknown"
}
