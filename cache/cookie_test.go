package cache

import (
	"testing"
	"time"
)

func TestRFC9111_7_3_SetCookie(t *testing.T) {
	for _, tt := range []struct {
		why, rule string
		lines     []string
		want      Reason
		kept      bool
	}{
		{"stated freshness", CookieStore, []string{"Cache-Control: max-age=60"}, ReasonStored, true},
		{"stated for shared caches", CookieStore, []string{"Cache-Control: s-maxage=60"}, ReasonStored, true},
		{"public", CookieStore, []string{"Cache-Control: public", "Last-Modified: Sun, 01 Feb 2026 12:00:00 GMT"}, ReasonStored, true},
		{"nothing stated", CookieStore, []string{"Last-Modified: Sun, 01 Feb 2026 12:00:00 GMT"}, ReasonSetCookie, false},
		{"kept out by the origin", CookieStore, []string{`Cache-Control: max-age=60, private="set-cookie"`}, ReasonStored, false},
		{"refused", CookieRefuse, []string{"Cache-Control: public, s-maxage=60"}, ReasonSetCookie, false},
		{"refused, but kept out by the origin", CookieRefuse, []string{`Cache-Control: max-age=60, no-cache="Set-Cookie"`}, ReasonStored, false},
		{"stripped", CookieStrip, []string{"Cache-Control: max-age=60"}, ReasonStored, false},
		{"stripped, and what is left is any response", CookieStrip, []string{"Last-Modified: Sun, 01 Feb 2026 12:00:00 GMT"}, ReasonStored, false},
	} {
		h := newHarness(t)
		h.policy.SetCookie = tt.rule
		if got := h.store(get("/"), answer(200, append(tt.lines, "Set-Cookie: a=b", "Set-Cookie: c=d")...), "x"); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
			continue
		}
		if o := h.look(time.Second, get("/")).Object; o != nil && (len(o.Fields.Values("set-cookie")) == 2) != tt.kept {
			t.Errorf("%s: %v", tt.why, o.Fields)
		}
	}
}

func TestDefaultFreshnessStoresNoCookie(t *testing.T) {
	h := newHarness(t)
	h.policy.DefaultTTL = time.Minute
	if got := h.store(get("/"), answer(200, "Set-Cookie: a=b"), "x"); got != ReasonSetCookie {
		t.Errorf("%v: nobody has said that it is for everybody", got)
	}
}
