package cache

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestRFC9111_3_Storing(t *testing.T) {
	auth := "Authorization: Basic eA=="
	for _, tt := range []struct {
		why     string
		request []string
		status  int
		lines   []string
		want    Reason
	}{
		{"explicit freshness", nil, 200, []string{"Cache-Control: max-age=60"}, ReasonStored},
		{"on any final status", nil, 418, []string{"Cache-Control: max-age=60"}, ReasonStored},
		{"also a server error", nil, 503, []string{"Cache-Control: max-age=60"}, ReasonStored},
		{"a validator alone", nil, 200, []string{`ETag: "a"`}, ReasonStored},
		{"nothing at all", nil, 200, nil, ReasonNoFreshness},
		{"max-age=0 with a validator", nil, 200, []string{"Cache-Control: max-age=0", `ETag: "a"`}, ReasonStored},
		{"max-age=0 without", nil, 200, []string{"Cache-Control: max-age=0"}, ReasonNoFreshness},
		{"max-age=0 for errors", nil, 200, []string{"Cache-Control: max-age=0, stale-if-error=60"}, ReasonStored},
		{"no-cache without validator", nil, 200, []string{"Cache-Control: max-age=60, no-cache"}, ReasonNoFreshness},
		{"no-store", nil, 200, []string{"Cache-Control: max-age=60, no-store"}, ReasonNoStore},
		{"private", nil, 200, []string{"Cache-Control: max-age=60, private"}, ReasonPrivate},
		{"private fields only", nil, 200, []string{`Cache-Control: max-age=60, private="x-user"`}, ReasonStored},
		{"partial content", nil, 206, []string{"Cache-Control: max-age=60"}, ReasonPartial},
		{"a 304 by itself", nil, 304, []string{"Cache-Control: max-age=60"}, ReasonStatus},
		{"informational", nil, 103, []string{"Cache-Control: max-age=60"}, ReasonStatus},
		{"Vary: *", nil, 200, []string{"Cache-Control: max-age=60", "Vary: Accept, *"}, ReasonVaryStar},
		{"§5.2.2.3 understood: no-store does not count", nil, 200, []string{"Cache-Control: max-age=60, must-understand, no-store"}, ReasonStored},
		{"§5.2.2.3 not understood", nil, 499, []string{"Cache-Control: max-age=60, must-understand"}, ReasonStatus},
		{"§5.2.1.5 the request's no-store", []string{"Cache-Control: no-store"}, 200, []string{"Cache-Control: max-age=60"}, ReasonRequestNoStore},
		{"§3.5 Authorization", []string{auth}, 200, []string{"Cache-Control: max-age=60"}, ReasonAuthorization},
		{"§3.5 with public", []string{auth}, 200, []string{"Cache-Control: max-age=60, public"}, ReasonStored},
		{"§3.5 with s-maxage", []string{auth}, 200, []string{"Cache-Control: s-maxage=60"}, ReasonStored},
		{"§3.5 with must-revalidate", []string{auth}, 200, []string{"Cache-Control: max-age=60, must-revalidate"}, ReasonStored},
		{"§3.5 proxy-revalidate is not enough", []string{auth}, 200, []string{"Cache-Control: max-age=60, proxy-revalidate"}, ReasonAuthorization},
		{"§7.3 a cookie with max-age", nil, 200, []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, ReasonStored},
		{"§7.3 a cookie with Expires", nil, 200, []string{"Expires: Sun, 01 Mar 2026 13:00:00 GMT", "Set-Cookie: a=b"}, ReasonStored},
		{"a cookie that only heuristics would keep", nil, 200, []string{"Last-Modified: Sun, 01 Feb 2026 13:00:00 GMT", "Set-Cookie: a=b"}, ReasonSetCookie},
		{"a cookie with a validator alone", nil, 200, []string{`ETag: "a"`, "Cache-Control: no-cache", "Set-Cookie: a=b"}, ReasonSetCookie},
		{"a public cookie", nil, 200, []string{"Cache-Control: max-age=60, public", "Set-Cookie: a=b"}, ReasonStored},
		{"a cookie kept out by name", nil, 200, []string{`Cache-Control: max-age=60, no-cache="set-cookie"`, "Set-Cookie: a=b"}, ReasonStored},
		{"public alone on a status without heuristics", nil, 403, []string{"Cache-Control: public", `ETag: "a"`}, ReasonStored},
		{"a validator alone on such a status", nil, 403, []string{`ETag: "a"`}, ReasonNoFreshness},
	} {
		h := newHarness(t)
		if got := h.store(get("/", tt.request...), answer(tt.status, tt.lines...), ""); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
	}
}

