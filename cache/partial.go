package cache

import (
	"errors"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// A 206 is stored as an incomplete response (RFC 9111 §3.3): an Object with Status 206, the Length of the whole and an extent that says what of
// it the body is. The extents of a resource are variants under a key of their own, which shares its place in the index with the resource's,
// so that whatever concerns the resource finds them. Those with one strong validator are one incomplete response (§3.4): what they have
// together is served together, and they become one body, at last the complete one, when nobody reads them.

// ErrNotHeld: the object is a part, and not the one that is asked for.
var ErrNotHeld = errors.New("cache: the stored part does not have that range")

// part tells the keys of one resource apart. A positive one is a slice's number plus one.
type part int64

const (
	wholePart   part = 0
	extentsPart part = -1 // stored parts
	headPart    part = -2 // what the slices have in common
)

func (k Key) extents() Key { k.part = extentsPart; return k }

func (k Key) head() Key { k.part = headPart; return k }

// extent is what of a representation a stored part is.
type extent struct {
	Range
	gen uint64 // of a slice: its head's
}

// within is rg as it lies in the object's body; false when the object is a part and lacks some of it.
func (o *Object) within(rg Range) (Range, bool) {
	if o.part == nil {
		return rg, true
	}
	from := o.part.Start
	return Range{rg.Start - from, rg.End - from}, rg.Start >= from && rg.End <= o.part.End
}

// bodyLength is the length of what is stored, which of a part is less than Length.
func (o *Object) bodyLength() int64 {
	if o.part != nil {
		return o.part.End - o.part.Start
	}
	return o.Length
}

// Extent is what of the representation the object's body is, and whether that may be less than all of it.
func (o *Object) Extent() (rg Range, partial bool) {
	if o.part == nil {
		return Whole, false
	}
	return o.part.Range, true
}

// Holds reports whether the object has all of rg.
func (o *Object) Holds(rg Range) bool {
	_, ok := o.within(rg)
	return ok && (o.part != nil || rg.End <= o.Length)
}

// strongValidator is what tells the version apart byte for byte: a strong entity tag, or without a tag a Last-Modified that is at least a second
// before Date (RFC 9110 §8.8.1, §8.8.2.2). "" when there is none.
func strongValidator(f message.Fields, received time.Time) string {
	if tag := f.Get("etag"); tag != "" {
		if !strings.HasPrefix(tag, `"`) {
			return ""
		}
		return tag
	}
	modified, known, _ := dateField(f, "last-modified", received)
	date, dated, _ := dateField(f, "date", received)
	if !known || !dated || date.Sub(modified) < time.Second {
		return ""
	}
	return f.Get("last-modified")
}

func (o *Object) validator() string { return strongValidator(o.Fields, o.received) }

// SameVersion reports whether parts of both may be combined (RFC 9111 §3.4, RFC 9110 §15.3.7.3).
func (o *Object) SameVersion(other *Object) bool {
	v := o.validator()
	return v != "" && v == other.validator() && o.Length == other.Length
}

// BeginPart is Begin for the fetch of a range; ask is [Plan.Ask]. A fetch of the whole that has come that far, or nearly, serves as well. The leader
// ends the fill with RespondPart instead of Respond.
func (c *Cache) BeginPart(now time.Time, key Key, r *message.Request, ask string) (f *Fill, leader bool) {
	return c.begin(now, key, r, ask)
}

// refuses reports whether the answer to such a request is remembered as not to be shared: any, or of a part that part's. The shard is locked.
func (c *Cache) refuses(s *shard, hash uint64, r *message.Request, ask string, now time.Time) bool {
	return s.refuses(crowd(hash, r, ask != ""), now) || ask != "" && s.refuses(c.crowdAsking(hash, r, ask), now)
}

// crowdAsking is crowd for one range.
func (c *Cache) crowdAsking(hash uint64, r *message.Request, ask string) uint64 {
	return crowd(hash^maphash.String(c.seed, ask), r, true)
}

// remember notes that the answer could not be shared, for that reason. Some concern no other range. The shard is locked.
func (f *Fill) remember(r *message.Request, reason Reason, at time.Time) {
	h := crowd(f.hash, r, f.ask != "")
	switch {
	case f.ask == "":
	case reason == ReasonTooLarge, reason == ReasonNoMemory, reason == ReasonStatus, reason == ReasonPartial:
		h = f.c.crowdAsking(f.hash, r, f.ask)
	}
	f.c.shard(f.hash).remember(h, at.Add(refusalTime))
}

// reaches reports whether a fetch of the whole will soon have what r asks for. The shard is locked.
func (f *Fill) reaches(r *message.Request) bool {
	if f.ask != "" || f.obj == nil || f.obj.Length < 0 || !r.Fields.Has("range") {
		return false
	}
	rg, status := ParseRange(r, f.obj)
	return status != 206 || rg == Several || rg.Start <= f.obj.body.arrived()+window
}

// RespondPart is Respond for the answer to a request for a range. have is what the fetch is to complete, or nil: an answer of the same version updates its
// fields, as a 304 would. Only a 206 with one range of a known length is stored as a part, as far as its body goes (RFC 9111 §3.3, RFC 9112 §8); any
// other status but 416 is an answer for the whole.
func (f *Fill) RespondPart(r *message.Request, resp Response, have *Object, p *Policy) (*Writer, Reason) {
	switch resp.Status {
	case 416: // an answer to this range, and to no request without one
		f.refuse(r, &resp, ReasonStatus)
		return nil, ReasonStatus
	case 206:
		rg, total, ok := parseContentRange(resp.Fields)
		if !ok || total < 0 || resp.Length == 0 || resp.Length > rg.End-rg.Start || isMultipart(resp.Fields) {
			f.refuse(r, &resp, ReasonPartial)
			return nil, ReasonPartial
		}
		if resp.Length > 0 {
			rg.End = rg.Start + resp.Length
		}
		resp.part, resp.whole, resp.Length = &extent{rg, 0}, total, rg.End-rg.Start
		resp.Fields = ofRepresentation(resp.Fields)
		if have != nil && have.Length == total && strongValidator(resp.Fields, resp.Received) == have.validator() && have.validator() != "" {
			resp.Fields, resp.tags = updated(have.Fields, resp.Fields, p), have.tags
		}
	}
	return f.Respond(r, resp, p)
}

// isMultipart reports whether a 206 says that it has several ranges, whatever its Content-Range (RFC 9110 §15.3.7.2).
func isMultipart(f message.Fields) bool {
	const kind = "multipart/byteranges"
	v := f.Get("content-type")
	return len(v) >= len(kind) && strings.EqualFold(v[:len(kind)], kind)
}

// OfContent reports whether a field is about the bytes of one message and not about the representation: where it is (RFC 9110 §14.4), or a digest of
// just these bytes (RFC 9530 §2, RFC 1864).
func OfContent(name string) bool {
	switch name {
	case "content-range", "content-digest", "content-md5":
		return true
	}
	return false
}

// SaysOfContent reports whether the object has such a field, which a part of its body must go without.
func (o *Object) SaysOfContent() bool {
	return slices.ContainsFunc(o.Fields, func(x message.Field) bool { return OfContent(x.Name) })
}

// ofRepresentation is a copy of f with what is true of any part.
func ofRepresentation(f message.Fields) message.Fields {
	return slices.DeleteFunc(f.Clone(), func(x message.Field) bool { return OfContent(x.Name) })
}

// publishExtent puts a part that has come beside those of its version, and takes the place of those of another. The shard is locked, with a free
// slot where there is room. v is what purges make of it.
func (w *Writer) publishExtent(s *shard, e *entry, room bool, v purgeVerdict, reason Reason) Reason {
	f, c, o := w.fill, w.fill.c, e.obj
	old := selected(c.current(s, f.hash, f.key.extents()), w.request)
	whole := match(c.current(s, f.hash, f.key), w.request)
	switch {
	case !room:
		reason = ReasonNoMemory
	case s.purgedSince(f), !v.untouched():
		reason = ReasonInvalidated
	case whole != nil && (whole.obj.received.After(o.received) || o.validator() == "" || whole.obj.SameVersion(o)):
		reason = ReasonSuperseded // the part would never be found, until it is old
	}
	for _, e := range old {
		if !e.obj.SameVersion(o) && e.obj.received.After(o.received) {
			reason = ReasonSuperseded
		}
	}
	if reason != ReasonStored {
		c.counters.reject(reason)
		c.budget.release(w.cost)
		o.body.detach()
		c.trim(s)
		return reason
	}
	if whole != nil { // of the version before
		c.drop(s, whole)
		c.tier().removed(f.key, whole.sel)
	}
	c.place(s, f.key.extents(), f.hash, e, func(old *entry) bool {
		return matches(old.sel, w.request) && (!old.obj.SameVersion(o) || o.Holds(old.obj.part.Range))
	})
	c.counters.partials.Inc()
	c.combine(s, f.key, f.hash, w.request, w.policy)
	return ReasonStored
}

// selected are the variants that r selects.
func selected(variants []*entry, r *message.Request) (all []*entry) {
	for _, e := range variants {
		if matches(e.sel, r) {
			all = append(all, e)
		}
	}
	return all
}

// dropExtents drops the parts that a complete response for r makes needless. The shard is locked.
func (c *Cache) dropExtents(s *shard, key Key, hash uint64, r *message.Request) {
	if key.part != wholePart {
		return
	}
	for _, e := range selected(c.variants(s, hash, key.extents()), r) {
		c.drop(s, e)
	}
}
