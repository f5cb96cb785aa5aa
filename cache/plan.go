package cache

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Plan is how to answer a request of which the cache has not all.
type Plan struct {
	// Status is 206 when Want is a range that was asked for, 200 when it is the whole. Both are known only with Pieces.
	Status int
	Want   Range
	// Pieces are Want's parts in order, those of the store and at most one that is missing. Nil when nothing of use is stored.
	Pieces []Piece
	// Ask is the value of the Range field for the origin: what is missing, or without Pieces what the client asked for. "" when nothing is.
	Ask string
	// IfRange is the value of the If-Range field (RFC 9110 §13.1.5), which has the origin send the whole when it has another version now, without
	// Pieces the client's own; "" for none.
	IfRange string
}

// Piece is a part of an answer.
type Piece struct {
	Object *Object // nil: missing
	Range  Range
}

// Have is the newest stored part that the plan uses, nil when there is none.
func (p *Plan) Have() (o *Object) {
	for i := range p.Pieces {
		if have := p.Pieces[i].Object; have != nil && (o == nil || have.received.After(o.received)) {
			o = have
		}
	}
	return o
}

// Fits reports whether o is what the pieces lack, and of their version.
func (p *Plan) Fits(o *Object) bool {
	for i := range p.Pieces {
		if p.Pieces[i].Object == nil && !o.Holds(p.Pieces[i].Range) {
			return false
		}
	}
	have := p.Have()
	return have != nil && o.SameVersion(have)
}

// Fields are the fields of the fetch.
func (p *Plan) Fields() message.Fields {
	f := message.Fields{{Name: "range", Value: p.Ask}}
	if p.IfRange != "" {
		f.Add("if-range", p.IfRange)
	}
	return f
}

// lookupParts answers from stored parts what no complete response can, or says which part to fetch. res is what Lookup found so far.
func (c *Cache) lookupParts(now time.Time, key Key, r *message.Request, d *directives, p *Policy, res Result) Result {
	var buf [MaxRanges]rangeSpec
	specs, ranged := rangeSet(r.Fields, buf[:0])
	ranged = ranged && len(specs) == 1 // several are answered from a whole
	if r.Method != "GET" {
		return c.lookupHead(now, key, r, d, p, res)
	}
	parts, stale, some := c.parts(now, key, r, d, p)
	if len(parts) == 0 {
		res.Untold = some && stale == nil
		if res = unanswered(r, d, res); res.State == Miss && ranged {
			if stale != nil && servesRange(r, stale) { // it may when no origin can
				own := judge(now, stale, d, p)
				own.Conditional = res.Conditional
				res = own
			}
			res.State, res.Part = Part, askFor(r, specs[0])
		}
		return res
	}
	newest := slices.MaxFunc(parts, func(a, b *Object) int { return a.received.Compare(b.received) })
	if hasOriginPrecondition(r) && !meetsPreconditions(r, newest) {
		return unanswered(r, d, res)
	}
	if o := servedBy(r, parts, newest); o != nil {
		own := judge(now, o, d, p)
		if own.Conditional = true; own.State != Hit {
			return unanswered(r, d, own)
		}
		return own
	}
	plan := newPlan(r, parts, newest)
	if plan != nil && plan.Ask == "" {
		own := judge(now, newest, d, p)
		own.State, own.Part, own.Conditional = Part, plan, res.Conditional
		return own
	}
	res.Untold = true
	if res = unanswered(r, d, res); res.State != Miss {
		return res
	}
	switch _, status := ParseRange(r, newest); {
	case plan != nil:
		res.State, res.Part = Part, plan
	case ranged && status == 206: // not so when If-Range is of another version
		res.State, res.Part = Part, askFor(r, specs[0])
	}
	return res
}

// lookupHead answers a HEAD by what parts or slices say of the whole (RFC 9110 §9.3.2).
func (c *Cache) lookupHead(now time.Time, key Key, r *message.Request, d *directives, p *Policy, res Result) Result {
	parts, _, _ := c.parts(now, key, r, d, p)
	if head := c.exactly(key.head(), r); head != nil {
		parts = append(parts, head)
	}
	if len(parts) == 0 {
		return unanswered(r, d, res)
	}
	newest := slices.MaxFunc(parts, func(a, b *Object) int { return a.received.Compare(b.received) })
	own := judge(now, newest, d, p)
	if own.State != Hit || !meetsPreconditions(r, newest) {
		return unanswered(r, d, res)
	}
	if own.Conditional = res.Conditional; newest.part != nil {
		head := *newest
		head.Status, head.part, head.body, head.encoded = 200, nil, unmade, nil
		own.Object = &head
	}
	return own
}

// askFor fetches what the client asks for: with its If-Range one request brings it, the part or the whole.
func askFor(r *message.Request, spec rangeSpec) *Plan {
	plan := &Plan{Ask: spec.String()}
	if v := r.Fields.Values("if-range"); len(v) == 1 {
		plan.IfRange = strings.Clone(v[0])
	}
	return plan
}

