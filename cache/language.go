package cache

import (
	"strings"

	"nearcast/proxy/message"
)

const acceptLanguage = "accept-language"

// inFirstLanguage reports whether Accept-Language alone keeps the variant from serving r, and its Content-Language is what r prefers
// to all else. Negotiation could bring no better one, so the two requests are the same for it (RFC 9111 §4.1, RFC 9110 §12.5.4).
// A list without a clear first choice is the origin's to weigh.
func (e *entry) inFirstLanguage(r *message.Request) bool {
	if !names(e.sel, acceptLanguage) {
		return false
	}
	first := firstLanguage(r.Fields)
	return first != "" && inLanguage(e.obj.Fields, first) && matchesBut(acceptLanguage, e.sel, r)
}

// inLanguage reports whether a response is in that language and no other.
func inLanguage(f message.Fields, language string) bool {
	found := false
	for i := range f {
		if f[i].Name != "content-language" {
			continue
		}
		if found || !strings.EqualFold(f[i].Value, language) {
			return false
		}
		found = true
	}
	return found
}

// firstLanguage is the language range that the request prefers to all others; "" where there is no one such, or the field can't be read.
func firstLanguage(f message.Fields) string {
	first, best := "", 0
	for i := range f {
		if f[i].Name != acceptLanguage {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var m string
			if m, rest = cutMember(rest); m == "" {
				continue
			}
			language, weight, ok := weighted(m)
			switch {
			case !ok:
				return ""
			case weight > best:
				first, best = language, weight
			case weight == best:
				first = "" // two of them, or none
			}
		}
	}
	if first == "*" {
		return ""
	}
	return first
}

// weighted reads a member of a list with weights, which are thousandths here (RFC 9110 §12.4.2).
func weighted(m string) (value string, weight int, ok bool) {
	value, q, has := strings.Cut(m, ";")
	if value = trimOWS(value); value == "" {
		return "", 0, false
	}
	if !has {
		return value, 1000, true
	}
	q = trimOWS(q)
	if len(q) < 3 || len(q) > 7 || lower(q[0]) != 'q' || q[1] != '=' || q[2] != '0' && q[2] != '1' {
		return "", 0, false
	}
	weight = int(q[2]-'0') * 1000
	if len(q) == 3 {
		return value, weight, true
	}
	if q[3] != '.' {
		return "", 0, false
	}
	for i, unit := 4, 100; i < len(q); i, unit = i+1, unit/10 {
		if !isDigit(q[i]) {
			return "", 0, false
		}
		weight += int(q[i]-'0') * unit
	}
	return value, weight, weight <= 1000
}
