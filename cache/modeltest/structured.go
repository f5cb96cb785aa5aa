package modeltest

import (
	"regexp"
	"slices"
	"strings"
)

// The grammar of a Dictionary as RFC 8941 §4.2 parses it, in one regular expression.
const (
	sfKey    = `[a-z*][a-z0-9_.*-]*`
	sfString = `"(?:[ \x21\x23-\x5b\x5d-\x7e]|\\["\\])*"`
	sfBare   = `(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|` + sfString + "|[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*|:[A-Za-z0-9+/=]*:|\\?[01])"
	sfParams = `(?:; *` + sfKey + `(?:=` + sfBare + `)?)*`
	sfItem   = sfBare + sfParams
	sfInner  = `\( *(?:` + sfItem + `(?: +` + sfItem + `)*)? *\)`
	sfMember = sfKey + `(?:=(?:` + sfInner + `|` + sfBare + `))?` + sfParams
)

var (
	dictionaryRE = regexp.MustCompile(`^ *(?:` + sfMember + `(?:[ \t]*,[ \t]*` + sfMember + `)*[ \t]*)? *$`)
	sfMemberRE   = regexp.MustCompile(`^[ \t,]*(` + sfKey + `)(=(?:` + sfInner + `|(` + sfBare + `)))?` + sfParams)
)

// Targeted reads CDN-Cache-Control (RFC 9213 §2.1) as the directives it stands for. ok is false when it is to be ignored: when it is empty, or
// not a Dictionary.
func Targeted(lines []string) (ds []Directive, ok bool) {
	s := strings.Join(lines, ", ")
	if !dictionaryRE.MatchString(s) || strings.Trim(s, " ") == "" {
		return nil, false
	}
	last := map[string]int{}
	for {
		m := sfMemberRE.FindStringSubmatch(s)
		if m == nil {
			break
		}
		s = s[len(m[0]):]
		d, known := sfDirective(m[1], m[2] != "", m[3])
		if at, again := last[m[1]]; again { // of members with one key the last counts
			ds[at] = Directive{}
		}
		if last[m[1]] = len(ds); !known {
			d = Directive{}
		}
		ds = append(ds, d)
	}
	return ds, true
}

// sfDirective is a member as a directive; not known when its value is of a type that the directive does not have: it is then ignored (RFC 9213 §2.1).
func sfDirective(key string, hasValue bool, value string) (d Directive, known bool) {
	qualified := key == "no-cache" || key == "private"
	number := slices.Contains([]string{"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "max-stale", "min-fresh"}, key)
	switch {
	case !hasValue || value == "?1":
		return Directive{Name: key}, !number
	case strings.Trim(value, "0") == "-":
		return Directive{Name: key, Value: "0", HasValue: true}, true
	case digitsRE.MatchString(value):
		return Directive{Name: key, Value: value, HasValue: true}, true
	case strings.HasPrefix(value, `"`) && qualified:
		return Directive{Name: key, Value: pairRE.ReplaceAllString(value[1:len(value)-1], "$1"), HasValue: true}, true
	}
	return d, false
}
