package cache

import (
	"strings"
	"time"

	"nearcast/proxy/message"
)

// terms are what a stored response may be used for, worked out once when it is stored.
type terms struct {
	initialAge, lifetime time.Duration
	// staleWhileRevalidate and staleIfError are the directives' values (RFC 5861); staleIfErrorSet tells 0 from absent.
	staleWhileRevalidate, staleIfError time.Duration
	staleIfErrorSet                    bool
	// noCache: validate before every use.
	noCache bool
	// neverStale: must-revalidate, proxy-revalidate, s-maxage or no-cache forbid every stale use (RFC 9111 §4.2.4).
	neverStale bool
	// staleAsStated: but for what the response's own directives allow, as the service has it for s-maxage.
	staleAsStated bool
	// softened: a soft purge has made it stale, whatever clocks say.
	softened bool
}

// storing is a response on its way to the store: what the rules of storing decide by.
type storing struct {
	r    *message.Request
	resp *Response
	p    *Policy
	directives
	from lifetimeSource
	terms
}

// storingRule keeps a response out of the store where it applies.
type storingRule struct {
	reason  Reason
	applies func(s *storing) bool
}

// storable decides whether the response to r may be stored, and on which terms (RFC 9111 §3).
func storable(r *message.Request, resp *Response, p *Policy) (t terms, d directives, reason Reason) {
	s := newStoring(r, resp, p)
	if reason = s.refused(forbidding); reason == ReasonNone {
		reason = s.refused(wanting)
	}
	if reason != ReasonNone {
		return terms{}, s.directives, reason
	}
	return s.terms, s.directives, ReasonStored
}

func newStoring(r *message.Request, resp *Response, p *Policy) *storing {
	d, targeted := responseDirectives(resp.Fields, p)
	if p.SetCookie == CookieStrip {
		d.noCacheFields = append(d.noCacheFields, "set-cookie")
	}
	life, from := lifetime(resp, &d, targeted, p)
	forbids := d.has(flagMustRevalidate | flagProxyRevalidate | flagNoCache)
	return &storing{r: r, resp: resp, p: p, directives: d, from: from, terms: terms{
		initialAge: initialAge(resp), lifetime: life,
		staleWhileRevalidate: seconds(d.staleWhileRevalidate),
		staleIfError:         seconds(d.staleIfError), staleIfErrorSet: d.staleIfError != absent,
		noCache: d.has(flagNoCache),
		// An error that is stored for the service's sake keeps requests from a failing origin for its lifetime, and says nothing afterwards.
		neverStale:    forbids || d.sMaxAge != absent || resp.Status >= 500 && from == fromNegative,
		staleAsStated: !forbids && p.StaleWithSMaxAge,
	}}
}

// refused returns the reason of the first rule that applies.
func (s *storing) refused(rules []storingRule) Reason {
	for i := range rules {
		if rules[i].applies(s) {
			return rules[i].reason
		}
	}
	return ReasonNone
}

// wanting are the rules that look for what a response must have to be of use, once nothing forbids storing it.
var wanting = []storingRule{
	{ReasonNoFreshness, func(s *storing) bool { // RFC 9111 §3, last list
		return !s.from.explicit() && s.from != fromNegative && traitsOf(s.resp.Status)&heuristic == 0 && !s.has(flagPublic)
	}},
	{ReasonSetCookie, func(s *storing) bool { // nobody has said that it is for everybody (RFC 9111 §7.3)
		return !s.from.explicit() && !s.has(flagPublic) && setsCookie(s.resp.Fields, &s.directives)
	}},
	{ReasonNoFreshness, func(s *storing) bool { return !s.useful(s.p) && !hasValidator(s.resp.Fields) }},
}

// useful tells whether the response can ever serve without being validated.
func (t *terms) useful(p *Policy) bool {
	if t.noCache {
		return false
	}
	fresh := t.lifetime > t.initialAge
	// What has only been slow to come still serves who takes what is stale, and when no origin can be reached.
	late := t.lifetime > 0 && t.disconnectWindow(p) > 0
	return fresh || late || t.revalidateWindow() > 0 || t.errorWindow(p, 0) > 0
}

