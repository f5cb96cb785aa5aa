package modeltest

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fromStore: a stored response answers without being validated (RFC 9111 §4).
func (m *Model) fromStore(x *Exchange) error {
	if x.Request.Method != "GET" && x.Request.Method != "HEAD" {
		return errors.New("from the store: the method goes to the origin")
	}
	all := m.usable(x.Request)
	not, ok := m.oneGiven(x, all, func(h *held) string { return m.use(h, x.Request, x.At) })
	if ok {
		return nil
	}
	return fmt.Errorf("from the store: %d suit; %s", len(all), not)
}

// oneGiven says whether one of those that may serve, as barred says nothing against it, is what the client got; else why none is.
func (m *Model) oneGiven(x *Exchange, all []*held, barred func(*held) string) (not string, ok bool) {
	var reasons []string
	for _, h := range all {
		why := barred(h)
		if why == "" {
			err := m.given(x, h)
			if err == nil {
				return "", true
			}
			why = err.Error()
		}
		reasons = append(reasons, fmt.Sprintf("serial %s: %s", serial(h.response.Fields), why))
	}
	return strings.Join(reasons, "; "), false
}

// given says whether h, unvalidated, is what the client got.
func (m *Model) given(x *Exchange, h *held) error {
	if err := m.renders(x, h.response, true); err != nil {
		return err
	}
	for _, name := range responseSays(h.response.Fields, m.Policy).hidden { // RFC 9111 §5.2.2.4, §5.2.2.7
		if len(Lines(x.Answer.Fields, name)) > 0 && name != "x-serial" {
			return fmt.Errorf("has field %s, which must not be stored", name)
		}
	}
	if m.Policy.SetCookie == CookieStripped && len(Lines(x.Answer.Fields, "set-cookie")) > 0 {
		return errors.New("has a cookie, which must not be stored")
	}
	for _, cookie := range Lines(x.Answer.Fields, "set-cookie") {
		if !contains(Lines(h.response.Fields, "set-cookie"), cookie) {
			return errors.New("has a cookie that the stored response has not")
		}
	}
	if x.Answer.Status == 416 {
		return nil
	}
	return checkAge(x, h)
}

// checkAge: RFC 9111 §4, §5.1.
func checkAge(x *Exchange, h *held) error {
	v, ok := One(x.Answer.Fields, "age")
	n, err := strconv.ParseInt(v, 10, 33)
	got, number := time.Duration(n)*time.Second, err == nil && digitsRE.MatchString(v)
	lo, _ := age(h.response, x.At)
	_, hi := age(h.response, x.Answered)
	lo, hi = lo.Truncate(time.Second), hi.Truncate(time.Second)
	if !ok || !number || got < lo || got > hi && !h.loose {
		return fmt.Errorf("age %q, not within [%v,%v]", v, lo, hi)
	}
	return nil
}

// gatewayTimeout: only-if-cached, and nothing may serve (RFC 9111 §5.2.1.7).
func (m *Model) gatewayTimeout(x *Exchange) error {
	if s := requestSays(x.Request.Fields); x.Answer.Status != 504 || !s.onlyIfCached.perhaps || len(x.Forwards) > 0 {
		return errors.New("504 for only-if-cached: not so")
	}
	if h := m.mustUse(x.Request, x.At); h != nil {
		return fmt.Errorf("504 for only-if-cached: serial %s is fresh", serial(h.response.Fields))
	}
	return nil
}

// fromOrigin: the origin's answer is passed on, or the client's conditions and range applied to it.
func (m *Model) fromOrigin(x *Exchange) error {
	var not []string
	for _, f := range x.Forwards {
		if f.Response == nil {
			continue
		}
		err := m.renders(x, f.Response, false)
		if f.Response.Cut && x.Answer.Status == 502 {
			err = nil
		}
		if err == nil {
			return nil
		}
		not = append(not, fmt.Sprintf("serial %s: %v", serial(f.Response.Fields), err))
	}
	return fmt.Errorf("passed on: %s", strings.Join(not, "; "))
}

