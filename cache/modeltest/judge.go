package modeltest

import (
	"fmt"
	"strings"
	"time"
)

// use says whether h may answer r without being validated. why is the rule that forbids it, or "".
func (m *Model) use(h *held, r *Request, now time.Time) (why string) {
	s, asked := responseSays(h.response.Fields, m.Policy), requestSays(r.Fields)
	lo, _ := age(h.response, now)
	life := lifetime(h.response, m.Policy)
	staleness := h.staleness(lo-life.hi, now)
	if s.noCache.said {
		return "RFC 9111 §5.2.2.4: no-cache"
	}
	if m.Policy.ObeyRequests {
		switch {
		case asked.noCache.said:
			return "RFC 9111 §5.2.1.4: the request says no-cache"
		case asked.maxAge.there && lo > asked.maxAge.hi+max(asked.maxStale.hi, 0):
			return fmt.Sprintf("RFC 9111 §5.2.1.1: age %v, the request's max-age is less", lo)
		case asked.minFresh.there && -staleness < asked.minFresh.lo && !(asked.maxStale.there && staleness >= 0):
			return "RFC 9111 §5.2.1.3: min-fresh"
		}
	}
	switch {
	case staleness < 0:
		return ""
	case m.neverStale(s):
		return fmt.Sprintf("RFC 9111 §4.2.4: stale by %v, which its directives forbid", staleness)
	case m.Policy.ObeyRequests && asked.maxStale.there && staleness <= asked.maxStale.hi:
		return ""
	case s.swr.there && staleness <= s.swr.hi:
		return "" // RFC 5861 §3
	}
	return fmt.Sprintf("RFC 9111 §4: stale by %v", staleness)
}

// neverStale: RFC 9111 §4.2.4.
func (m *Model) neverStale(s says) bool {
	return s.noCache.said || s.mustRevalidate.said || s.proxyRevalidate.said || s.sMaxAge.there && m.Policy.SharedForbidsStale
}

// rescue says whether h may answer r because the origin failed: with an error, or by not answering.
func (m *Model) rescue(h *held, r *Request, now time.Time, answered bool) (why string) {
	s, asked := responseSays(h.response.Fields, m.Policy), requestSays(r.Fields)
	lo, _ := age(h.response, now)
	staleness := h.staleness(lo-lifetime(h.response, m.Policy).hi, now)
	window := m.Policy.StaleIfError
	if s.sie.there {
		window = s.sie.hi
	}
	window = max(window, asked.sie.hi)
	if !answered {
		window = max(window, m.Policy.StaleOnDisconnect)
	}
	switch {
	case s.noCache.said, staleness >= 0 && m.neverStale(s):
		return "RFC 9111 §4.2.4: stale use is forbidden"
	case staleness >= 0 && staleness > window:
		return fmt.Sprintf("RFC 5861 §4: stale by %v, and %v are allowed", staleness, window)
	}
	return ""
}

// mustUse is the held response that nothing at all stands against using, so that a cache that forwards makes itself useless; nil when there is
// none.
func (m *Model) mustUse(r *Request, now time.Time) *held {
	h := m.sureOne(r)
	if h == nil || len(Lines(r.Fields, "cache-control"))+len(Lines(r.Fields, "pragma")) > 0 {
		return nil
	}
	s := responseSays(h.response.Fields, m.Policy)
	_, hi := age(h.response, now)
	if s.noCache.perhaps || lifetime(h.response, m.Policy).lo <= hi || h.loose || !h.softened.IsZero() {
		return nil
	}
	return h
}

// sureOne is the one held response that a cache can select for r, nil when there may be none, or others.
func (m *Model) sureOne(r *Request) *held {
	all := m.candidates(r)
	if !m.Policy.Useful || r.Method != "GET" && r.Method != "HEAD" || r.Body || len(all) == 0 || len(Lines(r.Fields, "if-match"))+len(Lines(r.Fields, "if-unmodified-since")) > 0 {
		return nil
	}
	if _, exact := selects(all[0].request, r, all[0].response); !exact || !all[0].sure {
		return nil
	}
	return all[0]
}

