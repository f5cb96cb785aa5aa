package cache

import (
	"slices"
	"strings"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

// transformable reports whether a response's content may be coded: no no-transform (RFC 9111 §5.2.2.6), be it in Cache-Control or in one of the
// fields that are for this cache (RFC 9213), no coding yet, no part.
func transformable(f message.Fields, targeted []string) bool {
	for i := range f {
		switch n := f[i].Name; {
		case n == "content-encoding", n == "content-range":
			return false
		case n != "cache-control" && !slices.ContainsFunc(targeted, func(t string) bool { return strings.EqualFold(n, t) }):
		case forbidsTransform(f[i].Value):
			return false
		}
	}
	return true
}

// forbidsTransform looks for no-transform in a list of directives. With an argument, which it has none of, it is still meant.
func forbidsTransform(directives string) bool {
	if len(directives) < len("no-transform") {
		return false
	}
	for directives != "" {
		var m string
		m, directives = cutDirective(directives)
		if m, _, _ = strings.Cut(m, "="); strings.EqualFold(m, "no-transform") {
			return true
		}
	}
	return false
}

// listHasFold reports whether a list has a member, whatever its case.
func listHasFold(list, name string) bool {
	if len(list) < len(name) {
		return false
	}
	for list != "" {
		var m string
		if m, list = cutMember(list); strings.EqualFold(m, name) {
			return true
		}
	}
	return false
}

// varyNames reports whether Vary names a field.
func varyNames(f message.Fields, name string) bool {
	for i := range f {
		if f[i].Name == "vary" && listHasFold(f[i].Value, name) {
			return true
		}
	}
	return false
}

// codedFields is the field section of a form with a content coding (RFC 9110 §8.4). Digests of the bytes without it are left out, and the
// entity tag is another (§8.8.3.3). The strings are f's but for the tag.
func codedFields(f message.Fields, x coding.Coding, varies bool) message.Fields {
	out := make(message.Fields, 0, len(f)+2)
	for _, y := range f {
		switch y.Name {
		case "content-md5", "digest", "content-digest", "repr-digest": // RFC 9530
			continue
		case "etag":
			var ok bool
			if y.Value, ok = codedTag(y.Value, x); !ok {
				continue
			}
		}
		out = append(out, y)
	}
	out.Add("content-encoding", x.String())
	if !varies {
		out.Add("vary", "accept-encoding")
	}
	return out
}

// tagMark stands between an origin's entity tag and the name of our coding. It is as strong as the origin's: the encoders are deterministic, and no
// part of a coded form is ever sent.
const tagMark = '~'

// codedTag is the entity tag of a form: "a" is "a~br" in Brotli. It fails for what is no entity tag.
func codedTag(tag string, x coding.Coding) (string, bool) {
	if !validTag(tag) {
		return "", false
	}
	return tag[:len(tag)-1] + string(tagMark) + x.String() + `"`, true
}

// validTag reports whether it is one entity tag, strong or weak (RFC 9110 §8.8.3).
func validTag(tag string) bool {
	t := strings.TrimPrefix(tag, "W/")
	return len(t) >= 2 && t[0] == '"' && t[len(t)-1] == '"' && strings.IndexByte(t[1:len(t)-1], '"') < 0
}

// plainTag is the origin's entity tag of which a form has this one; false when it is of no form.
func plainTag(tag string) (string, bool) {
	if !validTag(tag) {
		return "", false
	}
	i := strings.LastIndexByte(tag, tagMark)
	if i < 0 {
		return "", false
	}
	if x, ok := coding.Parse(tag[i+1 : len(tag)-1]); !ok || x.String() != tag[i+1:len(tag)-1] || coding.MaxLevel[x] == 0 {
		return "", false
	}
	return tag[:i] + `"`, true
}

// codedTagListed reports whether If-None-Match lists the tag that a form of a response with that tag has.
func codedTagListed(f message.Fields, tag string, x coding.Coding) bool {
	if !validTag(tag) {
		return false
	}
	opaque := strings.TrimPrefix(tag, "W/")
	opaque = opaque[:len(opaque)-1]
	for i := range f {
		if f[i].Name != "if-none-match" {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var m string
			m, rest = cutTag(rest)
			m = strings.TrimPrefix(m, "W/")
			if m, ok := strings.CutPrefix(m, opaque); ok && len(m) > 2 && m[0] == tagMark && m[len(m)-1] == '"' && m[1:len(m)-1] == x.String() {
				return true
			}
		}
	}
	return false
}

// OriginFields are the fields of a request as an origin is to see them that knows nothing of coded forms: where a precondition names a form's
// entity tag, the origin's own stands, so that a client may change what it has got coded. It is f itself where there is nothing to
// change. If-None-Match is left alone with safe methods: a 304 by the origin's tag would not say which form it is about.
func OriginFields(r *message.Request, f message.Fields) message.Fields {
	out := f
	for i := range f {
		if f[i].Name != "if-match" && (f[i].Name != "if-none-match" || safe(r.Method)) {
			continue
		}
		if v, changed := originTags(f[i].Value); changed {
			if &out[0] == &f[0] {
				out = append(message.Fields(nil), f...)
			}
			out[i].Value = v
		}
	}
	return out
}

func originTags(list string) (string, bool) {
	if strings.IndexByte(list, tagMark) < 0 {
		return list, false
	}
	var b strings.Builder
	changed := false
	for rest := list; rest != ""; {
		var m string
		if m, rest = cutTag(rest); m == "" {
			continue
		}
		if t, ok := plainTag(m); ok {
			m, changed = t, true
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m)
	}
	return b.String(), changed
}
