package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// safeLinks calls yield for each link value (RFC 8288 §3) of the Link fields whose relations all are ones that a 103 may hint at: preload,
// modulepreload, preconnect. A line that can't be read ends there.
func safeLinks(f message.Fields, yield func(link string)) {
	for i := range f {
		if f[i].Name != "link" {
			continue
		}
		for rest := f[i].Value; ; {
			var link, rel string
			var ok bool
			if link, rel, rest, ok = cutLink(rest); !ok {
				break
			}
			if safeRelations(rel) {
				yield(link)
			}
		}
	}
}

func safeRelations(rel string) bool {
	n := 0
	for r := range strings.FieldsSeq(rel) {
		switch {
		case strings.EqualFold(r, "preload"), strings.EqualFold(r, "modulepreload"), strings.EqualFold(r, "preconnect"):
			n++
		default:
			return false
		}
	}
	return n > 0
}

// cutLink takes one link value off a list, and reads its first rel parameter. The link is as it was written, without white space around it.
func cutLink(s string) (link, rel, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t,")
	end := strings.IndexByte(s, '>')
	if s == "" || s[0] != '<' || end < 0 {
		return "", "", "", false
	}
	params, rest, closed := cutQuoted(s[end+1:])
	if !closed {
		return "", "", "", false
	}
	link = trimOWS(s[:end+1+len(params)])
	found := false
	for params = trimOWS(params); params != ""; {
		var name, value string
		if name, value, params, ok = cutParameter(params); !ok {
			return "", "", "", false
		}
		if !found && strings.EqualFold(name, "rel") {
			rel, found = value, true
		}
	}
	return link, rel, rest, true
}

// cutParameter takes ";name", ";name=token" or ";name="quoted"" off a link's parameters.
func cutParameter(s string) (name, value, rest string, ok bool) {
	if s[0] != ';' {
		return "", "", "", false
	}
	p := s[1:]
	if at, _ := indexUnquoted(p, ';'); at >= 0 {
		p, rest = p[:at], p[at:]
	}
	name, value, _ = strings.Cut(trimOWS(p), "=")
	value = trimOWS(value)
	if len(value) > 1 && value[0] == '"' {
		if value, ok = argument(value); !ok {
			return "", "", "", false
		}
	}
	return trimOWS(name), value, rest, true
}
