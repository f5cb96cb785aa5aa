package cache

import (
	"net/url"
	"strings"

	"nearcast/proxy/message"
)

// Purge removes every variant of the key's URL, whatever else rules tell its keys apart by, and keeps a fill under way from storing one. It reports
// whether something was stored.
func (c *Cache) Purge(key Key) bool {
	had, _ := c.remove(key)
	return had
}

// remove is Purge, and reports also whether a deletion is to be written to disk.
func (c *Cache) remove(key Key) (had, noted bool) {
	key = key.url()
	defer c.purgeHints(key) // once the purge is noted: see NoteHints
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notePurge(hash)
	for f := s.fills[hash]; f != nil; f = f.next {
		if f.key == key { // unlisting leaves f.next alone
			c.unlist(s, f)
		}
	}
	dropped := c.dropAll(s, hash, key) + c.purgeKin(s, key, hash)
	c.counters.invalidations.Add(dropped)
	c.trim(s)
	had, noted = c.tier().purged(key)
	return had || dropped > 0, noted
}

// Invalidate removes what an unsafe request's answer has made obsolete (RFC 9111 §4.4): after a 2xx or 3xx, the target, and Location
// and Content-Location where they are of the same origin. It does nothing for safe methods and other status codes, so it
// may be called after every bypass. The policy's key rules count for it as for storing. It reports whether some of it may be on disk, where it is
// gone for good once [Cache.Sync] has returned.
func (c *Cache) Invalidate(service string, r *message.Request, p *Policy, status int, fields message.Fields) (onDisk bool) {
	if safe(r.Method) || status < 200 || status > 399 {
		return false
	}
	_, onDisk = c.remove(p.KeyOf(service, r, nil))
	for _, name := range [...]string{"location", "content-location"} {
		if target, ok := sameOrigin(r, fields.Get(name)); ok {
			other := *r
			other.Target = target
			_, noted := c.remove(p.KeyOf(service, &other, nil))
			onDisk = onDisk || noted
		}
	}
	return onDisk
}

// safe reports whether the method is known to be safe (RFC 9110 §9.2.1); of an unknown one the worst must be expected.
func safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// sameOrigin resolves a URI reference against the request's URL; false when it leaves the origin (RFC 9111 §4.4).
func sameOrigin(r *message.Request, ref string) (message.Target, bool) {
	if ref == "" {
		return message.Target{}, false
	}
	to, err := url.Parse(ref)
	if err != nil {
		return message.Target{}, false
	}
	base, err := url.Parse(r.Scheme + "://" + r.Authority + r.Target.String())
	if err != nil {
		return message.Target{}, false
	}
	u := base.ResolveReference(to)
	if u.Scheme != r.Scheme ||
		trimDefaultPort(u.Scheme, strings.ToLower(u.Host)) != trimDefaultPort(r.Scheme, r.Authority) {
		return message.Target{}, false
	}
	target, err := message.ParseTarget(u.RequestURI())
	return target, err == nil
}
