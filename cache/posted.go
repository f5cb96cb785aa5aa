package cache

import "nearcast/proxy/message"

// Posted returns a Writer for the answer to a POST that says of itself that it is what a GET of the same URL gets: a 200 with explicit
// freshness and the target's own URI in Content-Location (RFC 9110 §9.3.3). Nil for any other answer. It must be called after Invalidate, which
// would take out what it stores. Nobody waits for the body: it is the client's alone until it has been committed.
func (c *Cache) Posted(service string, r *message.Request, resp Response, p *Policy) *Writer {
	if r.Method != "POST" || resp.Status != 200 || !locatesItself(r, resp.Fields) || !codedForAll(r, resp.Fields) {
		return nil
	}
	asGet := *r
	asGet.Method = "GET"
	t, d, reason := storable(&asGet, &resp, p)
	_, targeted := responseDirectives(resp.Fields, p)
	if _, from := lifetime(&resp, &d, targeted, p); !from.explicit() || reason != ReasonStored || t.noCache || t.lifetime <= t.initialAge {
		return nil
	}
	key := p.KeyOf(service, &asGet, new(KeyBuffer))
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.Lock()
	f := c.newFill(s, key, hash)
	s.mu.Unlock()
	w, _ := f.Respond(&asGet, resp, p)
	return w
}

// locatesItself reports whether Content-Location is the request's own URL.
func locatesItself(r *message.Request, f message.Fields) bool {
	at := f.Values("content-location")
	if len(at) != 1 {
		return false
	}
	target, ok := sameOrigin(r, at[0])
	return ok && target == r.Target
}