// confirmedAnswer: the origin said that a stored response is still right (RFC 9111 §4.3.3), or sent what it lacks (§3.4).
func (m *Model) confirmedAnswer(x *Exchange) error {
	var not []string
	for i := range x.Forwards {
		f := &x.Forwards[i]
		if f.Response == nil || f.Response.Status != 304 && f.Response.Status != 206 {
			continue
		}
		of := m.confirmed(x.Request, f)
		if f.Response.Status == 206 {
			of = m.sameVersion(x.Request, f.Response)
		}
		for _, before := range x.Forwards[:i] { // in the same exchange, as slices are
			if v := Strong(f.Response); v != "" && before.Response != nil && Strong(before.Response) == v {
				of = append(of, &held{request: x.Request, response: before.Response})
			}
		}
		for _, h := range of {
			for _, resp := range []*Response{m.freshen(x.Request, f, h).response, h.response} {
				err := m.renders(x, resp, false)
				if err == nil {
					return nil
				}
				not = append(not, fmt.Sprintf("serial %s: %v", serial(resp.Fields), err))
			}
		}
	}
	return fmt.Errorf("confirmed by a 304: %s", strings.Join(not, "; "))
}

// afterFailure: the origin failed. A stale response may serve, or the client is told (RFC 9111 §4.2.4, RFC 5861 §4).
func (m *Model) afterFailure(x *Exchange) error {
	if len(x.Forwards) == 0 {
		return errors.New("after a failure: there was none")
	}
	last := x.Forwards[len(x.Forwards)-1].Response
	if last != nil && !failure(last.Status) {
		return errors.New("after a failure: there was none")
	}
	if last == nil && x.Answer.Status >= 502 && x.Answer.Status <= 504 && len(Lines(x.Answer.Fields, "x-serial")) == 0 {
		return nil
	}
	not, ok := m.oneGiven(x, m.usable(x.Request), func(h *held) string { return m.rescue(h, x.Request, x.At, last != nil) })
	if ok {
		return nil
	}
	return fmt.Errorf("after a failure: %s", not)
}

// renders says whether the answer is what resp is for the client's request: whole, in part, or only that it is not modified.
func (m *Model) renders(x *Exchange, resp *Response, stored bool) error {
	if resp.Whole != "" && resp.Status == 206 && m.renders(x, asWhole(resp), false) == nil {
		return nil
	}
	r, a := x.Request, &x.Answer
	if m.Policy.Slices {
		resp = m.sliced(x, resp)
	}
	if m.Policy.Compress {
		var err error
		if resp, err = m.coded(x, resp, stored); err != nil {
			return err
		}
	} else if a.Coding != "" {
		return fmt.Errorf("has the coding %s", a.Coding)
	}
	if got, want := serial(a.Fields), serial(resp.Fields); got != want && a.Status != 416 {
		return fmt.Errorf("has serial %q, not %q", got, want)
	}
	if a.Aborted != resp.Cut && !(resp.Cut && a.Status != resp.Status) && r.Method != "HEAD" {
		return fmt.Errorf("aborted: %v", a.Aborted)
	}
	fetch := r.Method == "GET" || r.Method == "HEAD"
	matched, exact := notModified(r, resp)
	exact = exact && a.Coding == ""
	switch {
	case a.Status == 304 && resp.Status != 304:
		if !fetch || resp.Status < 200 || resp.Status > 299 || !matched {
			return errors.New("304, and the client's conditions do not hold (RFC 9110 §13.1)")
		}
		return empty(a)
	case a.Status == 206 && resp.Status == 200:
		return part(r, a, resp)
	case a.Status == 416 && resp.Status == 200:
		return unsatisfied(r, a, resp)
	case a.Status == 200 && resp.Status == 206 && r.Method == "HEAD" && stored: // of which a part is stored (RFC 9110 §9.3.2, RFC 9111 §3.3)
		return whole(r, a, resp)
	case a.Status != resp.Status:
		return fmt.Errorf("status %d, not %d", a.Status, resp.Status)
	case stored && exact && resp.Status == 200 && fetch:
		return errors.New("the client's entity tag is that of the stored response, and it got all of it (RFC 9111 §4.3.2)")
	}
	return whole(r, a, resp)
}

