package message

import (
	"errors"
	"strings"
	"testing"
)

func TestTargetIsNormalisedOnce(t *testing.T) {
	for _, c := range []struct{ raw, want, why string }{
		{"/", "/", "the root stays"},
		{"*", "*", "OPTIONS *"},
		{"/a/b?x=1&y=%zz", "/a/b?x=1&y=%zz", "a query is opaque, broken escapes included"},
		{"/a?", "/a?", "an empty query is not no query"},
		{"/%7Euser/%61", "/~user/a", "unreserved characters are decoded (RFC 3986 §6.2.2.2)"},
		{"/a%2fb", "/a%2Fb", "an escaped slash stays one, in upper case (§6.2.2.1)"},
		{"/a/./b/../c", "/a/c", "dot segments go (§6.2.2.3)"},
		{"/a/%2e%2E/b", "/b", "escaped dots are dots"},
		{"/../../x", "/x", "nothing is above the root"},
		{"/a/..", "/", "a trailing dot-dot leaves a slash"},
		{"/a/.", "/a/", "a trailing dot leaves a slash"},
		{"/a/b/..", "/a/", ""},
		{"//a//b", "//a//b", "empty segments are kept"},
		{"//a/..//b", "///b", "dot-dot takes one segment, empty ones are kept"},
		{"/.a/..b/...", "/.a/..b/...", "only whole dot segments count"},
		{"/a|b\"<>", "/a%7Cb%22%3C%3E", "what a URI may not hold is escaped"},
		{"/é?ü", "/%C3%A9?%C3%BC", "bytes above ASCII are escaped"},
		{"/a\\..\\b", "/a%5C..%5Cb", "a backslash is no separator"},
	} {
		got, err := ParseTarget(c.raw)
		if err != nil || got.String() != c.want {
			t.Errorf("%q: got %q, %v; want %q: %s", c.raw, got, err, c.want, c.why)
		}
	}
}

func TestTargetRefusesWhatCannotBeOne(t *testing.T) {
	for raw, status := range map[string]int{
		"":                                   400,
		"a":                                  400,
		"http://x/":                          400,
		"/a b":                               400,
		"/a\tb":                              400,
		"/a\x00":                             400,
		"/a%00b":                             400,
		"/a#b":                               400,
		"/a?b#c":                             400,
		"/a?b c":                             400,
		"/%":                                 400,
		"/%4":                                400,
		"/%zz":                               400,
		"/\x7f":                              400,
		"/" + strings.Repeat("a", MaxTarget): 414,
	} {
		_, err := ParseTarget(raw)
		var e *Error
		if !errors.As(err, &e) || e.Status != status || e.Blame != BlameClient {
			t.Errorf("%.20q: got %v, want a client error with status %d", raw, err, status)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/", "*", "/a/../b?c", "/%2e%2e/%2f", "//..//.", "/é\\?\xff", "/a%00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := ParseTarget(raw)
		if err != nil {
			return
		}
		again, err := ParseTarget(got.String())
		if err != nil && len(got.String()) <= MaxTarget {
			t.Fatalf("%q became %q, which is refused: %v", raw, got, err)
		}
		if err == nil && again != got {
			t.Fatalf("%q is not stable: %q, then %q", raw, got, again)
		}
		for _, seg := range strings.Split(got.Path, "/") {
			if seg == "." || seg == ".." {
				t.Fatalf("%q kept a dot segment: %q", raw, got)
			}
		}
	})
}
