package cache

import (
	"nearcast/proxy/message"
)

// head ends the fill with an answer to HEAD. A 200 tells what a GET would have got: it updates the stored response when it is about the same
// representation, and otherwise makes it stale (RFC 9111 §4.3.5).
func (f *Fill) head(r *message.Request, resp *Response, p *Policy) Reason {
	stored := f.selected(r)
	if stored == nil || resp.Status != 200 || stored.Status != 200 || personal(r, resp, p) {
		f.refuse(r, resp, ReasonHead)
		return ReasonHead
	}
	if !describes(resp, stored) {
		f.outdate(r, stored, resp)
		f.refuse(r, resp, ReasonHeadDiffers)
		return ReasonHeadDiffers
	}
	f.freshen(r, *resp, stored, p)
	return ReasonHeadMatches
}

// personal reports whether what r is answered says nothing about other requests.
func personal(r *message.Request, resp *Response, p *Policy) bool {
	asGet := *r
	asGet.Method = "GET"
	d, _ := responseDirectives(resp.Fields, p)
	reason := forbidden(&asGet, resp, &d, p)
	return reason == ReasonAuthorization || reason == ReasonRequestNoStore
}

// selected is the stored response that r would select; nil when there is none.
func (f *Fill) selected(r *message.Request) *Object {
	s := f.c.shard(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := f.stored(s, r)
	if e == nil {
		return nil
	}
	if e = f.c.serving(s, e); e == nil {
		return nil
	}
	return e.obj
}

// describes reports whether an answer to HEAD is about the stored response: what it has of validators and length is the same.
func describes(head *Response, stored *Object) bool {
	for _, name := range [...]string{"etag", "last-modified"} {
		if v := head.Fields.Get(name); v != "" && v != stored.Fields.Get(name) {
			return false
		}
	}
	return head.Length < 0 || head.Length == stored.Length
}

// outdate ends the freshness of a stored response, and its use while it is validated in the background.
func (f *Fill) outdate(r *message.Request, stored *Object, resp *Response) {
	s := f.c.shard(f.hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := f.c.entryOf(s, f, stored)
	if e == nil {
		return
	}
	o := *e.obj
	o.lifetime, o.staleWhileRevalidate = min(o.lifetime, o.Age(resp.Received)), 0
	f.c.repack(s, e, &o)
	e.obj = &o
}
