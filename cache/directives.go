package cache

import (
	"strings"
	"time"

	"nearcast/proxy/message"
)

// flags is the set of directives that take no argument.
type flags uint16

const (
	flagNoStore flags = 1 << iota
	flagNoCache       // unqualified
	flagPrivate       // unqualified
	flagPublic
	flagMustRevalidate
	flagProxyRevalidate
	flagMustUnderstand
	flagOnlyIfCached
)

// absent is the value of a directive that is not there.
const absent = -1

// maxDelta is what larger delta-seconds mean (RFC 9111 §1.2.2).
const maxDelta = 1 << 31

// anyStale is max-stale without an argument: any staleness will do (RFC 9111 §5.2.1.2).
const anyStale = maxDelta

// directives are the cache directives of one message, request or response. Unknown ones are ignored (RFC 9111 §5.2.3). A directive that
// occurs twice counts in its more restrictive form; an argument that can't be read makes a response stale (RFC 9111 §4.2.1).
type directives struct {
	flags
	maxAge, sMaxAge                    int64 // seconds, or absent
	minFresh, maxStale                 int64
	staleWhileRevalidate, staleIfError int64
	noCacheFields, privateFields       []string // lower case; of the qualified forms
}

func newDirectives() directives {
	return directives{
		maxAge: absent, sMaxAge: absent, minFresh: absent, maxStale: absent, staleWhileRevalidate: absent, staleIfError: absent,
	}
}

func (f flags) has(any flags) bool { return f&any != 0 }

// seconds turns a directive's value into a duration; absent counts as 0.
func seconds(n int64) time.Duration { return time.Duration(max(n, 0)) * time.Second }

// parseCacheControl reads every line of the field (RFC 9111 §5.2). found tells whether there is one at all.
func parseCacheControl(f message.Fields) (d directives, found bool) {
	d = newDirectives()
	for i := range f {
		if f[i].Name == "cache-control" {
			found = true
			d.parseLine(f[i].Value)
		}
	}
	return d, found
}

// parseLine reads one line: directives separated by commas, each a token with an optional token or quoted-string.
func (d *directives) parseLine(s string) {
	for s != "" {
		var m string
		m, s = cutDirective(s)
		name, arg, hasArg := strings.Cut(m, "=")
		switch {
		case name == "":
		case !hasArg:
			d.flag(name)
		default:
			// White space beside "=" is not in the grammar. The name is still recognised, so that a restriction counts,
			// and the argument is unreadable, so that a lifetime does not.
			bare := strings.TrimRight(name, " \t")
			if value, ok := argument(arg); ok && bare == name {
				d.value(name, value)
			} else {
				d.unreadable(bare)
			}
		}
	}
}

// cutDirective is cutMember, but that a quote which is never closed hides no restriction that comes after it.
func cutDirective(s string) (member, rest string) {
	m, rest, closed := cutQuoted(s)
	if !closed {
		m, rest, _ = strings.Cut(s, ",")
	}
	return trimOWS(m), rest
}

// cutMember takes the first member off a comma-separated list; commas in quoted strings don't count. The member is trimmed.
func cutMember(s string) (member, rest string) {
	m, rest, _ := cutQuoted(s)
	return trimOWS(m), rest
}

// cutQuoted cuts at the first comma outside of quotes. closed is false when there is none because a quote has no end.
func cutQuoted(s string) (member, rest string, closed bool) {
	at, closed := indexUnquoted(s, ',')
	if at < 0 {
		return s, "", closed
	}
	return s[:at], s[at+1:], true
}

// indexUnquoted is where the first c outside of quotes is, or -1. closed is false when there is none because a quote has no end.
func indexUnquoted(s string, c byte) (at int, closed bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch x := s[i]; {
		case quoted && x == '\\':
			i++
		case x == '"':
			quoted = !quoted
		case x == c && !quoted:
			return i, true
		}
	}
	return -1, !quoted
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }

