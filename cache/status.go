package cache

// Outcome is what became of a request that Lookup could not answer.
type Outcome struct {
	Forwarded bool   // the request went to an origin, by itself or through a fill it waited for
	Status    int    // the origin's status code, 0 when there was none
	Stored    bool   // the answer is being stored
	Collapsed bool   // another request's fetch answered it
	Reason    Reason // of Respond or Wait: why it was not stored
}

// StatusField is the Cache-Status value for a request (RFC 9211), such as "nearcast; hit; ttl=30" or
// `nearcast; fwd=uri-miss; fwd-status=200; stored`.
func StatusField(res Result, out Outcome) string { return "nearcast" }