// whole compares a complete answer.
func whole(r *Request, a *Answer, resp *Response) error {
	for _, name := range []string{"content-type", "etag", "last-modified", "content-range"} {
		if name == "last-modified" && resp.Whole != "" { // of which part it is the origin's affair
			continue
		}
		if got, want := Lines(a.Fields, name), Lines(resp.Fields, name); !slices.Equal(got, want) && !(resp.updated && name == "content-type") {
			return fmt.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if r.Method == "HEAD" || resp.Status == 204 || resp.Status == 304 {
		return empty(a)
	}
	if resp.Cut {
		if !strings.HasPrefix(resp.Body, a.Body) {
			return errors.New("another body")
		}
		return nil
	}
	if a.Body != resp.Body {
		return fmt.Errorf("body %q, not %q", a.Body, resp.Body)
	}
	if a.Length >= 0 && a.Length != int64(len(a.Body)) {
		return fmt.Errorf("declared %d bytes, and sent %d", a.Length, len(a.Body))
	}
	return nil
}

func empty(a *Answer) error {
	if a.Body != "" {
		return errors.New("has a body")
	}
	return nil
}

// notModified evaluates If-None-Match and If-Modified-Since (RFC 9110 §13.1.2, §13.1.3, RFC 9111 §4.3.2). exact: by one entity tag that is strong and
// the same, which leaves nothing to choose.
func notModified(r *Request, resp *Response) (matched, exact bool) {
	if lines := Lines(r.Fields, "if-none-match"); len(lines) > 0 {
		tags, any := Tags(lines)
		tag, ok := One(resp.Fields, "etag")
		for _, t := range tags {
			matched = matched || ok && opaque(t) == opaque(tag)
		}
		return matched || any, matched && len(lines) == 1 && lines[0] == tag && SameTag(lines[0], tag)
	}
	since, ok := DateField(r.Fields, "if-modified-since", resp.Received)
	if !ok {
		return false, false
	}
	modified, known := DateField(resp.Fields, "last-modified", resp.Received)
	if !known {
		modified = generated(resp).Truncate(time.Second)
	}
	return !modified.After(since), false
}

// part checks a 206 (RFC 9110 §14, §15.3.7).
func part(r *Request, a *Answer, resp *Response) error {
	line, _ := One(r.Fields, "range")
	spans, ok := Ranges(line, len(resp.Body))
	if r.Method != "GET" || !ok || len(spans) == 0 || !ifRange(r, resp) {
		return errors.New("206, and the range does not apply (RFC 9110 §13.1.5, §14.2)")
	}
	if kind, params, err := mime.ParseMediaType(a.Fields.Get("content-type")); err == nil && kind == "multipart/byteranges" {
		return parts(a, resp, spans, params["boundary"])
	}
	if len(spans) > 1 {
		return errors.New("206 with one part for several ranges")
	}
	return onePart(a.Fields.Get("content-range"), a.Body, resp, spans)
}

func onePart(contentRange, body string, resp *Response, spans []Span) error {
	for _, s := range spans {
		want := resp.Body[s.First : s.Last+1]
		if contentRange == fmt.Sprintf("bytes %d-%d/%d", s.First, s.Last, len(resp.Body)) && (body == want || resp.Cut && strings.HasPrefix(want, body)) {
			return nil
		}
	}
	return fmt.Errorf("206 with %q %q for %v", contentRange, body, spans)
}

// parts checks a 206 of several parts (RFC 9110 §14.6).
func parts(a *Answer, resp *Response, spans []Span, boundary string) error {
	mr := multipart.NewReader(strings.NewReader(a.Body), boundary)
	for n := 0; ; n++ {
		p, err := mr.NextRawPart()
		if err == io.EOF && n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		if err := insideOne(p.Header.Get("Content-Range"), string(body), resp, spans); err != nil {
			return err
		}
	}
}

// insideOne: a part may join ranges that overlap or lie close together (RFC 9110 §15.3.7.2).
func insideOne(contentRange, body string, resp *Response, spans []Span) error {
	var from, to, n int
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &from, &to, &n); err != nil || n != len(resp.Body) || from > to || to >= n || body != resp.Body[from:to+1] {
		return fmt.Errorf("a part %q %q", contentRange, body)
	}
	if !slices.ContainsFunc(spans, func(s Span) bool { return s.First >= from && s.First <= to }) {
		return fmt.Errorf("a part that nobody asked for: %q", contentRange)
	}
	return nil
}

// unsatisfied checks a 416 (RFC 9110 §15.5.17).
func unsatisfied(r *Request, a *Answer, resp *Response) error {
	line, _ := One(r.Fields, "range")
	spans, ok := Ranges(line, len(resp.Body))
	if r.Method != "GET" || !ok || len(spans) > 0 || !ifRange(r, resp) || a.Fields.Get("content-range") != fmt.Sprintf("bytes */%d", len(resp.Body)) {
		return errors.New("416, and the range can be satisfied")
	}
	return nil
}

// ifRange evaluates If-Range (RFC 9110 §13.1.5).
func ifRange(r *Request, resp *Response) bool {
	lines := Lines(r.Fields, "if-range")
	if len(lines) == 0 {
		return true
	}
	if strings.Contains(lines[0], `"`) {
		tag, ok := One(resp.Fields, "etag")
		return ok && SameTag(lines[0], tag)
	}
	asked, ok := Date(lines[0], resp.Received)
	modified, known := DateField(resp.Fields, "last-modified", resp.Received)
	return ok && known && asked.Equal(modified) && generated(resp).Sub(modified) >= time.Second
}
