package cache

import (
	"testing"
	"time"
)

// answerHead answers a HEAD for / at a time after epoch.
func (h harness) answerHead(after time.Duration, request []string, resp Response) Reason {
	h.Helper()
	r := get("/", request...)
	r.Method = "HEAD"
	f, leader := h.Begin(epoch.Add(after), h.key(r), r)
	if !leader {
		h.Fatal("must lead")
	}
	w, reason := f.Respond(r, resp.at(epoch.Add(after)), h.policy)
	if w != nil {
		h.Fatal("there is no body to store")
	}
	return reason
}

func TestRFC9111_4_3_5_Head(t *testing.T) {
	const modified = "Last-Modified: Sun, 01 Mar 2026 10:00:00 GMT"
	for _, tt := range []struct {
		why     string
		stored  []string
		request []string
		status  int
		lines   []string
		length  int64
		want    Reason
		after   State // of a GET, with a fresh answer to the HEAD
	}{
		{"no validators at all", nil, nil, 200, nil, -1, ReasonHeadMatches, Hit},
		{"the same tag and date", []string{`ETag: "a"`, modified}, nil, 200, []string{`ETag: "a"`, modified}, 4, ReasonHeadMatches, Hit},
		{"only what is received counts", []string{`ETag: "a"`, modified}, nil, 200, nil, -1, ReasonHeadMatches, Hit},
		{"another tag", []string{`ETag: "a"`}, nil, 200, []string{`ETag: "b"`}, -1, ReasonHeadDiffers, Stale},
		{"a tag where there was none", nil, nil, 200, []string{`ETag: "b"`}, -1, ReasonHeadDiffers, Stale},
		{"another date", []string{modified}, nil, 200, []string{"Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"}, -1, ReasonHeadDiffers, Stale},
		{"another length", nil, nil, 200, nil, 5, ReasonHeadDiffers, Stale},
		{"no 200", nil, nil, 410, nil, -1, ReasonHead, Stale},
		{"a user's own", nil, []string{"Authorization: x"}, 200, []string{`ETag: "b"`}, -1, ReasonHead, Stale},
		{"the client wants no trace", nil, []string{"Cache-Control: no-store"}, 200, nil, -1, ReasonHead, Stale},
	} {
		h := newHarness(t)
		h.store(get("/"), answer(200, append(tt.stored, "Cache-Control: max-age=10", "X-A: old", "X-B: kept")...), "body")
		resp := answer(tt.status, append(tt.lines, "Cache-Control: max-age=30", "X-A: new")...)
		resp.Length = tt.length
		if got := h.answerHead(20*time.Second, tt.request, resp); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
		res := h.look(21*time.Second, get("/"))
		if res.State != tt.after {
			t.Errorf("%s: then a GET is a %v (%v)", tt.why, res.State, res.Reason)
		}
		wantA := "old"
		if tt.want == ReasonHeadMatches {
			wantA = "new"
		}
		if o := res.Object; o == nil || o.Fields.Get("x-a") != wantA || o.Fields.Get("x-b") != "kept" || h.body(o, Whole) != "body" {
			t.Errorf("%s: %+v", tt.why, res)
		}
	}
}

func TestRFC9111_4_3_5_HeadThatDiffersEndsFreshness(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: max-age=60, stale-while-revalidate=60", `ETag: "a"`), "body")
	h.want("fresh", 10*time.Second, get("/"), Hit, ReasonFresh)
	h.answerHead(10*time.Second, []string{"Cache-Control: no-cache"}, answer(200, "Cache-Control: max-age=60", `ETag: "b"`))
	if res := h.want("not any more", 10*time.Second, get("/"), Stale, ReasonExpired); res.ServeStaleWhileRevalidate {
		t.Error("it is known to be another one")
	}
}

func TestRFC9111_4_3_5_HeadThatForbidsStoring(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: max-age=10"), "body")
	h.answerHead(20*time.Second, nil, answer(200, "Cache-Control: no-store"))
	h.want("gone", 20*time.Second, get("/"), Miss, ReasonNotStored)
}

func TestHeadUpdateIsCounted(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	h.store(get("/"), answer(200, "Cache-Control: max-age=10"), "body")
	h.answerHead(20*time.Second, nil, answer(200, "Cache-Control: max-age=10", "X-Long: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"))
	if got, want := h.budget.used.Load()-base, h.held(); got != want {
		t.Errorf("%d bytes counted, %d held", got, want)
	}
}
