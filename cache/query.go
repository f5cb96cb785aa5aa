package cache

import "strings"

// maxParameters bounds what is put in order: a query with more parameters is taken as it comes.
const maxParameters = 64

// appendQuery appends the part of a query that belongs to the key. In doubt about what an origin reads in a parameter, the parameter stays, in its
// place: one key too many costs a fetch, one too few gives a client's answer to others.
func appendQuery(b []byte, query string, rules *QueryRules) []byte {
	if rules.Mode == QueryNone {
		return b
	}
	var sorted [maxParameters]string
	kept, start, order := sorted[:0], len(b), rules.Sort && sortable(query)
	for rest := query; rest != ""; {
		var p string
		if p, rest, _ = strings.Cut(rest, "&"); p == "" || !rules.keeps(p) {
			continue
		}
		if order {
			kept = insertSorted(kept, p, lessName)
		} else {
			b = appendParameter(b, start, p)
		}
	}
	for _, p := range kept {
		b = appendParameter(b, start, p)
	}
	return b
}

func appendParameter(b []byte, start int, p string) []byte {
	if len(b) > start {
		b = append(b, '&')
	}
	return append(b, p...)
}

// sortable reports whether all is clear about the names of a query, and they are not too many.
func sortable(query string) bool {
	return strings.Count(query, "&") < maxParameters && !ambiguous(query)
}

// ambiguous reports whether origins differ in which names they see: some end a parameter at ";", and each has its own way with a
// broken escape.
func ambiguous(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return true
		case '%':
			if i+2 >= len(s) || !isHexDigit(s[i+1]) || !isHexDigit(s[i+2]) {
				return true
			}
		}
	}
	return false
}

// keeps reports whether a parameter, name and value as they stand in the query, is part of the key.
func (q *QueryRules) keeps(p string) bool {
	if q.Mode == QueryAll || ambiguous(p) {
		return true
	}
	name, _, _ := strings.Cut(p, "=")
	for _, rule := range q.Names {
		if q.Mode == QueryDeny && denies(rule, name) {
			return false
		}
		if q.Mode == QueryAllow && allows(rule, name) {
			return true
		}
	}
	return q.Mode == QueryDeny
}

// denies compares a name with a rule byte by byte.
func denies(rule, name string) bool {
	for i := range len(rule) {
		if rule[i] == '*' {
			return true
		}
		c, rest, ok := nextDecoded(name)
		if !ok || c != rule[i] {
			return false
		}
		name = rest
	}
	return name == ""
}

// allows compares them as the most lenient origins do: without case, with "." and " " for "_", and up to a "[".
func allows(rule, name string) bool {
	prefix, _, open := strings.Cut(rule, "*")
	rest, ok := cutLenient(name, prefix)
	return ok && (open || endsName(rest))
}

// cutLenient takes a prefix off a name.
func cutLenient(name, prefix string) (rest string, ok bool) {
	for i := range len(prefix) {
		c, rest, ok := nextDecoded(name)
		if !ok || lenient(c) != lenient(prefix[i]) {
			return "", false
		}
		name = rest
	}
	return name, true
}

// endsName reports whether some origin takes rest for no part of the name before it.
func endsName(rest string) bool {
	c, _, ok := nextDecoded(rest)
	return !ok || c == '[' || c == 0
}

// lenient is what a byte of a name is to origins that don't tell some of them apart.
func lenient(c byte) byte {
	switch c {
	case '.', ' ', '+', '[':
		return '_'
	}
	return lower(c)
}

// nextDecoded takes one byte, percent-decoded, off a name; false at its end. Escapes are sound.
func nextDecoded(s string) (c byte, rest string, ok bool) {
	switch {
	case s == "":
		return 0, "", false
	case s[0] == '+':
		return ' ', s[1:], true
	case s[0] == '%' && len(s) > 2:
		return hexValue(s[1])<<4 | hexValue(s[2]), s[3:], true
	}
	return s[0], s[1:], true
}

// lessName compares the names of two parameters. Those that are one to some origin are equal, and so keep their order, as it counts there.
func lessName(a, b string) bool {
	a, _, _ = strings.Cut(a, "=")
	b, _, _ = strings.Cut(b, "=")
	for {
		x, restA, okA := nextDecoded(a)
		y, restB, okB := nextDecoded(b)
		okA, okB = okA && x != '[' && x != 0, okB && y != '[' && y != 0
		if x, y = lenient(x), lenient(y); !okA || !okB || x != y {
			return okB && (!okA || x < y)
		}
		a, b = restA, restB
	}
}

func isHexDigit(c byte) bool {
	return isDigit(c) || 'a' <= lower(c) && lower(c) <= 'f'
}

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return lower(c) - 'a' + 10
}
