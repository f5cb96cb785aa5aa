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

func TestRFC9111_7_3_SetCookieOfAnUpdate(t *testing.T) {
	for _, tt := range []struct {
		why, rule string
		lines     []string // of the 304
		want      string   // the stored cookies
	}{
		{"none", CookieStore, nil, "old"},
		{"one client's", CookieStore, []string{"Set-Cookie: new"}, "old"},
		{"one client's, with another field", CookieStore, []string{"Set-Cookie: new", "Cache-Control: must-revalidate"}, "old"},
		{"with a lifetime", CookieStore, []string{"Set-Cookie: new", "Cache-Control: max-age=60"}, "new"},
		{"with Expires", CookieStore, []string{"Set-Cookie: new", "Expires: Sun, 01 Mar 2099 12:00:00 GMT"}, "new"},
		{"public", CookieStore, []string{"Set-Cookie: new", "Cache-Control: public"}, "new"},
		{"kept out by the origin", CookieStore, []string{"Set-Cookie: new", `Cache-Control: max-age=60, private="set-cookie"`}, ""},
		{"stripped", CookieStrip, []string{"Set-Cookie: new", "Cache-Control: max-age=60"}, ""},
	} {
		h := newHarness(t)
		h.policy.SetCookie = tt.rule
		h.store(get("/"), answer(200, "Cache-Control: max-age=60", `Etag: "1"`, "Set-Cookie: old"), "x")
		old := h.look(time.Second, get("/")).Object
		f, _ := h.Begin(epoch, h.key(get("/")), get("/"))
		o := f.NotModified(get("/"), answer(304, append(tt.lines, `Etag: "1"`)...), old, h.policy)
		if got := o.Fields.Get("set-cookie"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.why, got, tt.want)
		}
	}
}