// parts returns what may serve r of the newest version that is stored in part, in the order of the bytes. Without any, stale is a part
// that may not. Parts without a strong validator have nothing to do with each other: then it is the newest alone. some tells whether there is any part,
// of whatever variant.
func (c *Cache) parts(now time.Time, key Key, r *message.Request, d *directives, p *Policy) (fresh []*Object, stale *Object, some bool) {
	hash := key.hash(c.seed)
	s := c.shard(hash)
	if some = s.hasExtents(hash, key); !some {
		return nil, nil, false
	}
	all, touching := c.extents(s, hash, key, r)
	if touching {
		s.mu.Lock()
		c.combine(s, key, hash, r, p)
		s.mu.Unlock()
		if o, reason := c.find(&key, r); reason == ReasonNone {
			return []*Object{o}, nil, true
		}
		all, _ = c.extents(s, hash, key, r)
	}
	for _, o := range all { // the newest first
		if judge(now, o, d, p).State != Hit {
			if stale == nil {
				stale = o
			}
			continue
		}
		if len(fresh) == 0 || o.SameVersion(fresh[0]) {
			fresh = append(fresh, o)
		}
	}
	slices.SortFunc(fresh, func(a, b *Object) int { return cmp.Compare(a.part.Start, b.part.Start) })
	return fresh, stale, some
}

// extents returns the stored parts for r, the newest first, and whether some of them might become one.
func (c *Cache) extents(s *shard, hash uint64, key Key, r *message.Request) (all []*Object, touching bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range selected(c.current(s, hash, key.extents()), r) {
		s.table.slot(e.id).touch()
		o := e.obj
		touching = touching || o.part.End-o.part.Start == o.Length
		for _, other := range all {
			touching = touching || o.part.Start <= other.part.End && other.part.Start <= o.part.End && o.SameVersion(other)
		}
		all = append(all, o)
	}
	slices.SortStableFunc(all, func(a, b *Object) int { return b.received.Compare(a.received) })
	return all, touching
}

// hasExtents reports whether there may be any: they are never packed.
func (s *shard) hasExtents(hash uint64, key Key) bool {
	key = key.extents()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for id := *s.table.head(hash); id != 0; {
		x := s.table.slot(id)
		if e := s.resident(x); x.hash == hash && e != nil && e.key == key {
			return true
		}
		id = x.chain
	}
	return false
}

// servedBy is the object that can answer r by itself: with a 304, with a 416, or with what it holds.
func servedBy(r *message.Request, parts []*Object, newest *Object) *Object {
	if EvaluateConditional(r, newest) == 304 {
		return newest
	}
	for _, o := range parts {
		if servesRange(r, o) {
			return o
		}
	}
	return nil
}

// servesRange reports whether o has all that r asks for.
func servesRange(r *message.Request, o *Object) bool {
	var buf [MaxRanges]Range
	ranges, status := ParseRanges(r, o, buf[:0])
	for _, rg := range ranges {
		if !o.Holds(rg) {
			return false
		}
	}
	return status != 200 || o.part == nil
}

// newPlan puts together what r asks for; nil when more than one piece is missing, or what is there can't be combined with what would come.
func newPlan(r *message.Request, parts []*Object, newest *Object) *Plan {
	plan := &Plan{Status: 200, Want: Range{0, newest.Length}}
	if rg, status := ParseRange(r, newest); status == 206 && rg != Several {
		plan.Status, plan.Want = status, rg
	}
	at := plan.Want.Start
	for _, o := range parts {
		held := Range{max(o.part.Start, at), min(o.part.End, plan.Want.End)}
		if held.Start >= held.End {
			continue
		}
		if !plan.missing(at, held.Start) {
			return nil
		}
		plan.Pieces = append(plan.Pieces, Piece{o, held})
		at = held.End
	}
	if len(plan.Pieces) == 0 || !plan.missing(at, plan.Want.End) {
		return nil
	}
	if plan.Ask != "" {
		if plan.IfRange = newest.validator(); plan.IfRange == "" {
			return nil
		}
	}
	return plan
}

// missing adds a gap; false when there is one already.
func (p *Plan) missing(from, to int64) bool {
	if from >= to {
		return true
	}
	if p.Ask != "" {
		return false
	}
	p.Pieces = append(p.Pieces, Piece{nil, Range{from, to}})
	spec := rangeSpec{from, to - 1}
	if to == p.Want.End && p.Status == 200 {
		spec.last = -1
	}
	p.Ask = spec.String()
	return true
}

// String is the spec as the value of a Range field.
func (s rangeSpec) String() string {
	b := append(make([]byte, 0, 48), "bytes="...)
	if s.first >= 0 {
		b = strconv.AppendInt(b, s.first, 10)
	}
	if b = append(b, '-'); s.last >= 0 {
		b = strconv.AppendInt(b, s.last, 10)
	}
	return string(b)
}
