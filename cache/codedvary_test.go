package cache

import (
	"strings"
	"testing"

	"nearcast/proxy/message"
)

func TestRFC9111_4_1_AcceptEncoding(t *testing.T) {
	const chrome, safari = "gzip, deflate, br, zstd", "gzip, deflate, br"
	for _, tt := range []struct {
		why, coding, first, second string
		same                       bool
	}{
		{"the same in other words", "", chrome, "zstd;q=1.0,br , gzip", true},
		{"without a coding it is to the letter", "", chrome, safari, false},
		{"chosen among more", "br", chrome, safari, true},
		{"and gzip for one who takes nothing else", "gzip", chrome, "gzip", true},
		{"chosen among less", "gzip", "gzip", safari, false},
		{"not acceptable", "br", chrome, "gzip", false},
		{"not acceptable at all", "br", chrome, "gzip, br;q=0", false},
		{"another preference", "br", chrome, "gzip, br;q=0.5", false},
		{"absence is something else", "gzip", chrome, "", false},
		{"and matches absence", "", "", "", true},
		{"an unasked coding too", "gzip", "", "", true},
		{"a coding that is not known", "x", chrome, safari, false},
		{"two codings", "gzip\nContent-Encoding: br", chrome, "gzip", false},
		{"two codings in one line", "gzip, br", chrome, "gzip", false},
		{"a dictionary that the first had (RFC 9842)", "dcb", chrome + ", dcb, dcz", chrome, false},
		{"and others of those who have one", "dcb", chrome + ", dcb, dcz", "dcb, gzip", true},
		{"the second may have a dictionary", "br", chrome, chrome + ", dcb, dcz", false},
	} {
		h := newHarness(t)
		r := func(accept string) *message.Request {
			if accept == "" {
				return get("/")
			}
			return get("/", "Accept-Encoding: "+accept)
		}
		lines := []string{"Cache-Control: max-age=60", "Vary: Accept-Encoding"}
		if tt.coding != "" {
			lines = append(lines, strings.Split("Content-Encoding: "+tt.coding, "\n")...)
		}
		h.store(r(tt.first), answer(200, lines...), "x")
		if res := h.look(0, r(tt.second)); (res.State == Hit) != tt.same {
			t.Errorf("%s: %q after %q in %q: %v", tt.why, tt.second, tt.first, tt.coding, res.State)
		}
		if n := testing.AllocsPerRun(50, func() { h.look(0, r(tt.first)) }) - testing.AllocsPerRun(50, func() { r(tt.first) }); n > 0 {
			t.Errorf("%s: %v allocations", tt.why, n)
		}
	}
}

// TestVariantsOfOneResourceStay is a client without codings between others: each variant is fetched once.
func TestVariantsOfOneResourceStay(t *testing.T) {
	h := newHarness(t)
	coded, plain := get("/", "Accept-Encoding: gzip, deflate, br"), get("/")
	fetches := 0
	for range 3 {
		for _, r := range []*message.Request{coded, plain, get("/", "Accept-Encoding: identity"), get("/", "Accept-Encoding: gzip")} {
			if h.look(0, r).State == Hit {
				continue
			}
			fetches++
			lines := []string{"Cache-Control: max-age=60", "Vary: Accept-Encoding"}
			if strings.Contains(r.Fields.Get("accept-encoding"), "gzip") {
				lines = append(lines, "Content-Encoding: gzip")
			}
			h.store(r, answer(200, lines...), "x")
		}
	}
	if fetches != 3 {
		t.Errorf("%d fetches", fetches)
	}
	if o := h.look(0, plain).Object; o.Fields.Has("content-encoding") {
		t.Errorf("a client without codings gets %v", o.Fields)
	}
}
