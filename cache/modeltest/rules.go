package modeltest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Request is a request, as the client sent it or as the origin got it.
type Request struct {
	Method string
	Target string // path and query
	Fields message.Fields
	Body   bool
}

// Response is a response as the origin sent it.
type Response struct {
	Status int
	Fields message.Fields
	Body   string // all of it, also when it was cut
	Cut    bool   // the connection ended before the body did
	// Whole is of a 206 the representation that it is a part of. It is a function of the strong validator, where there is one.
	Whole string
	// Sent is when the request was made, Received when the header section came.
	Sent, Received time.Time
	// Began is when the first attempt for it was made, where there were several; may be zero.
	Began time.Time

	updated bool // by a 304, which may have changed what describes the body or not (RFC 9111 §3.2)
}

var (
	// understood are the status codes of RFC 9110 §15 that a cache knows the caching rules of.
	understood = []int{200, 201, 202, 203, 204, 205, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417,
		421, 422, 426, 500, 501, 502, 503, 504, 505}
	// heuristic are those that are "heuristically cacheable" (RFC 9110 §15.1).
	heuristic = []int{200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}
)

// storable says whether the response to r may be stored, and if not why. sure: nothing is doubtful about it, and a cache with
// this policy that has the room does store it.
func (m *Model) storable(r *Request, resp *Response) (why string, sure bool) {
	s, asked := responseSays(resp.Fields, m.Policy), requestSays(r.Fields)
	explicit := s.maxAge.there || s.sMaxAge.there || !s.targeted && len(Lines(resp.Fields, "expires")) > 0
	shared := s.public.said || s.sMaxAge.there
	known := slices.Contains(understood, resp.Status) || resp.Status == 206 && m.Policy.StorePartial
	cookie := len(Lines(resp.Fields, "set-cookie")) > 0 && !slices.Contains(s.hidden, "set-cookie")
	switch {
	case r.Method == "POST" && m.Policy.StorePost && explicit && m.sameTarget(r, resp): // RFC 9110 §9.3.3
	case r.Method != "GET":
		return "RFC 9111 §3: the method's answers are not stored", false
	}
	switch {
	case resp.Status < 200:
		return "RFC 9111 §3: not final", false
	case resp.Status == 304 || resp.Status == 206 && !m.Policy.StorePartial:
		return "RFC 9111 §3: 206 and 304 only by caches that understand them", false
	case resp.Status == 425:
		return "RFC 8470 §5.2: 425 is never stored", false
	case s.mustUnderstand.said && !known:
		return "RFC 9111 §5.2.2.3: must-understand, and the status code is not", false
	case s.noStore.said && !(s.mustUnderstand.said && known):
		return "RFC 9111 §5.2.2.5: no-store", false
	case asked.noStore.said:
		return "RFC 9111 §5.2.1.5: no-store in the request", false
	case s.private.said:
		return "RFC 9111 §5.2.2.7: private", false
	case len(Lines(r.Fields, "authorization")) > 0 && !shared && !s.mustRevalidate.said:
		return "RFC 9111 §3.5: Authorization", false
	case !explicit && !s.public.said && !slices.Contains(heuristic, resp.Status) && m.Policy.negative(resp.Status) == 0:
		return "RFC 9111 §3: no explicit freshness, and not heuristically cacheable", false
	case cookie && !m.mayKeepCookie(shared, explicit):
		return "policy: Set-Cookie", false
	case resp.Cut:
		return "RFC 9111 §3.3: incomplete", false
	}
	_, star := VaryNames(resp.Fields)
	doubts := s.doubtful || asked.doubtful || star || s.noStore.perhaps || s.private.perhaps || s.noCache.perhaps && !s.noCache.said ||
		s.mustUnderstand.perhaps || asked.noStore.perhaps || r.Method != "GET" || resp.Status == 206 || r.Body ||
		m.Policy.Forgetful || m.Policy.MaxObject > 0 && len(resp.Body) > m.Policy.MaxObject || resp.Status >= 500 && m.Policy.negative(resp.Status) > 0
	_, old := age(resp, resp.Received)
	return "", !doubts && (lifetime(resp, m.Policy).lo > old && !s.noCache.said || hasValidator(resp))
}

func (m *Model) mayKeepCookie(shared, explicit bool) bool {
	switch m.Policy.SetCookie {
	case CookieShared:
		return shared
	case CookieExplicit:
		return shared || explicit
	case CookieStripped:
		return true
	}
	return false
}