// argument reads a token or a quoted-string (RFC 9110 §5.6.4).
func argument(s string) (value string, ok bool) {
	if s == "" {
		return "", false
	}
	if s[0] != '"' {
		return s, message.IsToken(s)
	}
	if len(s) < 2 || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return unquote(s)
}

// unquote resolves the quoted pairs of a quoted-string's inside.
func unquote(s string) (string, bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return "", false
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b = append(b, s[i])
	}
	return string(b), true
}

var flagNames = []struct {
	name string
	flag flags
}{
	{"no-store", flagNoStore}, {"no-cache", flagNoCache}, {"private", flagPrivate}, {"public", flagPublic},
	{"must-revalidate", flagMustRevalidate}, {"proxy-revalidate", flagProxyRevalidate},
	{"must-understand", flagMustUnderstand}, {"only-if-cached", flagOnlyIfCached},
}

// permissive are the flags that allow more than their absence does: with an argument that the grammar does not know, they don't count.
const permissive = flagPublic | flagMustUnderstand

// flag notes a directive without an argument.
func (d *directives) flag(name string) {
	for _, x := range flagNames {
		if strings.EqualFold(name, x.name) {
			d.flags |= x.flag
			return
		}
	}
	if strings.EqualFold(name, "max-stale") {
		d.maxStale = moreRestrictive(d.maxStale, anyStale)
		return
	}
	d.unreadable(name) // a lifetime without its number
}

// value notes a directive with an argument.
func (d *directives) value(name, arg string) {
	switch {
	case strings.EqualFold(name, "no-cache"):
		d.qualified(flagNoCache, &d.noCacheFields, arg)
		return
	case strings.EqualFold(name, "private"):
		d.qualified(flagPrivate, &d.privateFields, arg)
		return
	case strings.EqualFold(name, "min-fresh"):
		if n, ok := parseDelta(arg); ok {
			d.minFresh = max(d.minFresh, n)
		}
		return
	}
	p := d.lifetime(name)
	n, ok := parseDelta(arg)
	switch {
	case p != nil && ok:
		*p = moreRestrictive(*p, n)
	default:
		d.unreadable(name)
	}
}

// qualified notes a no-cache or private that names fields. One that names none restricts the whole response.
func (d *directives) qualified(whole flags, names *[]string, arg string) {
	n := fieldNames(arg)
	if len(n) == 0 {
		d.flags |= whole
	}
	*names = append(*names, n...)
}

// unreadable notes a directive whose argument can't be made sense of: a restriction counts as a whole, a lifetime is 0.
func (d *directives) unreadable(name string) {
	for _, x := range flagNames {
		if strings.EqualFold(name, x.name) {
			d.flags |= x.flag &^ permissive
			return
		}
	}
	if p := d.lifetime(name); p != nil {
		*p = 0
	}
}

// lifetime is the place of a directive that takes delta-seconds of which less is more restrictive.
func (d *directives) lifetime(name string) *int64 {
	switch {
	case strings.EqualFold(name, "max-age"):
		return &d.maxAge
	case strings.EqualFold(name, "s-maxage"):
		return &d.sMaxAge
	case strings.EqualFold(name, "max-stale"):
		return &d.maxStale
	case strings.EqualFold(name, "stale-while-revalidate"):
		return &d.staleWhileRevalidate
	case strings.EqualFold(name, "stale-if-error"):
		return &d.staleIfError
	}
	return nil
}

func moreRestrictive(have, n int64) int64 {
	if have == absent {
		return n
	}
	return min(have, n)
}

// parseDelta reads delta-seconds: digits only; what is too large saturates (RFC 9111 §1.2.2).
func parseDelta(s string) (n int64, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), maxDelta)
	}
	return n, s != ""
}

// fieldNames splits the argument of a qualified no-cache or private. It is case-insensitive like every field name.
func fieldNames(arg string) []string {
	var names []string
	for _, n := range strings.Split(arg, ",") {
		if n = trimOWS(n); n != "" {
			names = append(names, strings.ToLower(n))
		}
	}
	return names
}
