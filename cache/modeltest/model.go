package modeltest

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Model is all that the cache may hold. Its zero value but for Policy and Origin holds nothing.
type Model struct {
	Policy Policy
	// Origin is the scheme and authority that all targets are below, such as https://shop.example.
	Origin string

	held   []*held
	linked []*held // pages with links
}

// held is a response that may be stored.
type held struct {
	request  *Request  // that it was made for: its fields select (RFC 9111 §4.1)
	response *Response // its field section as the last validation left it
	// sure: it is stored, unless something that the model knows of has happened since.
	sure bool
	// loose: a 304 without Date updated it, and it is anyone's guess which Date counts.
	loose bool
	// softened is when a soft purge made it stale.
	softened time.Time
}

// Exchange is one step as a test saw it: what a client asked, what the origin was asked because of that, and what the client got.
type Exchange struct {
	Request  *Request
	At       time.Time // when it came
	Answered time.Time // when the client had its header section
	Left     bool      // the client did not wait for the answer
	Crowded  bool      // others asked at the same time; Forwards are those for this client's request
	Forwards []Forward
	Answer   Answer
}

// Forward is a request that the origin got.
type Forward struct {
	Request  *Request
	Response *Response // nil: it ended the connection, or did not answer in time
}

// Answer is what the client got.
type Answer struct {
	Status  int
	Fields  message.Fields
	Body    string
	Aborted bool
	Length  int64 // as declared, -1 for none
	// Coding is the content coding that Body had. It is decoded, and Length is -1.
	Coding   string
	Informed []int // the statuses of 1xx responses before it
}

// candidates are the held responses that may answer r, the last received first.
func (m *Model) candidates(r *Request) []*held {
	var out []*held
	for _, h := range slices.Backward(m.held) {
		if m.key(h.request) != m.key(r) {
			continue
		}
		if may, _ := selects(h.request, r, h.response); may {
			out = append(out, h)
		}
	}
	return out
}

// usable are the candidates that may be selected: of several that suit the most recent must be (RFC 9111 §4), which ends where
// one is surely stored.
func (m *Model) usable(r *Request) []*held {
	all := m.candidates(r)
	for i, h := range all {
		if _, exact := selects(h.request, r, h.response); h.sure && exact {
			return all[:i+1]
		}
	}
	return all
}

// Learn takes what the exchange has brought into account.
func (m *Model) Learn(x *Exchange) {
	if m.purges(x) {
		if p, ok := purgeOf(x.Request); ok {
			m.Purge(p, x.At)
		}
		return
	}
	for _, f := range x.Forwards {
		if f.Response == nil {
			continue
		}
		f.Response.Began = x.At
		m.link(x.Request, &f)
		m.invalidate(f.Request, f.Response)
		client := Request{Method: x.Request.Method, Target: x.Request.Target, Body: x.Request.Body}
		client.Fields = append(only(x.Request.Fields, false), only(f.Request.Fields, true)...)
		switch {
		case f.Response.Status == 304:
			m.validated(&client, &f, x)
		case f.Request.Method == "HEAD":
			m.headed(f.Response, &client)
		default:
			m.store(&client, &f, x)
		}
	}
}

// only are the fields that say what is wanted of a cache, or all the others. A refresh behind a stale answer is the cache's own request: it is
// what the origin was asked that counts for storing.
func only(f message.Fields, wishes bool) (out message.Fields) {
	for _, x := range f {
		if (x.Name == "cache-control" || x.Name == "pragma") == wishes {
			out = append(out, x)
		}
	}
	return out
}

// store holds a response that may be stored.
func (m *Model) store(client *Request, f *Forward, x *Exchange) {
	r := *client
	r.Method = f.Request.Method
	why, sure := m.storable(&r, f.Response)
	if f.Response.Status == 206 {
		m.combine(client, f)
	}
	if part := m.incomplete(&r, f.Response); part != nil {
		m.held = append(m.held, &held{request: client, response: part})
		m.combine(client, &Forward{Request: f.Request, Response: part})
	}
	if why != "" {
		m.doubt(client) // what a cache does with what it has is its own affair then
		return
	}
	if failure(f.Response.Status) && len(m.candidates(client)) > 0 {
		sure = false // they may have served in its stead
	}
	m.doubt(client) // it may take their place
	m.held = append(m.held, &held{request: client, response: f.Response, sure: sure && !x.Left && m.plainRequest(client)})
}

// plainRequest: nothing in it sends it past the cache.
func (m *Model) plainRequest(r *Request) bool {
	for _, f := range r.Fields {
		if f.Name == "range" || strings.HasPrefix(f.Name, "if-") {
			return false
		}
	}
	s := requestSays(r.Fields)
	return !s.doubtful && !s.onlyIfCached.perhaps
}

func (m *Model) doubt(r *Request) {
	for _, h := range m.candidates(r) {
		h.sure = false
	}
}

// invalidate forgets what an unsafe request has made obsolete (RFC 9111 §4.4).
func (m *Model) invalidate(r *Request, resp *Response) {
	if !unsafe(r.Method) || resp.Status < 200 || resp.Status > 399 {
		return
	}
	gone := []string{r.Target}
	for _, name := range []string{"location", "content-location"} {
		if t, ok := m.resolve(r, resp.Fields, name); ok && m.Policy.InvalidateLocations {
			gone = append(gone, t)
		}
	}
	m.held = slices.DeleteFunc(m.held, func(h *held) bool {
		return slices.ContainsFunc(gone, func(t string) bool { return m.url(t) == m.url(h.request.Target) })
	})
}