// forbidden looks for what rules storing out, whatever the freshness (RFC 9111 §3, §3.5, §4.1).
func forbidden(r *message.Request, resp *Response, d *directives, p *Policy) Reason {
	s := &storing{r: r, resp: resp, p: p, directives: *d}
	return s.refused(forbidding)
}

// forbidding are the rules that look for what rules storing out, whatever the freshness.
var forbidding = []storingRule{
	{ReasonHead, func(s *storing) bool { return s.r.Method == "HEAD" }},
	{ReasonMethod, func(s *storing) bool { return s.r.Method != "GET" }},
	{ReasonRequestNoStore, func(s *storing) bool { d := requestDirectives(s.r); return d.has(flagNoStore) }},
	{ReasonPartial, func(s *storing) bool { return s.resp.Status == 206 && s.resp.part == nil }},
	{ReasonStatus, func(s *storing) bool { // 425 is about the client's connection (RFC 8470 §5.2)
		return s.resp.Status < 200 || s.resp.Status > 599 || s.resp.Status == 304 || s.resp.Status == 425 ||
			s.has(flagMustUnderstand) && !s.understood()
	}},
	{ReasonNoStore, func(s *storing) bool { return s.has(flagNoStore) && !(s.has(flagMustUnderstand) && s.understood()) }}, // RFC 9111 §5.2.2.3
	{ReasonPrivate, func(s *storing) bool { return s.has(flagPrivate) }},
	{ReasonAuthorization, func(s *storing) bool {
		return s.r.Fields.Has("authorization") && !s.has(flagPublic|flagMustRevalidate) && s.sMaxAge == absent
	}},
	{ReasonVaryStar, func(s *storing) bool { return varyStar(s.resp.Fields) }},
	{ReasonSetCookie, func(s *storing) bool {
		return s.p.SetCookie == CookieRefuse && setsCookie(s.resp.Fields, &s.directives)
	}},
}

func (s *storing) understood() bool { return traitsOf(s.resp.Status)&understood != 0 }

// setsCookie reports whether a cookie would be stored.
func setsCookie(f message.Fields, d *directives) bool {
	return f.Has("set-cookie") && !d.strips("set-cookie")
}

// strips reports whether a qualified no-cache or private keeps the field out of the store.
func (d *directives) strips(name string) bool {
	for _, list := range [...][]string{d.noCacheFields, d.privateFields} {
		for _, n := range list {
			if n == name {
				return true
			}
		}
	}
	return false
}

func hasValidator(f message.Fields) bool { return f.Has("etag") || f.Has("last-modified") }

// notStored are the fields that are never stored: connection-specific ones (RFC 9111 §3.1), and what is made anew for every response.
func notStored(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade",
		"proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "age", "content-length":
		return true
	}
	return false
}

// storedFields is the part of f that is stored, in memory of its own. Date is added, or replaced, when it is missing or can't be read.
func storedFields(resp *Response, d *directives) message.Fields {
	listed := strings.ToLower(strings.Join(resp.Fields.Values("connection"), ","))
	keep := make(message.Fields, 0, len(resp.Fields)+1)
	_, dateValid, _ := dateField(resp.Fields, "date", resp.Received)
	for _, x := range resp.Fields {
		if notStored(x.Name) || d.strips(x.Name) || x.Name == "date" && !dateValid || listed != "" && listHas(listed, x.Name) {
			continue
		}
		keep = append(keep, x)
	}
	if !dateValid {
		keep.Add("date", formatDate(resp.Received))
	}
	return compact(keep)
}

func listHas(list, name string) bool {
	for list != "" {
		var m string
		if m, list = cutMember(list); m == name {
			return true
		}
	}
	return false
}

// compact makes the lines refer to one string of their own, so that they don't hold the buffer they were read from.
func compact(f message.Fields) message.Fields {
	var b strings.Builder
	b.Grow(stringBytes(f))
	for _, x := range f {
		b.WriteString(x.Name)
		b.WriteString(x.Value)
	}
	all := b.String()
	own := make(message.Fields, len(f))
	for i, x := range f {
		n, v := len(x.Name), len(x.Value)
		own[i] = message.Field{Name: all[:n], Value: all[n : n+v]}
		all = all[n+v:]
	}
	return own
}

func stringBytes(f message.Fields) int {
	n := 0
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value)
	}
	return n
}
