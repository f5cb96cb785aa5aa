package cache

import (
	"slices"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Question is what Explain is asked: what becomes of a response, and of a later request like the first.
type Question struct {
	Service  string
	Request  *message.Request
	Response Response
	Policy   *Policy
	Config   Config
	// After is how long after the response the request comes again.
	After time.Duration
	// Past is why the request does not come as far as the cache; ReasonNone when it does.
	Past Reason
}

// Explanation is which rule decided, at each step. Its JSON form is an interface. Durations are in seconds.
type Explanation struct {
	Key string `json:"key"`
	// First is the request when nothing is stored, Store whether its answer is, Again a like request After later.
	First Verdict `json:"first"`
	Store Verdict `json:"store"`
	Again Verdict `json:"again"`
	// Freshness and Vary are of what is stored; nil when nothing is.
	Freshness *FreshnessTerms `json:"freshness,omitempty"`
	Vary      []VaryField     `json:"vary,omitempty"`
	// CacheStatus is what the later request's response says of it (RFC 9211); "" unless the store answers it.
	CacheStatus string `json:"cache_status,omitempty"`
}

// Verdict is one decision.
type Verdict struct {
	Decision string `json:"decision"` // a State's word; "stored" or "not stored"
	Reason   Reason `json:"reason"`
	Meaning  string `json:"meaning"`
	Section  string `json:"section"`
	Change   string `json:"change,omitempty"`
	// Rules are those that were tried, in their order: the last one decided. Only storing has them.
	Rules []TriedRule `json:"rules,omitempty"`
}

// TriedRule is a rule that the decision came upon.
type TriedRule struct {
	Reason  Reason `json:"reason"`
	Section string `json:"section"`
	Decided bool   `json:"decided"`
}

// FreshnessTerms are the terms on which a response is stored (RFC 9111 §4.2).
type FreshnessTerms struct {
	Source   string `json:"source"` // what the lifetime was taken from, such as "max-age"
	Lifetime int64  `json:"lifetime"`
	Age      int64  `json:"age"` // when it was received
	TTL      int64  `json:"ttl"` // then
	// How long past its freshness it may serve: while it is validated, when the origins fail, when none can be reached.
	StaleWhileRevalidate int64 `json:"stale_while_revalidate"`
	StaleIfError         int64 `json:"stale_if_error"`
	StaleOnDisconnect    int64 `json:"stale_on_disconnect"`
	Validate             bool  `json:"validate"` // before every use (no-cache)
}

// VaryField is a request field that selects the response (RFC 9111 §4.1), with the value that is compared.
type VaryField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Absent bool   `json:"absent"` // the request has none, and only such requests select it
}

// Explain says what the cache would do. It asks a cache of its own, by the calls that the pipeline makes, so that it can't say anything else; nothing
// that is stored anywhere counts.
func Explain(q *Question) *Explanation {
	now := q.Response.Received
	e := &Explanation{Key: q.Policy.KeyOf(q.Service, q.Request, nil).String()}
	if q.Past != ReasonNone {
		e.First = verdict(Bypass.String(), q.Past)
		e.Store, e.Again = verdict("not stored", q.Past), e.First
		return e
	}
	c := New(Config{Memory: explainMemory, MaxObject: q.Config.MaxObject}, nil)
	key := q.Policy.KeyOf(q.Service, q.Request, nil)
	first := c.Lookup(now, key, q.Request, q.Policy)
	e.First = verdict(first.State.String(), first.Reason)
	if first.State == Miss {
		e.store(c, key, q)
	} else {
		e.Store = verdict("not stored", first.Reason)
	}
	again := c.Lookup(now.Add(q.After), key, q.Request, q.Policy)
	e.Again = verdict(again.State.String(), again.Reason)
	if again.State == Hit || again.ServeStaleWhileRevalidate {
		e.CacheStatus = string(q.Policy.CacheStatus.Append(nil, &key, again, Outcome{}))
	}
	return e
}

// explainMemory has room for any header section, and for the tables of a cache that holds nothing else.
const explainMemory = 4 << 20

// store puts the response into c, if it may be, and notes the rules on the way.
func (e *Explanation) store(c *Cache, key Key, q *Question) {
	s := newStoring(q.Request, &q.Response, q.Policy)
	resp, body := q.Response, int64(0)
	if resp.Length <= c.maxObject { // a larger one must be refused; of others the body does not matter here
		resp.Length = body
	}
	f, _ := c.Begin(resp.Received, key, q.Request)
	w, reason := f.Respond(q.Request, resp, q.Policy)
	if w != nil {
		w.Commit(nil)
		e.Freshness, e.Vary = s.freshness(), varyFields(q.Response.Fields, q.Request)
		e.Store = verdict("stored", ReasonStored)
	} else {
		e.Store = verdict("not stored", reason)
	}
	e.Store.Rules = s.tried()
	if w == nil && reason != s.reason() {
		e.Store.Rules = append(e.Store.Rules, TriedRule{reason, reason.Section(), true}) // the store's own: it has no room
	}
}

func (s *storing) reason() Reason {
	if r := s.refused(forbidding); r != ReasonNone {
		return r
	}
	return s.refused(wanting)
}

// tried goes through the rules as storable does. A reason that several rules have is there once, with the last of them.
func (s *storing) tried() (all []TriedRule) {
	for _, rules := range [...][]storingRule{forbidding, wanting} {
		for i := range rules {
			t := TriedRule{rules[i].reason, rules[i].reason.Section(), rules[i].applies(s)}
			all = append(slices.DeleteFunc(all, func(before TriedRule) bool { return before.Reason == t.Reason }), t)
			if t.Decided {
				return all
			}
		}
	}
	return all
}

var sourceWords = [...]string{
	fromNothing: "nothing", fromSMaxAge: "s-maxage", fromMaxAge: "max-age", fromExpires: "Expires", fromNegative: "negative",
	fromLastModified: "heuristic", fromDefault: "default_ttl",
}

func (s *storing) freshness() *FreshnessTerms {
	t := &s.terms
	return &FreshnessTerms{
		Source: sourceWords[s.from], Lifetime: floorSeconds(t.lifetime), Age: floorSeconds(t.initialAge), TTL: floorSeconds(t.lifetime - t.initialAge),
		StaleWhileRevalidate: floorSeconds(t.revalidateWindow()), StaleIfError: floorSeconds(t.errorWindow(s.p, 0)),
		StaleOnDisconnect: floorSeconds(t.disconnectWindow(s.p)), Validate: t.noCache,
	}
}

func varyFields(resp message.Fields, r *message.Request) (all []VaryField) {
	for _, sel := range selectorsOf(resp, r) {
		all = append(all, newVaryField(sel))
	}
	return all
}

func newVaryField(s selector) VaryField {
	if s.value == absentField {
		return VaryField{Name: s.name, Absent: true}
	}
	return VaryField{Name: s.name, Value: s.value}
}

// VerdictOf is the verdict with that reason.
func VerdictOf(decision string, r Reason) Verdict { return verdict(decision, r) }

func verdict(decision string, r Reason) Verdict {
	return Verdict{Decision: decision, Reason: r, Meaning: r.Meaning(), Section: r.Section(), Change: strings.TrimSpace(r.Change())}
}
