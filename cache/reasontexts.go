package cache

// reasonText is what an operator is told of a Reason.
type reasonText struct {
	meaning string // one sentence
	section string // where it is from: an RFC's section, or the configuration
	change  string // what the operator may change; "" for nothing
}

// Sections that several reasons share.
const (
	ofStoring = "RFC 9111 §3"
	ofReuse   = "RFC 9111 §4"
	ofStale   = "RFC 9111 §4.2"
	ofConfig  = "nearcast"
)

const ignoreRequests = "request_directives: ignore lets such requests have stored responses"

var reasonTexts = [reasonCount]reasonText{
	ReasonNone:            {"Nothing was to be decided.", ofConfig, ""},
	ReasonFresh:           {"The stored response is fresh and may serve as it is.", ofStale, ""},
	ReasonNotStored:       {"Nothing is stored under the request's key.", ofReuse, "Let the key leave out what makes no difference to the answer: cache.key."},
	ReasonNoVariant:       {"Responses are stored under the key, but none for what this request has in the fields that Vary names.", "RFC 9111 §4.1", "Let the origin name fewer fields in Vary."},
	ReasonPurged:          {"An operator or the origin has made the stored response stale with a soft purge.", ofStale, "Nothing: it serves again once the origin has confirmed it."},
	ReasonExpired:         {"The stored response has been kept for longer than it is fresh.", ofStale, "Let the origin state a longer lifetime, or stale-while-revalidate."},
	ReasonNoCache:         {"The stored response says no-cache, so each use needs the origin's word.", "RFC 9111 §5.2.2.4", "Let the origin state a lifetime instead of no-cache."},
	ReasonRequestNoCache:  {"The client reloads: no-cache in the request, or Pragma.", "RFC 9111 §5.2.1.4", ignoreRequests + "."},
	ReasonRequestMaxAge:   {"The stored response is older than the client's max-age.", "RFC 9111 §5.2.1.1", ignoreRequests + "."},
	ReasonRequestMinFresh: {"The stored response is not fresh for as long as the client's min-fresh.", "RFC 9111 §5.2.1.3", ignoreRequests + "."},
	ReasonMaxStale:        {"The stored response is stale, and the client's max-stale takes it so.", "RFC 9111 §5.2.1.2", ""},
	ReasonRequestNoStore:  {"The client says no-store: what it gets must not be stored.", "RFC 9111 §5.2.1.5", ""},
	ReasonMethod:          {"The request is no plain GET or HEAD, by its method, its content or a field that stands for another method or target.", ofStoring, ""},
	ReasonDisabled:        {"The service's cache is switched off.", ofConfig, "Set cache.enabled."},
	ReasonRange:           {"A part is asked for, and the whole is not stored.", "RFC 9111 §3.3", ""},
	ReasonPrecondition:    {"The request has a condition that the stored response does not meet, or that only the origin can judge.", "RFC 9111 §4.3.2", ""},
	ReasonOnlyIfCached:    {"The client wants a stored response or none, and there is none that may serve.", "RFC 9111 §5.2.1.7", ""},

	ReasonStored:        {"The response is stored.", ofStoring, ""},
	ReasonNoStore:       {"The response says no-store.", "RFC 9111 §5.2.2.5", "Let the origin leave no-store out, or send CDN-Cache-Control for this cache alone."},
	ReasonPrivate:       {"The response says private: it is for one user.", "RFC 9111 §5.2.2.7", "Let the origin leave private out, or send CDN-Cache-Control for this cache alone."},
	ReasonAuthorization: {"The request has Authorization, and the response does not say that others may have it.", "RFC 9111 §3.5", "Let the origin add public, s-maxage or must-revalidate where the answer is for everybody."},
	ReasonStatus:        {"Responses with this status are not stored, or must-understand asks for a status that is understood.", ofStoring, ""},
	ReasonPartial:       {"The response is a part of something.", "RFC 9111 §3.3", ""},
	ReasonSetCookie:     {"The response sets a cookie, and nothing says that it is for everybody.", "RFC 9111 §7.3", "Let the origin leave the cookie out or state public or a lifetime, or see set_cookie."},
	ReasonVaryStar:      {"The response says Vary: *, so that no other request selects it.", "RFC 9111 §4.1", "Let the origin name the fields that the answer depends on; a Vary by what a proxy adds counts as *."},
	ReasonNoFreshness:   {"The response states no lifetime, there is no ground to guess one, or what there is makes it useless without a validator.", "RFC 9111 §4.2.1", "Let the origin send max-age or s-maxage, or set default_ttl, or negative for errors."},
	ReasonUnusable:      {"The response is stored, but each use needs validation, so requests that wait for it go to the origin.", ofReuse, "Let the origin state a lifetime."},
	ReasonTooLarge:      {"The body is larger than max_object.", ofConfig, "Raise cache.max_object."},
	ReasonNoMemory:      {"The memory budget is in use by responses that are being read.", ofConfig, "Raise cache.memory."},
	ReasonInvalidated:   {"An unsafe request or a purge came in while the response was on its way.", "RFC 9111 §4.4", ""},
	ReasonSuperseded:    {"A newer response was stored while the body was on its way.", ofReuse, ""},
	ReasonIncomplete:    {"The body ended before its length, or failed.", "RFC 9111 §3.3", ""},
	ReasonStaleKept:     {"The response is an error, and something is stored that may still serve.", "RFC 5861 §4", ""},
	ReasonHead:          {"The answer to HEAD has no body to store.", ofStoring, ""},
	ReasonHeadMatches:   {"The answer to HEAD has updated the stored response.", "RFC 9111 §4.3.5", ""},
	ReasonHeadDiffers:   {"The answer to HEAD is about another representation than the stored response, which is stale from now on.", "RFC 9111 §4.3.5", ""},

	ReasonOtherVariant: {"The response that came is for requests with other fields.", "RFC 9111 §4.1", "Let the origin name fewer fields in Vary."},
	ReasonFailed:       {"The fetch failed.", ofConfig, ""},
	ReasonDisconnected: {"No origin could be reached, and the stored response serves although it is stale.", "RFC 9111 §4.2.4", "See stale_on_disconnect."},
	ReasonOverload:     {"No origin was asked, since the edge is overloaded; a stored response serves although it is stale, where it may.", "RFC 9111 §4.2.4", "See overload."},
}

// Meaning says in one sentence what the reason means.
func (r Reason) Meaning() string { return r.text().meaning }

// Section is where the rule is from: an RFC's section, or "nearcast" for the edge's own.
func (r Reason) Section() string { return r.text().section }

// Change is what the operator may change to get another decision; "" for nothing.
func (r Reason) Change() string { return r.text().change }

func (r Reason) text() reasonText {
	if r < reasonCount {
		return reasonTexts[r]
	}
	return reasonText{}
}

// MarshalText is String, for logs and JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote. A word of another version is no Reason of this one, and no error.
func (r *Reason) UnmarshalText(text []byte) error {
	for *r = ReasonNone; *r < reasonCount && r.String() != string(text); {
		*r++
	}
	return nil
}