// resolve is the target that a field refers to; false when it is of another origin.
func (m *Model) resolve(r *Request, f message.Fields, name string) (string, bool) {
	ref, ok := One(f, name)
	if !ok || ref == "" {
		return "", false
	}
	base, err := url.Parse(m.Origin + r.Target)
	if err != nil {
		return "", false
	}
	u, err := base.Parse(ref)
	if err != nil || u.Scheme+"://"+u.Host != m.Origin {
		return "", false
	}
	return u.RequestURI(), true
}

func (m *Model) sameTarget(r *Request, resp *Response) bool {
	t, ok := m.resolve(r, resp.Fields, "content-location")
	return ok && t == r.Target
}

// asked says whether a forwarded request's conditions are about h.
func asked(f *Request, h *held) bool {
	tags, _ := Tags(Lines(f.Fields, "if-none-match"))
	tag, _ := One(h.response.Fields, "etag")
	if len(tags) > 0 {
		return tag != "" && slices.ContainsFunc(tags, func(t string) bool { return opaque(t) == opaque(tag) })
	}
	modified, ok := One(h.response.Fields, "last-modified")
	since, conditional := One(f.Fields, "if-modified-since")
	return ok && conditional && modified == since
}

// chosen says whether a 304 is about h (RFC 9111 §4.3.4).
func chosen(resp *Response, h *held) bool {
	tag, ok := One(resp.Fields, "etag")
	own, _ := One(h.response.Fields, "etag")
	return !ok || own != "" && opaque(tag) == opaque(own)
}

// confirmed are the held responses that a forward's 304 may be about.
func (m *Model) confirmed(client *Request, f *Forward) []*held {
	var out []*held
	all := m.candidates(client)
	for _, h := range all {
		if asked(f.Request, h) && (m.Policy.TrustNotModified || chosen(f.Response, h)) {
			out = append(out, h)
		}
	}
	for _, h := range m.held { // another variant, of which the origin says that it is right for this client too (RFC 9111 §4.1, §4.3.4)
		if m.key(h.request) == m.key(client) && !slices.Contains(all, h) && asked(f.Request, h) && Strong(f.Response) != "" && Strong(f.Response) == Strong(h.response) {
			out = append(out, h)
		}
	}
	return out
}

// validated updates what a 304 is about (RFC 9111 §4.3.4).
func (m *Model) validated(client *Request, f *Forward, x *Exchange) {
	found := m.confirmed(client, f)
	for _, h := range found {
		next := m.freshen(client, f, h)
		asGet := *client
		asGet.Method = "GET"
		why, sure := m.storable(&asGet, next.response)
		if why != "" {
			h.sure = false
			continue
		}
		_, exact := selects(h.request, client, h.response)
		// The answer to a HEAD may be taken to say less than that of a GET; a body whose type changes may be kept in another way.
		sure = sure && client.Method == "GET" && (!m.Policy.Compress || f.Response.Fields.Get("content-type") == h.response.Fields.Get("content-type"))
		next.sure = sure && h.sure && exact && len(found) == 1 && !x.Left && !next.loose && m.plainRequest(client)
		if h.sure = false; next.sure {
			m.held = slices.DeleteFunc(m.held, func(o *held) bool { return o == h })
		}
		m.held = append(m.held, next)
	}
}

// freshen is h with the fields of a 304 (RFC 9111 §3.2).
func (m *Model) freshen(client *Request, f *Forward, h *held) *held {
	fresh := f.Response.Fields
	cookies := m.sharesCookies(f.Response)
	kept := func(name string) bool { // describes the stored body, which has not changed; or the client's own
		return strings.HasPrefix(name, "content-") && name != "content-location" || name == "etag" || name == "set-cookie" && !cookies
	}
	var merged message.Fields
	for _, x := range h.response.Fields {
		if x.Name == "age" || len(Lines(fresh, x.Name)) > 0 && !kept(x.Name) {
			continue
		}
		if x.Name == "date" && len(Lines(fresh, "date")) == 0 {
			continue
		}
		merged = append(merged, x)
	}
	for _, x := range fresh {
		if !kept(x.Name) {
			merged = append(merged, x)
		}
	}
	resp := &Response{Status: h.response.Status, Fields: merged, Body: h.response.Body, Whole: h.response.Whole, Sent: f.Response.Sent, Received: f.Response.Received, Began: f.Response.Began, updated: true}
	_, dated := DateField(fresh, "date", resp.Received)
	return &held{request: client, response: resp, loose: !dated}
}

// sharesCookies says whether the cookies of an update are for everybody: it says so itself, and of no other answer (RFC 9111 §7.3).
func (m *Model) sharesCookies(resp *Response) bool {
	s := responseSays(resp.Fields, m.Policy)
	explicit := s.maxAge.there || s.sMaxAge.there || !s.targeted && len(Lines(resp.Fields, "expires")) > 0
	return m.Policy.SetCookie != CookieStripped && m.mayKeepCookie(s.public.said || s.sMaxAge.there, explicit)
}

// headed takes a HEAD answer into account (RFC 9111 §4.3.5): it may update what is held, or make it stale.
func (m *Model) headed(resp *Response, client *Request) {
	if resp.Status != 200 {
		return
	}
	for _, h := range m.candidates(client) {
		h.sure = false
		if !m.Policy.HeadFreshens || m.differs(resp, h) {
			continue
		}
		next := m.freshen(client, &Forward{Response: resp}, h)
		asGet := *client
		asGet.Method = "GET"
		if why, _ := m.storable(&asGet, next.response); why == "" {
			m.held = append(m.held, next)
		}
	}
}

// differs says whether a HEAD answer is about another representation than h.
func (m *Model) differs(resp *Response, h *held) bool {
	for _, name := range []string{"etag", "last-modified"} {
		if v, ok := One(resp.Fields, name); ok {
			if own, _ := One(h.response.Fields, name); own != v {
				return true
			}
		}
	}
	return false
}
