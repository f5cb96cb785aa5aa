package cache

import (
	"strings"

	"nearcast/proxy/message"
)

const (
	// maxVariants bounds the variants of one key; the oldest makes room.
	maxVariants = 32
	// maxSelectors bounds the fields that select one. A response that varies by more is hardly the same for two clients.
	maxSelectors = 32
)

// selector is one request field that selects a variant, with the value that the stored response was made for.
type selector struct {
	name  string
	value string // normalised; absentField when the request had none
}

// absentField is no normalised value: a field that is absent matches only absence (RFC 9111 §4.1).
const absentField = "\x00"

// varyStar reports whether Vary has a member "*", which no later request matches. What is no field name can't be compared, and a list that is
// too long is not: they count as that.
func varyStar(f message.Fields) bool {
	members := 0
	for i := range f {
		if f[i].Name != "vary" {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var m string
			if m, rest = cutMember(rest); m == "" {
				continue
			}
			if members++; m == "*" || !message.IsToken(m) || members > maxSelectors {
				return true
			}
		}
	}
	return false
}

// selectorsOf are the request fields that the response's Vary names, with r's values.
func selectorsOf(resp message.Fields, r *message.Request) []selector {
	var sel []selector
	for i := range resp {
		if resp[i].Name != "vary" {
			continue
		}
		for rest := resp[i].Value; rest != ""; {
			var name string
			name, rest = cutMember(rest)
			if name = strings.ToLower(name); name != "" && !names(sel, name) {
				sel = append(sel, selector{name: strings.Clone(name)})
			}
		}
	}
	sel = reselect(sel, r)
	noteCoding(sel, resp)
	return sel
}

// reselect returns the same fields with r's values.
func reselect(sel []selector, r *message.Request) []selector {
	out := make([]selector, len(sel))
	for i, s := range sel {
		out[i] = selector{name: s.name, value: string(appendNormalised(nil, r.Fields, s.name))}
	}
	return out
}

func names(sel []selector, name string) bool {
	for i := range sel {
		if sel[i].name == name {
			return true
		}
	}
	return false
}

// matches reports whether r selects the variant.
func matches(sel []selector, r *message.Request) bool { return matchesBut("", sel, r) }

// matchesBut leaves one field out of account.
func matchesBut(name string, sel []selector, r *message.Request) bool {
	var buf [256]byte
	for i := range sel {
		if sel[i].name == name {
			continue
		}
		if sel[i].name == "accept-encoding" {
			if !codingMatches(sel[i].value, r.Fields) {
				return false
			}
			continue
		}
		if string(appendNormalised(buf[:0], r.Fields, sel[i].name)) != sel[i].value {
			return false
		}
	}
	return true
}

// fieldKind says which differences in a request field carry no meaning (RFC 9111 §4.1).
type fieldKind uint8

const (
	listField   fieldKind = iota // a list: white space around commas, and how it is split into lines
	singleField                  // not a list, or not to be touched
	setField                     // a list of members with weights: their order and case, and how a weight is written (RFC 9110 §12.4.2)
)

func kindOf(name string) fieldKind {
	switch name {
	case "accept-charset", "accept-language":
		return setField
	case "user-agent", "cookie", "authorization", "referer", "origin", "from", "host":
		return singleField
	}
	return listField
}

// maxSorted bounds the members that are put in order; a longer list is compared as it is.
const maxSorted = 16

// appendNormalised appends the request's value of name in the form in which two values that mean the same are equal.
func appendNormalised(b []byte, f message.Fields, name string) []byte {
	if name == "accept-encoding" {
		b, ok := AppendAcceptEncoding(b, f)
		if !ok {
			b = append(b, absentField...)
		}
		return b
	}
	kind := kindOf(name)
	var sorted [maxSorted]string
	members, found := sorted[:0], false
	start := len(b)
	for i := range f {
		if f[i].Name != name {
			continue
		}
		found = true
		for rest := f[i].Value; rest != ""; {
			m := rest
			if kind == singleField {
				rest = ""
			} else {
				m, rest = cutMember(rest)
			}
			if m == "" {
				continue
			}
			if kind == setField && len(members) < maxSorted {
				members = insertSorted(members, m, lessFold)
				continue
			}
			b = appendMember(b, start, m, kind)
		}
	}
	for _, m := range members {
		b = appendMember(b, start, m, kind)
	}
	if !found {
		return append(b, absentField...)
	}
	return b
}

func appendMember(b []byte, start int, m string, kind fieldKind) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	if kind != setField {
		return append(b, m...)
	}
	value, weight, ok := weighted(m)
	if !ok {
		return appendLower(b, m) // compared as it is
	}
	b = appendLower(b, value)
	if weight == 1000 {
		return b
	}
	b = append(b, ";q=0."...)
	return append(b, byte('0'+weight/100), byte('0'+weight/10%10), byte('0'+weight%10))
}

func appendLower(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, lower(s[i]))
	}
	return b
}

// insertSorted puts x behind those that are not greater. list has room.
func insertSorted(list []string, x string, less func(a, b string) bool) []string {
	i := len(list)
	list = append(list, x)
	for ; i > 0 && less(x, list[i-1]); i-- {
		list[i] = list[i-1]
	}
	list[i] = x
	return list
}

// lessFold orders members by their values, of one value by the rest.
func lessFold(a, b string) bool {
	x, _, _ := strings.Cut(a, ";")
	y, _, _ := strings.Cut(b, ";")
	if n := compareFold(trimOWS(x), trimOWS(y)); n != 0 {
		return n < 0
	}
	return compareFold(a, b) < 0
}

func compareFold(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
