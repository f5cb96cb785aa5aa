package modeltest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// The grammars, as regular expressions (RFC 9110 §5.6).
const (
	token  = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	quoted = `"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"`
)

var (
	memberRE    = regexp.MustCompile(`^(?s:[^,"]|"(?:[^"\\]|\\.)*")*`)
	directiveRE = regexp.MustCompile("^(" + token + ")(?:=(" + token + "|" + quoted + "))?$")
	looseRE     = regexp.MustCompile("^(" + token + ")[ \t]*=")
	quotedRE    = regexp.MustCompile("^" + quoted + "$")
	pairRE      = regexp.MustCompile(`\\(.)`)
	digitsRE    = regexp.MustCompile(`^[0-9]+$`)
	tagRE       = regexp.MustCompile(`(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"`)
)

// Lines are the values of a field's lines.
func Lines(f message.Fields, name string) []string {
	var lines []string
	for _, x := range f {
		if x.Name == name {
			lines = append(lines, x.Value)
		}
	}
	return lines
}

// One is a field's only line; ok is false when there is none, or more than one.
func One(f message.Fields, name string) (value string, ok bool) {
	lines := Lines(f, name)
	if len(lines) != 1 {
		return "", false
	}
	return lines[0], true
}

// List are the members of a comma-separated list (RFC 9110 §5.6.1), quoted strings whole, empty members left out. whole is false when
// a quote is not closed: then the last member is what is left.
func List(lines []string) (members []string, whole bool) {
	whole = true
	for _, s := range lines {
		for {
			m := memberRE.FindString(s)
			rest := s[len(m):]
			if rest != "" && rest[0] != ',' {
				m, rest, whole = s, "", false
			}
			if m = strings.Trim(m, " \t"); m != "" {
				members = append(members, m)
			}
			if rest == "" {
				break
			}
			s = rest[1:]
		}
	}
	return members, whole
}

// Directive is a member of Cache-Control (RFC 9111 §5.2).
type Directive struct {
	Name     string // lower case
	Value    string // without quotes
	HasValue bool
	Bad      bool // not in the grammar: what it says is anyone's guess
}

// CacheControl reads the field (RFC 9111 §5.2). whole is false when a quote is not closed: then no two readers agree on what is there.
func CacheControl(lines []string) (ds []Directive, whole bool) {
	members, whole := List(lines)
	for _, m := range members {
		if p := directiveRE.FindStringSubmatch(m); p != nil {
			value := p[2]
			if quotedRE.MatchString(value) {
				value = pairRE.ReplaceAllString(value[1:len(value)-1], "$1")
			}
			ds = append(ds, Directive{Name: strings.ToLower(p[1]), Value: value, HasValue: p[2] != ""})
			continue
		}
		bad := Directive{Bad: true, HasValue: true}
		if p := looseRE.FindStringSubmatch(m); p != nil {
			bad.Name = strings.ToLower(p[1])
		}
		ds = append(ds, bad)
	}
	return ds, whole
}

// Delta reads delta-seconds (RFC 9111 §1.2.2).
func Delta(s string) (d time.Duration, ok bool) {
	if !digitsRE.MatchString(s) {
		return 0, false
	}
	const most = 1 << 31
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > most {
		n = most
	}
	return time.Duration(n) * time.Second, true
}

// Age reads the Age field (RFC 9111 §5.1): of several values the first counts, one that can't be read is ignored.
func Age(f message.Fields) time.Duration {
	lines := Lines(f, "age")
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	d, _ := Delta(strings.Trim(first, " \t"))
	return d
}

// Date reads an HTTP-date in any of its three forms (RFC 9110 §5.6.7). A cache takes no notice of case (RFC 9111 §4.2).
func Date(s string, now time.Time) (time.Time, bool) {
	if leap := strings.LastIndex(s, "23:59:60"); leap >= 0 { // which package time does not know
		t, ok := Date(s[:leap]+"23:59:59"+s[leap+8:], now)
		return t.Add(time.Second), ok
	}
	if n := len(s) - 3; n > 0 && strings.EqualFold(s[n:], "gmt") {
		s = s[:n] + "GMT"
	}
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, strings.EqualFold(t.Format(layout), s)
		}
	}
	const twoDigits = "Monday, 02-Jan-06 15:04:05 GMT"
	t, err := time.Parse(twoDigits, s)
	if err != nil || !strings.EqualFold(afterDay(t.Format(twoDigits)), afterDay(s)) {
		return time.Time{}, false
	}
	// The last year with these digits that is not more than 50 years ahead.
	for year := now.Year() + 51; ; year-- {
		c := time.Date(year, t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
		if year%100 == t.Year()%100 && !c.After(now.AddDate(50, 0, 0)) {
			return c, c.Day() == t.Day()
		}
	}
}

func afterDay(s string) string { _, rest, _ := strings.Cut(s, ","); return rest }

// DateField reads a field that is one date.
func DateField(f message.Fields, name string, now time.Time) (time.Time, bool) {
	s, ok := One(f, name)
	if !ok {
		return time.Time{}, false
	}
	return Date(s, now)
}

// Tags are the entity tags of an If-None-Match or If-Match (RFC 9110 §13.1); any is true for "*".
func Tags(lines []string) (tags []string, any bool) {
	for _, s := range lines {
		if strings.Trim(s, " \t") == "*" {
			any = true
			continue
		}
		tags = append(tags, tagRE.FindAllString(s, -1)...)
	}
	return tags, any
}

// opaque is a tag without the mark of a weak one, for weak comparison (RFC 9110 §8.8.3.2).
func opaque(tag string) string { return strings.TrimPrefix(tag, "W/") }

// SameTag is strong comparison.
func SameTag(a, b string) bool { return a == b && strings.HasPrefix(a, `"`) }

// Span is a range of bytes: from First up to and with Last.
type Span struct{ First, Last int }

// Ranges reads a Range field for a body of n bytes (RFC 9110 §14.1.2): the ranges that can be satisfied. ok is false when the field is not in
// the grammar or not in bytes, and so has no meaning.
func Ranges(s string, n int) (spans []Span, ok bool) {
	unit, set, found := strings.Cut(s, "=")
	if !found || !strings.EqualFold(unit, "bytes") {
		return nil, false
	}
	members, _ := List([]string{set})
	for _, m := range members {
		first, last, dash := strings.Cut(m, "-")
		from, err1 := position(first)
		to, err2 := position(last)
		switch {
		case !dash || first == "" && last == "" || first != "" && err1 != nil || last != "" && err2 != nil:
			return nil, false
		case first == "":
			if to > 0 && n > 0 {
				spans = append(spans, Span{max(n-to, 0), n - 1})
			}
		case last != "" && to < from:
			return nil, false
		case from < n:
			if last == "" || to >= n {
				to = n - 1
			}
			spans = append(spans, Span{from, to})
		}
	}
	return spans, len(members) > 0
}

func position(s string) (int, error) {
	if !digitsRE.MatchString(s) {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1 << 40, nil
	}
	return min(n, 1<<40), nil
}

// VaryNames are the request fields that Vary names, in lower case (RFC 9110 §12.5.5).
func VaryNames(f message.Fields) (names []string, star bool) {
	members, _ := List(Lines(f, "vary"))
	for _, m := range members {
		if m = strings.ToLower(m); m == "*" {
			star = true
		} else if !slices.Contains(names, m) {
			names = append(names, m)
		}
	}
	return names, star
}
