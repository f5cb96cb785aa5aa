package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// maxOffered bounds the entity tags that one fetch offers.
const maxOffered = 8

// Offered is the value of If-None-Match for a fetch that no stored variant fits: the tags of those that may turn out to be what r gets all the
// same, the newest first (RFC 9111 §4.1, RFC 9110 §13.1.2); "" when there are none. A 304 then selects one: see [Cache.Tagged].
func (c *Cache) Offered(key Key, r *message.Request) string {
	if r.Method != "GET" {
		return ""
	}
	s := c.shard(key.hash(c.seed))
	s.mu.Lock()
	defer s.mu.Unlock()
	var tags []string
	for _, e := range c.current(s, key.hash(c.seed), key) {
		if tag := e.obj.Fields.Get("etag"); e.offers(r) && len(tags) < maxOffered {
			tags = append(tags, tag)
		}
	}
	return strings.Join(tags, ", ")
}

// Tagged is the stored variant with that tag, of those that may be offered for r; nil when there is none. Of several with one tag, which says
// that their bytes are the same, it is the newest.
func (c *Cache) Tagged(key Key, r *message.Request, tag string) *Object {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range c.current(s, hash, key) {
		if !e.offers(r) || e.obj.Fields.Get("etag") != tag {
			continue
		}
		if e = c.serving(s, e); e != nil && e.obj.Trailers() == nil {
			return e.obj
		}
		return nil
	}
	return nil
}

// offers reports whether the variant may be taken for what r gets, when the origin says so by its tag. A weak tag is often that of several
// codings of one text, or languages, and some origins give a strong one to all codings.
func (e *entry) offers(r *message.Request) bool {
	o := e.obj
	if o.Status != 200 || o.part != nil || !strongTag(o.Fields.Get("etag")) {
		return false
	}
	if !o.Fields.Has("content-encoding") {
		return true
	}
	for _, s := range e.sel {
		if s.name == "accept-encoding" {
			return codingMatches(s.value, r.Fields)
		}
	}
	return false
}

// strongTag reports whether a tag is a strong one, to the letter: in a list, any other might be read as several.
func strongTag(tag string) bool {
	return strings.HasPrefix(tag, `"`) && validTag(tag)
}

// Confirmed is o's field section, as the origin sent it, with that of a 304 which selects o laid over it: that of a response to another request
// than o was stored for.
func (o *Object) Confirmed(fresh message.Fields, p *Policy) message.Fields {
	stored := make(message.Fields, 0, len(o.Fields))
	own := lastOf(o.Fields, "via") // which this hop has added
	for i, x := range o.Fields {
		if i != own {
			stored = append(stored, x)
		}
	}
	return updated(stored, fresh, p)
}

func lastOf(f message.Fields, name string) int {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].Name == name {
			return i
		}
	}
	return -1
}
