package cache

import (
	"slices"
	"time"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

// Inspection is what the store has for a request at one moment. Its JSON form is an interface. Durations are in seconds.
type Inspection struct {
	Key string `json:"key"`
	// Lookup is what would become of the request now.
	Lookup Verdict `json:"lookup"`
	// Stored is what memory has under the key, for whatever request, the newest first.
	Stored []StoredResponse `json:"stored"`
	// OnDisk: the disk has something of the URL, which a request that finds nothing in memory would look through.
	OnDisk bool `json:"on_disk"`
	// OtherKeys is the number of other keys of the URL that rules tell apart (cache.key).
	OtherKeys int `json:"other_keys"`
	// Fetches is the number of fetches under the key that requests can join now.
	Fetches int `json:"fetches"`
	// Unshared: the last answer could not be shared, so that for up to 10 s nobody waits for another's fetch.
	Unshared bool `json:"unshared"`
}

// StoredResponse is one stored response, or a part of one.
type StoredResponse struct {
	Status int `json:"status"`
	// Part is "" for a whole response, "bytes 0-99" for a part, "slices" for what the slices of a large one have in common.
	Part string `json:"part,omitempty"`
	// Selected: the request selects this variant (RFC 9111 §4.1). Verdict is on it alone, as if the request did.
	Selected bool        `json:"selected"`
	Verdict  Verdict     `json:"verdict"`
	Vary     []VaryField `json:"vary,omitempty"` // with the values of the request that it was made for
	Length   int64       `json:"length"`         // of the whole representation
	ETag     string      `json:"etag,omitempty"`
	Modified string      `json:"last_modified,omitempty"`
	Received time.Time   `json:"received"`
	Age      int64       `json:"age"`
	Lifetime int64       `json:"lifetime"`
	TTL      int64       `json:"ttl"` // negative when it is stale
	// Tags is the number of its tags; their names are not kept. AllTags: there were more than can be told apart, and every purge of a tag concerns it.
	Tags    int  `json:"tags"`
	AllTags bool `json:"all_tags,omitempty"`
	// Purged: a soft purge has made it stale.
	Purged bool `json:"purged"`
	// Codings are the content codings that it is kept in besides its own.
	Codings []string `json:"codings,omitempty"`
}

// Inspect says what is stored for r. It stores and fetches nothing, and counts as no use. What purges concern is settled first, as by a lookup.
func (c *Cache) Inspect(now time.Time, key Key, r *message.Request, p *Policy) *Inspection {
	out := &Inspection{Key: key.String(), Stored: []StoredResponse{}, OnDisk: c.tier().has(key)}
	o, missing := out.look(c, now, key, r, p)
	res := Result{State: Bypass, Reason: ReasonMethod}
	switch {
	case !p.Enabled:
		res.Reason = ReasonDisabled
	case r.Method == "GET" || r.Method == "HEAD":
		res = c.judgeFor(now, &key, o, missing, r, p)
	}
	out.Lookup = verdict(res.State.String(), res.Reason)
	return out
}

// look notes what there is, and returns what find would.
func (out *Inspection) look(c *Cache, now time.Time, key Key, r *message.Request, p *Policy) (o *Object, missing Reason) {
	hash, d := key.hash(c.seed), p.directivesOf(r)
	s := c.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := s.fills[hash]; f != nil; f = f.next {
		if f.key == key && !f.purged() {
			out.Fetches++
		}
	}
	for _, h := range s.kin.keys[key.urlHash(c.seed)] {
		if h != hash && s.table.has(h) {
			out.OtherKeys++
		}
	}
	out.Unshared = s.refuses(crowd(hash, r, false), now)
	for _, k := range [...]Key{key.extents(), key.head()} {
		for _, e := range c.current(s, hash, k) {
			out.Stored = append(out.Stored, e.inspected(now, r, &d, p))
		}
	}
	whole := c.current(s, hash, key)
	for i, e := range whole {
		out.Stored = slices.Insert(out.Stored, i, e.inspected(now, r, &d, p))
	}
	if e := match(whole, r); e != nil {
		return e.obj, ReasonNone
	}
	if i := slices.IndexFunc(whole, func(e *entry) bool { return e.inFirstLanguage(r) }); i >= 0 {
		return whole[i].obj, ReasonNoVariant
	}
	if len(whole) > 0 {
		return nil, ReasonNoVariant
	}
	return nil, ReasonNotStored
}

func (t *tier) has(key Key) bool { return t != nil && t.store.Has(t.urlHash(key)) }

// inspected is the entry as Inspect shows it. The shard is locked.
func (e *entry) inspected(now time.Time, r *message.Request, d *directives, p *Policy) StoredResponse {
	o := e.obj
	res := judge(now, o, d, p)
	out := StoredResponse{
		Status: o.Status, Selected: matches(e.sel, r), Verdict: verdict(res.State.String(), res.Reason), Length: o.Length,
		ETag: o.Fields.Get("etag"), Modified: o.Fields.Get("last-modified"), Received: o.received.UTC(),
		Age: floorSeconds(o.Age(now)), Lifetime: floorSeconds(o.lifetime), TTL: floorSeconds(o.TTL(now)),
		Tags: len(o.tags.hashes), AllTags: o.tags.all, Purged: o.softened,
	}
	switch {
	case e.key.part == headPart:
		out.Part = "slices"
	case o.part != nil:
		out.Part = o.part.Range.ContentRange(o.Length)
	}
	for _, s := range e.sel {
		out.Vary = append(out.Vary, newVaryField(s))
	}
	if o.coded != nil {
		for x := range o.coded.bodies.made {
			if o.coded.bodies.made[x].Load() != nil {
				out.Codings = append(out.Codings, coding.Coding(x).String())
			}
		}
	}
	return out
}
