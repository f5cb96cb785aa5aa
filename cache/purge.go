package cache

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Purged is what a purge came to.
type Purged struct {
	// Seq is the number of the last event of it.
	Seq uint64
	// Objects is how many stored responses it concerned, -1 where that is not known: they are found when they are next asked for, or by
	// the sweep.
	Objects int64
}

// purgeable is what an object is compared with purges by.
type purgeable struct {
	// began is the number of the last purge when the fetch began: what is purged later may be older than the purge.
	began uint64
	tags  tagSet
}

// PurgeTier is a store behind this one, which has to make purges last.
type PurgeTier interface {
	// Purged is called with every event in the order of their numbers. It must neither block nor call the cache.
	Purged(PurgeEvent)
	// Applied is the number of the last event that everything in the tier has been compared with.
	Applied() uint64
}

// AttachPurges makes a tier hear of purges. It is called before the cache is used.
func (c *Cache) AttachPurges(t PurgeTier) {
	c.purges.mu.Lock()
	defer c.purges.mu.Unlock()
	c.purges.tier = t
}

// PurgeSeq is the number of the last purge.
func (c *Cache) PurgeSeq() uint64 { return c.purges.seq.Load() }

// PurgeLog is what must be kept so that purges hold after a restart: the last event of each target that is not yet known to be everywhere, in
// order. It has a bounded length.
func (c *Cache) PurgeLog() []PurgeEvent { return c.purges.log() }

// ApplyPurges makes this edge's own events of an earlier life count again. seq is the number of the last event of that life, known or
// not: no object that is brought back may have begun after it. It may be called at any time, and with the same events again.
func (c *Cache) ApplyPurges(seq uint64, events ...PurgeEvent) { c.purges.apply(seq, events) }

// PurgeAll purges everything of a service, of all services when it is "". With soft it is stale from now on: it may serve where a stale response
// may (RFC 9111 §4.2.4, RFC 5861), and be validated.
func (c *Cache) PurgeAll(now time.Time, service string, soft bool) Purged {
	p := Purged{Seq: c.purge(now, soft, purgeTarget{kind: PurgeAll, service: serviceHash(service)}), Objects: -1}
	if service == "" {
		p.Objects = c.objects.Load()
	}
	return p
}

// PurgeTag purges every response that has the tag, of a service or of all. Case does not count.
func (c *Cache) PurgeTag(now time.Time, service, tag string, soft bool) (Purged, error) {
	tag = strings.Trim(tag, " \t")
	switch {
	case tag == "":
		return Purged{}, errors.New("a tag must not be empty")
	case len(tag) > maxTagLength:
		return Purged{}, fmt.Errorf("a tag must have at most %d bytes", maxTagLength)
	}
	return Purged{c.purge(now, soft, purgeTarget{kind: PurgeTag, service: serviceHash(service), hash: tagHash(tag)}), -1}, nil
}

// PurgePrefix purges every URL that begins with prefix, of a service or of all: scheme://host/path, the path being any number of characters, and
// the query counting as the path's end. It is normalised as requests are. Keys without a scheme or host are compared by the rest.
func (c *Cache) PurgePrefix(now time.Time, service, prefix string, soft bool) (Purged, error) {
	scheme, authority, target, err := SplitURL(prefix)
	if err != nil {
		return Purged{}, err
	}
	for segment := range strings.SplitSeq(pathOf(prefix), "/") {
		if segment == "." || segment == ".." {
			return Purged{}, errors.New(`a prefix must not have "." or ".." as a segment`)
		}
	}
	p := Purged{Objects: -1}
	authority = trimDefaultPort(scheme, authority)
	for _, k := range [...]Key{{scheme: scheme, authority: authority}, {scheme: scheme}, {authority: authority}, {}} {
		full := Key{scheme: k.scheme, authority: k.authority, path: target.Path, query: target.Query, hasQuery: target.HasQuery}.String()
		if len(full) > maxPurgePrefix {
			return Purged{}, fmt.Errorf("a prefix must have at most %d bytes", maxPurgePrefix)
		}
		t := purgeTarget{kind: PurgePrefix, service: serviceHash(service), hash: fnv(fnvBasis, full), length: uint16(len(full))}
		p.Seq = c.purges.record(now, soft, t)
	}
	c.purges.counted(PurgePrefix, soft)
	return p, nil
}

