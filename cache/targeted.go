package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// targetedField is the field that addresses caches such as this one (RFC 9213 §3.1).
const targetedField = "cdn-cache-control"

// responseDirectives are the directives that count for this cache. A targeted field that can be parsed and is not empty
// replaces Cache-Control, and Expires with it (RFC 9213 §2.2).
func responseDirectives(f message.Fields) (d directives, targeted bool) {
	if lines := f.Values(targetedField); lines != nil {
		if d, ok := parseTargeted(strings.Join(lines, ", ")); ok {
			return d, true
		}
	}
	d, _ = parseCacheControl(f)
	return d, false
}

// parseTargeted reads a targeted field: a Dictionary whose members are directives. A member of the wrong type is ignored (RFC 9213 §2.1).
func parseTargeted(s string) (d directives, ok bool) {
	dict, ok := parseDictionary(s)
	if !ok || len(dict) == 0 {
		return d, false
	}
	d = newDirectives()
	for i, m := range dict {
		if lastOfKey(dict, i) {
			d.member(m)
		}
	}
	return d, true
}

// lastOfKey: of members with one key the last counts (RFC 8941 §4.2.2).
func lastOfKey(dict []sfMember, i int) bool {
	for _, later := range dict[i+1:] {
		if later.key == dict[i].key {
			return false
		}
	}
	return true
}

func (d *directives) member(m sfMember) {
	switch m.kind {
	case sfTrue:
		for _, x := range flagNames {
			if x.name == m.key {
				d.flags |= x.flag
			}
		}
	case sfInteger:
		if p := d.lifetime(m.key); p != nil && m.integer >= 0 {
			*p = min(m.integer, maxDelta)
		}
	case sfString:
		switch m.key {
		case "no-cache":
			d.qualified(flagNoCache, &d.noCacheFields, m.text)
		case "private":
			d.qualified(flagPrivate, &d.privateFields, m.text)
		}
	}
}
