package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	example, err := os.ReadFile("../../config.yaml.example")
	if err != nil {
		f.Fatal(err)
	}
	seeds := []string{
		string(example), complete(""), "", "\uFEFF", "---\n---\n", "a: &x *x", "? a\n: b", "listen: [", "regions: {a: {location: [1]}}",
		"services: {\"\": {hosts: [\"\"], origins: {\"\": [\"\"]}}}", "edge: |\n  text\n", "log: {level: !!int 1}", "version: 1\nversion: 1",
		"anycast: {bgp: {neighbors: [{}, [], 1, ~]}}", "\tx", "a:\r\n  b: [\r\n", "services: {a: {hosts: [\"[::1]\", \"*.\"], paths: [\"\"]}}",
		"cache: {memory: 9223372036854775807TiB}", "shutdown: {settle: 9999999999h}", "\"\\u0000\": 1", "limits:\n  ? max_streams\n  : 1\n",
		"services: {a: {origins: {b: [\"http://[::1%25]:80\", \"http://:80\", \"http://x:\"]}}}",
	}
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<14 {
			return // the parser's time grows with the square of the size
		}
		c, err := Parse("f", data)
		if err == nil {
			if c.Version != 1 || len(c.Listen) == 0 || len(c.Services) == 0 {
				t.Fatalf("accepted without what must be there: %+v", c)
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 || c != nil {
			t.Fatalf("%T: %v", err, err)
		}
		lines := strings.Split(string(data), "\n")
		for i, e := range errs {
			if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || e.Msg == "" || e.File != "f" {
				t.Fatalf("an error without a place in the file: %+v", e)
			}
			if i > 0 && (e.Line < errs[i-1].Line || e.Line == errs[i-1].Line && e.Col < errs[i-1].Col) {
				t.Fatalf("not in the order of the file: %+v after %+v", e, errs[i-1])
			}
		}
		if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Fatalf("control characters in %q", err)
		}
	})
}
