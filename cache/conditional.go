package cache

import (
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Conditions returns the preconditions that validate o: If-None-Match and If-Modified-Since (RFC 9111 §4.3.1).
// Nil when o has no validator: the whole must be fetched.
func Conditions(o *Object) message.Fields {
	var f message.Fields
	if tag := o.Fields.Get("etag"); tag != "" {
		f.Add("if-none-match", tag)
	}
	if modified := o.Fields.Get("last-modified"); modified != "" {
		f.Add("if-modified-since", modified)
	}
	return f
}

// EvaluateConditional evaluates the request's preconditions against an object that may serve (RFC 9110 §13, RFC 9111 §4.3.2).
// 0: answer with the object; 304: not modified. If-Match and If-Unmodified-Since are no cache's to answer: Lookup has seen to them.
func EvaluateConditional(r *message.Request, o *Object) (status int) {
	if o.Status < 200 || o.Status > 299 || r.Method != "GET" && r.Method != "HEAD" {
		return 0
	}
	if r.Fields.Has("if-none-match") { // and then If-Modified-Since is ignored (RFC 9110 §13.1.3)
		if tagListed(r.Fields, "if-none-match", o.Fields.Get("etag"), weakly) {
			return 304
		}
		return 0
	}
	since, valid, _ := dateField(r.Fields, "if-modified-since", o.received)
	if valid && !o.modified().After(since) {
		return 304
	}
	return 0
}

// modified is what If-Modified-Since is compared with: Last-Modified, or else Date (RFC 9111 §4.3.2).
func (o *Object) modified() time.Time {
	for _, name := range [...]string{"last-modified", "date"} {
		if t, valid, _ := dateField(o.Fields, name, o.received); valid {
			return t
		}
	}
	return o.received
}

// NotModifiedFields is the header section of a 304 made from o (RFC 9110 §15.4.5): the fields that a 200 would have had and that the
// client needs to update its copy. The representation's own metadata is left out, but for the validators.
func NotModifiedFields(o *Object) message.Fields {
	return AppendNotModified(make(message.Fields, 0, len(o.Fields)), o)
}

// AppendNotModified appends them to f.
func AppendNotModified(f message.Fields, o *Object) message.Fields {
	for _, x := range o.Fields {
		if strings.HasPrefix(x.Name, "content-") && x.Name != "content-location" && !strings.HasPrefix(x.Name, "content-security-policy") {
			continue
		}
		f = append(f, x)
	}
	return f
}

// hasOriginPrecondition reports whether the request has a precondition that only the origin can answer for sure.
func hasOriginPrecondition(r *message.Request) bool {
	return r.Fields.Has("if-match") || r.Fields.Has("if-unmodified-since")
}

// meetsPreconditions reports whether o, were it the current representation, would meet If-Match and If-Unmodified-Since. When it does
// not, the origin may have something newer that does: the cache never answers 412 by itself.
func meetsPreconditions(r *message.Request, o *Object) bool {
	if r.Fields.Has("if-match") {
		return tagListed(r.Fields, "if-match", o.Fields.Get("etag"), strongly)
	}
	if !r.Fields.Has("if-unmodified-since") {
		return true
	}
	since, valid, _ := dateField(r.Fields, "if-unmodified-since", o.received)
	modified, known, _ := dateField(o.Fields, "last-modified", o.received)
	return valid && known && !modified.After(since)
}

// tagComparison is one of the two ways to compare entity tags (RFC 9110 §8.8.3.2).
type tagComparison uint8

const (
	weakly tagComparison = iota
	strongly
)

func (c tagComparison) equal(a, b string) bool {
	if c == strongly {
		return a == b && strings.HasPrefix(a, `"`)
	}
	return a != "" && b != "" && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// tagListed reports whether the field lists the tag, or is "*". tag is "" when the stored response has none.
func tagListed(f message.Fields, name, tag string, how tagComparison) bool {
	for i := range f {
		if f[i].Name != name {
			continue
		}
		rest := f[i].Value
		if rest == "*" {
			return true
		}
		for rest != "" {
			var m string
			if m, rest = cutTag(rest); m != "" && how.equal(m, tag) {
				return true
			}
		}
	}
	return false
}

// cutTag takes the first member off a list of entity tags. Within a tag's quotes a comma is a character, and a backslash escapes nothing
// (RFC 9110 §8.8.3).
func cutTag(s string) (tag, rest string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			return trimOWS(s[:i]), s[i+1:]
		}
	}
	return trimOWS(s), ""
}
