package config

import (
	"errors"
	"strings"
	"testing"
)

func TestErrorsShowTheLine(t *testing.T) {
	_, err := Parse("conf.d/edge.yaml", []byte(complete(`log:
  levl: info
services:
  s:
    hosts: ["*"]
    origins:
      here: ["http://10.0.0.1"]
    health: {
      timeout:   5s # too long
    }
`)))
	want := `conf.d/edge.yaml:2:3: log.levl: there is no such key; did you mean "level"?
  |
2 |   levl: info
  |   ^^^^
conf.d/edge.yaml:9:18: services.s.health.timeout: must be more than 0 and at most the interval
  |
9 |       timeout:   5s # too long
  |                  ^^
2 errors`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestEachErrorCanBeHadAlone(t *testing.T) {
	_, err := Parse("f", []byte(complete("edge: {name: e, regoin: r}")))
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("no *Error in %v", err)
	}
	if e.File != "f" || e.Line != 1 || e.Col != 17 || e.Path != "edge.regoin" || e.Hint != `did you mean "region"?` {
		t.Errorf("%+v", e)
	}
	if err.Error() != "f:1:17: edge.regoin: there is no such key; did you mean \"region\"?\n  |\n1 | edge: {name: e, regoin: r}\n  |                 ^^^^^^\n1 error" {
		t.Errorf("%s", err)
	}
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("x", 300) + "BAD" + strings.Repeat("y", 300)
	tests := []struct {
		why      string
		e        Error
		contains []string
	}{
		{"characters, not bytes, are counted", Error{Line: 1, Col: 4, source: "ü: ö", width: 1}, []string{"1 | ü: ö\n", "  |    ^"}},
		{"a tab takes one place", Error{Line: 1, Col: 2, source: "\tx", width: 1}, []string{"1 |  x\n", "  |  ^"}},
		{"no control characters reach the terminal", Error{Line: 1, Col: 1, source: "a\x1b[31mb", width: 1}, []string{"1 | a [31mb\n"}},
		{"a long line is cut around the fault", Error{Line: 1, Col: 301, source: long, width: 3}, []string{"xxxBADyyy", "   ^^^"}},
		{"a place beyond the line", Error{Line: 12, Col: 99, source: "ab", width: 5}, []string{"12 | ab\n   |   ^"}},
		{"an empty line", Error{Line: 1, Col: 1, source: ""}, []string{"1 | \n  | ^"}},
	}
	for _, tt := range tests {
		got := tt.e.excerpt()
		for _, c := range tt.contains {
			if !strings.Contains(got, c) {
				t.Errorf("%s: no %q in\n%s", tt.why, c, got)
			}
		}
		if len(got) > 3*maxExcerpt+50 {
			t.Errorf("%s: %d bytes", tt.why, len(got))
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"interval", "timeout", "rise", "fall", "path", "host", "hold_time", "hold_down"}
	for word, want := range map[string]string{
		"intervall": "interval", "timeuot": "timeout", "RISE": "rise", "fal": "fall", "hots": "host", "hold_tim": "hold_time",
		"hol": "", "xyz": "", "": "", "inter": "interval",
	} {
		if _, got := suggest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"abc", "ab", 1},
		{"kitten", "sitting", 3}, {"primry", "primary", 1}, {"über", "uber", 1}, {strings.Repeat("a", 100), strings.Repeat("a", 200), 0},
	}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%q and %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