// Check says what was wrong about an exchange, nil when nothing was. Call it before [Model.Learn].
func (m *Model) Check(x *Exchange) error {
	if m.purges(x) {
		return m.checkPurge(x)
	}
	if err := m.checkInformed(x); err != nil {
		return err
	}
	if h := m.mustUse(x.Request, x.At); h != nil && len(x.Forwards) > 0 && !x.Crowded {
		return fmt.Errorf("forwarded, while serial %s is fresh, and suits", serial(h.response.Fields))
	}
	for i := range x.Forwards {
		if err := m.checkForward(x, i); err != nil {
			return err
		}
	}
	if x.Left {
		return nil
	}
	var not []string
	for _, try := range []func(*Exchange) error{m.fromStore, m.gatewayTimeout, m.fromOrigin, m.confirmedAnswer, m.afterFailure} {
		err := try(x)
		if err == nil {
			return nil
		}
		not = append(not, err.Error())
	}
	return fmt.Errorf("the answer is none of those allowed:\n    - %s", strings.Join(not, "\n    - "))
}

// checkForward looks at what the origin was asked.
func (m *Model) checkForward(x *Exchange, i int) error {
	f, r := x.Forwards[i].Request, x.Request
	if asked := requestSays(r.Fields); asked.onlyIfCached.said && !asked.doubtful && (r.Method == "GET" || r.Method == "HEAD") && !m.mayRefresh(x) {
		return fmt.Errorf("RFC 9111 §5.2.1.7: forwarded, in spite of only-if-cached")
	}
	if f.Target != r.Target || f.Method != r.Method && !(f.Method == "GET" && r.Method == "HEAD") {
		return fmt.Errorf("the origin was asked for %s %s", f.Method, f.Target)
	}
	own, anyOwn := Tags(Lines(r.Fields, "if-none-match"))
	if m.Policy.Compress && unsafe(r.Method) {
		own = append(own, plainTags(own)...)
	}
	sent, anySent := Tags(Lines(f.Fields, "if-none-match"))
	if anySent && !anyOwn {
		return fmt.Errorf("RFC 9111 §4.3.1: If-None-Match: * is no validation")
	}
	for _, tag := range sent {
		if !contains(own, tag) && !m.someHolds(r.Target, "etag", tag) && !broughtBy(x.Forwards[:i], "etag", tag) {
			return fmt.Errorf("RFC 9111 §4.3.1: validated with %s, which is nothing's that is stored", tag)
		}
	}
	for _, date := range Lines(f.Fields, "if-modified-since") {
		if !contains(Lines(r.Fields, "if-modified-since"), date) && !m.someHolds(r.Target, "last-modified", date) && !broughtBy(x.Forwards[:i], "last-modified", date) {
			return fmt.Errorf("RFC 9111 §4.3.1: validated with %s, which is nothing's that is stored", date)
		}
	}
	for _, v := range Lines(f.Fields, "if-range") {
		if !contains(Lines(r.Fields, "if-range"), v) && !m.someHolds(r.Target, "etag", v) && !m.someHolds(r.Target, "last-modified", v) &&
			!broughtBy(x.Forwards[:i], "etag", v) && !broughtBy(x.Forwards[:i], "last-modified", v) {
			return fmt.Errorf("RFC 9110 §13.1.5: If-Range: %s, which is nothing's that is stored", v)
		}
	}
	return m.checkValidation(x, i, sent)
}

// mayRefresh: a stale response may be served, and refreshed behind it (RFC 5861 §3).
func (m *Model) mayRefresh(x *Exchange) bool {
	for _, h := range m.candidates(x.Request) {
		if responseSays(h.response.Fields, m.Policy).swr.there {
			return true
		}
	}
	return false
}

// checkValidation: what is stored, and stale, is validated with all its validators (RFC 9111 §4.3.1).
func (m *Model) checkValidation(x *Exchange, i int, sent []string) error {
	h := m.sureOne(x.Request)
	if h == nil || i > 0 || x.Crowded || !m.plainRequest(x.Request) || requestSays(x.Request.Fields).noStore.perhaps {
		return nil
	}
	if tag, ok := One(h.response.Fields, "etag"); ok && !contains(sent, tag) {
		return fmt.Errorf("RFC 9111 §4.3.1: serial %s is stored with entity tag %s, which the forwarded request does not name", serial(h.response.Fields), tag)
	}
	return nil
}

func (m *Model) someHolds(target, name, value string) bool {
	for _, h := range m.held {
		if v, ok := One(h.response.Fields, name); ok && v == value && m.url(h.request.Target) == m.url(target) {
			return true
		}
	}
	return false
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// serial tells responses apart: each has one of its own.
func serial(f interface{ Get(string) string }) string { return f.Get("x-serial") }