func TestRFC9111_3_1_FieldsThatAreNotStored(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, `Cache-Control: max-age=60, private="x-user", no-cache=x-token`, "Connection: x-hop, close", "X-Hop: 1",
		"Transfer-Encoding: chunked", "Proxy-Authenticate: Basic", "Age: 5", "X-User: me", "X-Token: t", "Content-Type: text/plain", "X-Kept: 1"), "x")
	f := h.look(0, r).Object.Fields
	for _, name := range []string{"connection", "x-hop", "transfer-encoding", "proxy-authenticate", "age", "x-user", "x-token"} {
		if f.Has(name) {
			t.Errorf("%s was stored", name)
		}
	}
	for _, name := range []string{"content-type", "x-kept", "cache-control"} {
		if !f.Has(name) {
			t.Errorf("%s was not stored", name)
		}
	}
	if got := f.Get("date"); got != "Sun, 01 Mar 2026 12:00:00 GMT" {
		t.Errorf("Date %q: a response without one gets the time of its receipt", got)
	}
}

func TestRFC9111_4_2_4_StaleUse(t *testing.T) {
	for _, tt := range []struct {
		why                 string
		cacheControl        string
		policy              time.Duration
		after               time.Duration
		revalidate, onError bool
	}{
		{"nothing allows it", "max-age=10", 0, 11 * time.Second, false, false},
		{"stale-while-revalidate", "max-age=10, stale-while-revalidate=5", 0, 15 * time.Second, true, false},
		{"and after it", "max-age=10, stale-while-revalidate=5", 0, 16 * time.Second, false, false},
		{"stale-if-error", "max-age=10, stale-if-error=5", 0, 15 * time.Second, false, true},
		{"and after it", "max-age=10, stale-if-error=5", 0, 16 * time.Second, false, false},
		{"the service's own", "max-age=10", 5 * time.Second, 15 * time.Second, false, true},
		{"the response's 0 wins", "max-age=10, stale-if-error=0", 5 * time.Second, 15 * time.Second, false, false},
		{"must-revalidate forbids", "max-age=10, stale-while-revalidate=5, stale-if-error=5, must-revalidate", 9 * time.Second, 12 * time.Second, false, false},
		{"proxy-revalidate forbids", "max-age=10, stale-while-revalidate=5, stale-if-error=5, proxy-revalidate", 9 * time.Second, 12 * time.Second, false, false},
		{"s-maxage forbids", "s-maxage=10, stale-while-revalidate=5, stale-if-error=5", 9 * time.Second, 12 * time.Second, false, false},
	} {
		h := newHarness(t)
		h.policy.StaleIfError = tt.policy
		h.store(get("/"), answer(200, "Cache-Control: "+tt.cacheControl), "x")
		res := h.want(tt.why, tt.after, get("/"), Stale, ReasonExpired)
		if res.ServeStaleWhileRevalidate != tt.revalidate || res.ServeStaleOnError != tt.onError {
			t.Errorf("%s: while revalidating %v, on error %v", tt.why, res.ServeStaleWhileRevalidate, res.ServeStaleOnError)
		}
	}
}

func TestRFC9111_5_2_2_4_NoCacheIsValidatedEveryTime(t *testing.T) {
	h := newHarness(t)
	h.policy.StaleIfError = time.Hour
	h.store(get("/"), answer(200, "Cache-Control: max-age=60, no-cache", `ETag: "a"`), "x")
	res := h.want("although it is fresh", time.Second, get("/"), Stale, ReasonNoCache)
	if res.ServeStaleOnError {
		t.Error("no-cache forbids use without validation, errors or not")
	}
}