func hasValidator(resp *Response) bool {
	return len(Lines(resp.Fields, "etag"))+len(Lines(resp.Fields, "last-modified")) > 0
}

// failure are the status codes for which a stale response may serve instead (RFC 5861 §4).
func failure(status int) bool { return status == 500 || status >= 502 && status <= 504 }

// generated is when the response was (RFC 9110 §6.6.1).
func generated(resp *Response) time.Time {
	if t, ok := DateField(resp.Fields, "date", resp.Received); ok {
		return t
	}
	return resp.Received
}

// lifetime is the freshness lifetime (RFC 9111 §4.2.1).
func lifetime(resp *Response, p Policy) span {
	s := responseSays(resp.Fields, p)
	if s.sMaxAge.there {
		return s.sMaxAge
	}
	if s.maxAge.there {
		return s.maxAge
	}
	if lines := Lines(resp.Fields, "expires"); len(lines) > 0 && !s.targeted {
		t, ok := DateField(resp.Fields, "expires", resp.Received)
		if !ok || t.Before(generated(resp)) { // RFC 9111 §5.3: invalid is expired
			return span{there: true}
		}
		life := t.Sub(generated(resp))
		return span{true, life.Truncate(time.Second), life}
	}
	if d := p.negative(resp.Status); d > 0 {
		return span{false, d, d}
	}
	// RFC 9111 §4.2.2. A tenth of the time since the last change is what it suggests; and it is bounded here as elsewhere.
	if !slices.Contains(heuristic, resp.Status) && !s.public.said {
		return span{}
	}
	if t, ok := DateField(resp.Fields, "last-modified", resp.Received); ok {
		life := min(max(generated(resp).Sub(t)/10, 0), 24*time.Hour)
		return span{false, max(life-time.Second, 0), life + time.Second}
	}
	if resp.Status >= 400 {
		return span{}
	}
	life := span{hi: p.DefaultTTL}
	if slices.Contains(heuristic, resp.Status) {
		life.lo = life.hi
	}
	return life
}

// negative is the operator's lifetime of an error, 0 when there is none. A class is of the errors that are about the resource.
func (p Policy) negative(status int) time.Duration {
	if d, ok := p.Negative[strconv.Itoa(status)]; ok {
		return d
	}
	switch {
	case slices.Contains([]int{404, 405, 410, 451}, status):
		return p.Negative["4xx"]
	case slices.Contains([]int{500, 501, 502, 503, 504, 507, 508}, status):
		return p.Negative["5xx"]
	}
	return 0
}

// age is the current age (RFC 9111 §4.2.3). Date has whole seconds, which leaves one to choose.
func age(resp *Response, now time.Time) (lo, hi time.Duration) {
	date := generated(resp)
	apparent := max(resp.Received.Truncate(time.Second).Sub(date), 0)
	upper := max(resp.Received.Sub(date), 0)
	said, resident := Age(resp.Fields), now.Sub(resp.Received)
	began := resp.Sent
	if !resp.Began.IsZero() {
		began = resp.Began
	}
	return max(apparent, said+resp.Received.Sub(resp.Sent)) + resident, max(upper, said+resp.Received.Sub(began)) + resident
}

// selects says whether a stored response with that Vary, made for the request stored, answers r (RFC 9111 §4.1). exact: it does without any
// normalisation of the values.
func selects(stored, r *Request, resp *Response) (may, exact bool) {
	names, star := VaryNames(resp.Fields)
	if star {
		return false, false
	}
	may, exact = true, true
	for _, n := range names {
		a, b := Lines(stored.Fields, n), Lines(r.Fields, n)
		exact = exact && slices.Equal(a, b)
		if n == "accept-encoding" {
			a, b = accepted(a), accepted(b)
		}
		may = may && (len(a) == 0) == (len(b) == 0) && plain(n, a) == plain(n, b)
	}
	return may, may && exact
}

// plain is a field's value without what carries no meaning: white space around commas, how it is split into lines, and for what a client accepts
// case and order.
func plain(name string, lines []string) string {
	members, _ := List(lines)
	if strings.HasPrefix(name, "accept") {
		for i, m := range members {
			members[i] = strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(m, " ", ""), "\t", ""))
		}
		slices.Sort(members)
	}
	return strings.Join(members, ",")
}

// unsafe says whether a method must be expected to change something (RFC 9110 §9.2.1).
func unsafe(method string) bool {
	return !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "TRACE"}, method)
}
