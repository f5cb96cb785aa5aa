package cache

import (
	"hash/maphash"
	"strings"

	"nearcast/proxy/message"
)

// Key names a resource: everything but the variant (RFC 9111 §2). GET and HEAD share a key, so the method is no part of it.
// The scheme is: an http URL very often answers with a redirect to its https twin, and the two are different origins (RFC 9110 §4.3).
// The service is: two services never see each other's answers, whatever hosts they share over time.
//
// A key made from a request refers to that request's strings; the store keeps a copy of its own.
type Key struct {
	service, scheme, authority, path string
	query                            string // and behind it, with a NUL before each part, what the service's rules add
	hasQuery, selected               bool   // selected: rules added something
	part                             part
}

// KeyOf is the key of r within a service. A port that is the scheme's default is left out (RFC 9110 §4.2.3);
// everything else is taken as the front end normalised it.
func KeyOf(service string, r *message.Request) Key {
	return Key{
		service: service, scheme: r.Scheme, authority: trimDefaultPort(r.Scheme, r.Authority),
		path: r.Target.Path, query: r.Target.Query, hasQuery: r.Target.HasQuery,
	}
}

func trimDefaultPort(scheme, authority string) string {
	switch scheme {
	case "https":
		return strings.TrimSuffix(authority, ":443")
	case "http":
		return strings.TrimSuffix(authority, ":80")
	}
	return authority
}

// String is the key as a URL, without the service, and what the service's rules add to it, such as "https://example.com/a?b=1 device=mobile".
func (k Key) String() string {
	s := k.scheme + "://" + k.authority + k.path
	url, selected := k.split()
	if k.hasQuery {
		s += "?" + url.query
	}
	return s + strings.ReplaceAll(selected, string(selectedMark), " ")
}

// clone returns an equal key that shares no memory with k: a request's strings may be parts of a large buffer.
func (k Key) clone() Key {
	var b strings.Builder
	b.Grow(k.size())
	for _, s := range [...]string{k.service, k.scheme, k.authority, k.path, k.query} {
		b.WriteString(s)
	}
	all := b.String()
	next := func(s string) (part string) {
		part, all = all[:len(s)], all[len(s):]
		return part
	}
	return Key{
		service: next(k.service), scheme: next(k.scheme), authority: next(k.authority),
		path: next(k.path), query: next(k.query), hasQuery: k.hasQuery, selected: k.selected, part: k.part,
	}
}

// size is the number of bytes in the key's strings.
func (k Key) size() int {
	return len(k.service) + len(k.scheme) + len(k.authority) + len(k.path) + len(k.query)
}

// hash is the key's place in an index that has its own seed, so that no client can choose keys that collide.
func (k *Key) hash(seed maphash.Seed) uint64 {
	const mix = 0x9e3779b97f4a7c15
	if k.part != wholePart {
		whole := *k
		whole.part = wholePart
		h := whole.hash(seed)
		if k.part > 0 { // the others share the resource's place
			h = (h ^ uint64(k.part)) * mix
			h ^= h >> 32
		}
		return h
	}
	if k.selected {
		url, selected := k.split()
		return kinHash(seed, url.hash(seed), selected)
	}
	h := (maphash.String(seed, k.path) ^ maphash.String(seed, k.authority)*mix) * mix
	if k.hasQuery {
		h = (h ^ maphash.String(seed, k.query)) * mix
	}
	// Services and schemes are few, and not the client's to choose freely: where two of one length meet under one URL, the index chains them.
	h = (h ^ uint64(len(k.service))<<8 ^ uint64(len(k.scheme))) * mix
	return h ^ h>>32
}

// urlHash is the hash of the key of the URL alone.
func (k Key) urlHash(seed maphash.Seed) uint64 {
	url := k.url()
	return url.hash(seed)
}