func TestRFC9111_5_2_1_RequestDirectives(t *testing.T) {
	for _, tt := range []struct {
		why    string
		lines  []string
		after  time.Duration
		state  State
		reason Reason
	}{
		{"no-cache", []string{"Cache-Control: no-cache"}, 10 * time.Second, Stale, ReasonRequestNoCache},
		{"§5.4 Pragma", []string{"Pragma: no-cache"}, 10 * time.Second, Stale, ReasonRequestNoCache},
		{"§5.4 Pragma beside Cache-Control is ignored", []string{"Pragma: no-cache", "Cache-Control: max-age=30"}, 10 * time.Second, Hit, ReasonFresh},
		{"max-age", []string{"Cache-Control: max-age=5"}, 10 * time.Second, Stale, ReasonRequestMaxAge},
		{"max-age that is met", []string{"Cache-Control: max-age=10"}, 10 * time.Second, Hit, ReasonFresh},
		{"min-fresh", []string{"Cache-Control: min-fresh=51"}, 10 * time.Second, Stale, ReasonRequestMinFresh},
		{"min-fresh that is met", []string{"Cache-Control: min-fresh=50"}, 10 * time.Second, Hit, ReasonFresh},
		{"max-stale", []string{"Cache-Control: max-stale=10"}, 70 * time.Second, Hit, ReasonMaxStale},
		{"max-stale that is passed", []string{"Cache-Control: max-stale=10"}, 71 * time.Second, Stale, ReasonExpired},
		{"any max-stale", []string{"Cache-Control: max-stale"}, time.Hour, Hit, ReasonMaxStale},
		{"max-age with max-stale allows for both", []string{"Cache-Control: max-age=5, max-stale=5"}, 10 * time.Second, Hit, ReasonFresh},
		{"and for no more", []string{"Cache-Control: max-age=5, max-stale=5"}, 11 * time.Second, Stale, ReasonRequestMaxAge},
		{"max-age with any max-stale", []string{"Cache-Control: max-age=5, max-stale"}, 11 * time.Second, Hit, ReasonFresh},
		{"only-if-cached, fresh", []string{"Cache-Control: only-if-cached"}, 10 * time.Second, Hit, ReasonFresh},
		{"only-if-cached, stale", []string{"Cache-Control: only-if-cached"}, 70 * time.Second, OnlyIfCached, ReasonOnlyIfCached},
		{"no-store may be served what is stored", []string{"Cache-Control: no-store"}, 10 * time.Second, Hit, ReasonFresh},
		{"no-store goes past the cache otherwise", []string{"Cache-Control: no-store"}, 70 * time.Second, Bypass, ReasonRequestNoStore},
	} {
		h := newHarness(t)
		h.store(get("/"), answer(200, "Cache-Control: max-age=60"), "x")
		h.want(tt.why, tt.after, get("/", tt.lines...), tt.state, tt.reason)
	}
	h := newHarness(t)
	h.want("only-if-cached, nothing stored", 0, get("/", "Cache-Control: only-if-cached"), OnlyIfCached, ReasonOnlyIfCached)
	h.want("a range of what is not stored", 0, get("/", "Range: bytes=0-1"), Part, ReasonNotStored)
	h.want("a range that would be ignored", 0, get("/", "Range: lines=0-1"), Miss, ReasonNotStored)
}

func TestRFC9111_3_EveryFinalStatusWithExplicitFreshness(t *testing.T) {
	h := newHarness(t)
	for status := 100; status < 1000; status++ {
		want := status >= 200 && status < 600 && status != 206 && status != 304 && status != 425 // the last is RFC 8470's
		for _, line := range []string{"Cache-Control: max-age=60", "Cache-Control: s-maxage=60", "Expires: Sun, 01 Mar 2026 13:00:00 GMT"} {
			r := get("/"+strconv.Itoa(status), "X-Kind: "+line)
			if h.store(r, answer(status, line, "Vary: X-Kind"), "x"); (h.look(time.Second, r).State == Hit) != want {
				t.Errorf("%d with %s: reused %v, want %v", status, line, !want, want)
			}
		}
	}
}

func TestRFC9110_15_1_HeuristicallyCacheable(t *testing.T) {
	listed := []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} // and 206
	h := newHarness(t)
	for status := 200; status < 600; status++ {
		for line, want := range map[string]bool{"X: y": slices.Contains(listed, status), "Cache-Control: public": status != 206 && status != 304 && status != 425} {
			r := get("/"+strconv.Itoa(status), "X-Kind: "+line)
			if h.store(r, answer(status, line, "Vary: X-Kind", "Last-Modified: Sun, 01 Mar 2026 11:00:00 GMT"), "x"); (h.look(5*time.Minute, r).State == Hit) != want {
				t.Errorf("%d with %s: reused %v, want %v", status, line, !want, want)
			}
			if h.look(6*time.Minute, r).State == Hit {
				t.Errorf("%d with %s: fresh for more than a tenth of its age", status, line)
			}
		}
	}
}

func TestWhatIsNotStoredCostsLittle(t *testing.T) {
	var p Policy
	p.SetDefaults()
	r, resp := get("/a", "Accept: */*"), answer(200, "Cache-Control: private", "Content-Type: text/html")
	if n := testing.AllocsPerRun(100, func() { storable(r, &resp, &p) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