// PurgeURL purges every variant of the key's URL in the key's service, and what is stored under keys that differ in what is no part of the URL.
func (c *Cache) PurgeURL(now time.Time, key Key, soft bool) Purged {
	key = key.url()
	target := purgeTarget{kind: PurgeURL, service: serviceHash(key.service), hash: fnv(fnvBasis, key.String())}
	p := Purged{Seq: c.purge(now, soft, target)}
	hash := key.hash(c.seed)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range append(slices.Clone(s.kin.keys[hash]), hash) {
		found := c.variantsWhere(s, h, func(k *Key) bool { return k.url() == key })
		p.Objects += int64(len(found))
		for _, e := range found {
			c.settle(s, e)
		}
	}
	c.trim(s)
	return p
}

func (c *Cache) purge(now time.Time, soft bool, target purgeTarget) uint64 {
	c.purges.counted(target.kind, soft)
	return c.purges.record(now, soft, target)
}

// SplitURL takes a URL apart, the target normalised as requests' are and the authority in lower case. Without a path it is "/".
func SplitURL(raw string) (scheme, authority string, target message.Target, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "http" && scheme != "https" {
		return "", "", target, errors.New("must be a URL such as https://example.com/path")
	}
	authority, _ = splitAuthority(rest)
	if authority == "" || strings.ContainsAny(authority, "@ \t") {
		return "", "", target, errors.New("must have a host, without a user name")
	}
	if target, err = message.ParseTarget(pathOf(raw)); err != nil {
		return "", "", target, errors.New("has a malformed path or query")
	}
	return scheme, strings.ToLower(authority), target, nil
}

func splitAuthority(rest string) (authority, path string) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[:i], rest[i:]
	}
	return rest, ""
}

// pathOf is the path and query of a URL, as they stand there.
func pathOf(raw string) string {
	_, rest, _ := strings.Cut(raw, "://")
	_, path := splitAuthority(rest)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return path
}

// untouched compares an entry with the purges since it last was, and reports whether none concerns it. The shard is locked, for reading at least.
func (c *Cache) untouched(x *slot, e *entry) bool { return c.untouchedBy(x, &e.key, e.obj) }

// untouchedBy is untouched for what lies in the slot under the key.
func (c *Cache) untouchedBy(x *slot, key *Key, o *Object) bool {
	checked := x.checked.Load()
	if checked == c.purges.seq.Load() {
		return true
	}
	v, upTo := c.purges.judge(key, &o.tags, max(checked, o.began))
	if v.untouched() {
		x.checked.Store(upTo) // a race may set it back, which costs another comparison
	}
	return v.untouched()
}

// settle does to an entry what purges want, and reports whether it is still there. The shard is locked.
func (c *Cache) settle(s *shard, e *entry) bool {
	x := s.table.slot(e.id)
	v, upTo := c.purges.judge(&e.key, &e.obj.tags, max(x.checked.Load(), e.obj.began))
	if v.hard {
		if c.drop(s, e) {
			c.counters.invalidations.Inc()
			c.counters.reclaimed.Inc()
		}
		return false
	}
	if v.soft {
		o := *e.obj
		o.soften(v.softAt)
		if !c.repack(s, e, &o) {
			c.drop(s, e)
			return false
		}
		e.obj = &o
		c.counters.softened.Inc()
	}
	x.checked.Store(upTo)
	return true
}

// current are the variants of a key once purges have had their way. The shard is locked.
func (c *Cache) current(s *shard, hash uint64, key Key) []*entry {
	return slices.DeleteFunc(c.variants(s, hash, key), func(e *entry) bool { return !c.settle(s, e) })
}

// comparedWithPurges is what purges have done to what the fill brings, and what the slot is to know: an object that a soft purge concerns
// is found to be when it is next asked for. The shard is locked.
func (f *Fill) comparedWithPurges(o *Object) (v purgeVerdict, checked uint64) {
	v, checked = f.c.purges.judge(&f.key, &o.tags, f.began)
	if v.soft {
		checked = f.began
	}
	return v, checked
}

// purged reports whether what the fill brings is from before a purge that concerns it, as far as is known. The shard is locked, or the fill decided.
func (f *Fill) purged() bool {
	var tags *tagSet
	if f.obj != nil {
		tags = &f.obj.tags
	}
	v, _ := f.c.purges.judge(&f.key, tags, f.began)
	return !v.untouched()
}

// soften makes an object that nobody has yet stale since at.
func (o *Object) soften(at time.Time) {
	o.softened = true
	o.lifetime = min(o.lifetime, o.Age(at))
}
