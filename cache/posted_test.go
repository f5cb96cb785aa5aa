package cache

import (
	"testing"
	"time"
)

func TestRFC9110_9_3_3_PostThatIsStored(t *testing.T) {
	for _, tt := range []struct {
		why    string
		method string
		status int
		lines  []string
		stored bool
	}{
		{"max-age and its own URL", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1"}, true},
		{"Expires and the whole URL", "POST", 200, []string{"Expires: Sun, 01 Mar 2026 13:00:00 GMT", "Content-Location: https://SHOP.example.com:443/a?x=1"}, true},
		{"relative", "POST", 200, []string{"Cache-Control: s-maxage=60", "Content-Location: ?x=1"}, true},
		{"by the targeted field", "POST", 200, []string{"CDN-Cache-Control: max-age=60", "Content-Location: ./a?x=1"}, true},
		{"another URL", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a"}, false},
		{"another scheme", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: http://shop.example.com/a?x=1"}, false},
		{"another host", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: https://example.com/a?x=1"}, false},
		{"no URL", "POST", 200, []string{"Cache-Control: max-age=60"}, false},
		{"two of them", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1", "Content-Location: /a?x=1"}, false},
		{"heuristic freshness", "POST", 200, []string{"Last-Modified: Sun, 01 Feb 2026 13:00:00 GMT", "Content-Location: /a?x=1"}, false},
		{"public is no freshness", "POST", 200, []string{"Cache-Control: public", "Last-Modified: Sun, 01 Feb 2026 13:00:00 GMT", "Content-Location: /a?x=1"}, false},
		{"not fresh", "POST", 200, []string{"Cache-Control: max-age=0", `ETag: "a"`, "Content-Location: /a?x=1"}, false},
		{"no-cache", "POST", 200, []string{"Cache-Control: max-age=60, no-cache", `ETag: "a"`, "Content-Location: /a?x=1"}, false},
		{"no-store", "POST", 200, []string{"Cache-Control: max-age=60, no-store", "Content-Location: /a?x=1"}, false},
		{"a coding that the canonical field names", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1", "Vary: accept-encoding", "Content-Encoding: gzip"}, true},
		{"one that it leaves out", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1", "Vary: accept-encoding", "Content-Encoding: deflate"}, false},
		{"one that is not known", "POST", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1", "Vary: accept-encoding", "Content-Encoding: x"}, false},
		{"another status", "POST", 201, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1"}, false},
		{"another method", "PUT", 200, []string{"Cache-Control: max-age=60", "Content-Location: /a?x=1"}, false},
	} {
		h := newHarness(t)
		h.store(get("/a?x=1"), answer(200, "Cache-Control: max-age=60"), "old")
		r, resp := request(tt.method, "/a?x=1", "Accept-Encoding: gzip, deflate, x"), answer(tt.status, tt.lines...)
		h.Invalidate("shop", r, h.policy, resp.Status, resp.Fields)
		w := h.Posted("shop", r, resp, h.policy)
		if (w != nil) != tt.stored {
			t.Errorf("%s: stored %v", tt.why, w != nil)
		}
		if w == nil {
			h.want(tt.why, time.Second, get("/a?x=1"), Miss, ReasonNotStored)
			if h.Refused(epoch, h.key(get("/a?x=1")), get("/a?x=1"), "") {
				t.Errorf("%s: GETs would not be collapsed any more", tt.why)
			}
			continue
		}
		h.want("not before its end", time.Second, get("/a?x=1"), Miss, ReasonNotStored)
		w.Write([]byte("new"))
		if got := w.Commit(nil); got != ReasonStored {
			t.Errorf("%s: %v", tt.why, got)
		}
		if res := h.want(tt.why, time.Second, get("/a?x=1", "Accept-Encoding: gzip"), Hit, ReasonFresh); res.Object != nil && h.body(res.Object, Whole) != "new" {
			t.Errorf("%s: another body", tt.why)
		}
		h.want("HEAD shares it", time.Second, request("HEAD", "/a?x=1", "Accept-Encoding: gzip"), Hit, ReasonFresh)
	}
}

func TestAnUnsafeRequestMeanwhileUndoesAPost(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	r := request("POST", "/a")
	w := h.Posted("shop", r, answer(200, "Cache-Control: max-age=60", "Content-Location: /a"), h.policy)
	w.Write([]byte("new"))
	h.Invalidate("shop", request("DELETE", "/a"), h.policy, 204, nil)
	if got := w.Commit(nil); got != ReasonInvalidated {
		t.Errorf("%v", got)
	}
	w = h.Posted("shop", r, answer(200, "Cache-Control: max-age=60", "Content-Location: /a"), h.policy)
	w.Write([]byte("cut"))
	w.Abort(nil)
	h.want("what was cut", time.Second, get("/a"), Miss, ReasonNotStored)
	if got := h.budget.used.Load(); got != base {
		t.Errorf("%d bytes are still counted", got-base)
	}
}
