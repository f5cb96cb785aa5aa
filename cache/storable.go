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
}

// storable decides whether the response to r may be stored, and on which terms (RFC 9111 §3).
func storable(r *message.Request, resp *Response, p *Policy) (t terms, d directives, reason Reason) {
	d, targeted := responseDirectives(resp.Fields, p)
	if p.SetCookie == CookieStrip {
		d.noCacheFields = append(d.noCacheFields, "set-cookie")
	}
	if reason = forbidden(r, resp, &d, p); reason != ReasonNone {
		return t, d, reason
	}
	life, explicit := lifetime(resp, &d, targeted, p)
	if !explicit && traitsOf(resp.Status)&heuristic == 0 && !d.has(flagPublic) {
		return t, d, ReasonNoFreshness
	}
	if !explicit && !d.has(flagPublic) && setsCookie(resp.Fields, &d) {
		return t, d, ReasonSetCookie // nobody has said that it is for everybody (RFC 9111 §7.3)
	}
	forbids := d.has(flagMustRevalidate | flagProxyRevalidate | flagNoCache)
	t = terms{
		initialAge: initialAge(resp), lifetime: life,
		staleWhileRevalidate: seconds(d.staleWhileRevalidate),
		staleIfError:         seconds(d.staleIfError), staleIfErrorSet: d.staleIfError != absent,
		noCache:       d.has(flagNoCache),
		neverStale:    forbids || d.sMaxAge != absent,
		staleAsStated: !forbids && p.StaleWithSMaxAge,
	}
	if !t.useful(p) && !hasValidator(resp.Fields) {
		return t, d, ReasonNoFreshness
	}
	return t, d, ReasonStored
}

// useful tells whether the response can ever serve without being validated.
func (t *terms) useful(p *Policy) bool {
	if t.noCache {
		return false
	}
	fresh := t.lifetime > t.initialAge
	return fresh || t.revalidateWindow() > 0 || t.errorWindow(p, 0) > 0
}

// forbidden looks for what rules storing out, whatever the freshness (RFC 9111 §3, §3.5, §4.1).
func forbidden(r *message.Request, resp *Response, d *directives, p *Policy) Reason {
	traits := traitsOf(resp.Status)
	obeyNoStore := !(d.has(flagMustUnderstand) && traits&understood != 0) // RFC 9111 §5.2.2.3
	shared := d.has(flagPublic) || d.sMaxAge != absent
	switch {
	case r.Method == "HEAD":
		return ReasonHead
	case r.Method != "GET":
		return ReasonMethod
	case requestDirectives(r).has(flagNoStore):
		return ReasonRequestNoStore
	case resp.Status == 206:
		return ReasonPartial
	case resp.Status < 200 || resp.Status > 599 || resp.Status == 304 || resp.Status == 425: // 425 is about the client's connection (RFC 8470 §5.2)
		return ReasonStatus
	case d.has(flagMustUnderstand) && traits&understood == 0:
		return ReasonStatus
	case d.has(flagNoStore) && obeyNoStore:
		return ReasonNoStore
	case d.has(flagPrivate):
		return ReasonPrivate
	case r.Fields.Has("authorization") && !shared && !d.has(flagMustRevalidate):
		return ReasonAuthorization
	case varyStar(resp.Fields):
		return ReasonVaryStar
	case p.SetCookie == CookieRefuse && setsCookie(resp.Fields, d):
		return ReasonSetCookie
	}
	return ReasonNone
}

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
