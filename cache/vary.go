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
	return reselect(sel, r)
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
		if sel[i].name != name && string(appendNormalised(buf[:0], r.Fields, sel[i].name)) != sel[i].value {
			return false
		}
	}
	return true
}

// fieldKind says which differences in a request field carry no meaning (RFC 9111 §4.1).
type fieldKind uint8

const (
	listField     fieldKind = iota // a list: white space around commas, and how it is split into lines
	singleField                    // not a list, or not to be touched
	caselessField                  // a list whose members are case-insensitive
	setField                       // and whose order carries no meaning either
)

func kindOf(name string) fieldKind {
	switch name {
	case "accept-encoding", "accept-charset":
		return setField
	case "accept-language":
		return caselessField // some origins take order for preference (RFC 9110 §12.5.4)
	case "user-agent", "cookie", "authorization", "referer", "origin", "from", "host":
		return singleField
	}
	return listField
}

// maxSorted bounds the members that are put in order; a longer list is compared as it is.
const maxSorted = 16

// appendNormalised appends the request's value of name in the form in which two values that mean the same are equal.
func appendNormalised(b []byte, f message.Fields, name string) []byte {
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
				members = insert(members, m)
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
	for i := 0; i < len(m); i++ {
		c := m[i]
		switch {
		case kind < caselessField:
		case c == ' ' || c == '\t':
			continue // around ";" and "=" of a weight
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		b = append(b, c)
	}
	return b
}

// insert puts m into its place. members has room.
func insert(members []string, m string) []string {
	i := len(members)
	members = append(members, m)
	for ; i > 0 && lessFold(m, members[i-1]); i-- {
		members[i] = members[i-1]
	}
	members[i] = m
	return members
}

func lessFold(a, b string) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if x, y := lower(a[i]), lower(b[i]); x != y {
			return x < y
		}
	}
	return len(a) < len(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
