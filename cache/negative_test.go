package cache

import (
	"strings"
	"testing"
	"time"
)

func TestNegativeTTLs(t *testing.T) {
	p := on()
	p.Negative = NegativeTTLs{"404": 10 * time.Second, "403": 2 * time.Second, "410": 0, "4xx": 5 * time.Second, "5xx": time.Second}
	for _, tt := range []struct {
		why    string
		status int
		lines  string
		life   time.Duration
		reason Reason
	}{
		{"named", 404, "", 10 * time.Second, ReasonStored},
		{"by its class", 451, "", 5 * time.Second, ReasonStored},
		{"by its class", 503, "", time.Second, ReasonStored},
		{"named, of no class", 403, "", 2 * time.Second, ReasonStored},
		{"of no class", 401, "", 0, ReasonNoFreshness},
		{"of no class", 429, "", 0, ReasonNoFreshness},
		{"about the request", 400, "", 0, ReasonNoFreshness},
		{"never stored", 425, "", 0, ReasonStatus},
		{"excepted from its class", 410, "", 0, ReasonNoFreshness},
		{"no error", 200, "", 0, ReasonNoFreshness},
		{"the origin's word goes first", 404, "Cache-Control: max-age=60", time.Minute, ReasonStored},
		{"a date too", 404, "Expires: Sun, 01 Mar 2026 12:00:30 GMT", 30 * time.Second, ReasonStored},
		{"even when it forbids reuse", 404, "Cache-Control: max-age=0", 0, ReasonNoFreshness},
		{"a guess goes last", 404, "Last-Modified: Sun, 01 Mar 2020 11:00:00 GMT", 10 * time.Second, ReasonStored},
		{"no-store", 404, "Cache-Control: no-store", 0, ReasonNoStore},
		{"private", 404, "Cache-Control: private", 0, ReasonPrivate},
		{"no-cache", 404, "Cache-Control: no-cache", 0, ReasonNoFreshness},
		{"a cookie", 404, "Set-Cookie: a=b", 0, ReasonSetCookie},
		{"vary", 404, "Vary: *", 0, ReasonVaryStar},
	} {
		resp := answer(tt.status)
		if tt.lines != "" {
			resp.Fields = fields(tt.lines)
		}
		got, _, reason := storable(get("/"), &resp, p)
		if reason != tt.reason || reason == ReasonStored && got.lifetime != tt.life {
			t.Errorf("%s: %d %q: %v for %v, want %v for %v", tt.why, tt.status, tt.lines, reason, got.lifetime, tt.reason, tt.life)
		}
	}
	if resp := answer(401); true {
		if _, _, reason := storable(get("/", "Authorization: x"), &resp, &Policy{Negative: NegativeTTLs{"401": time.Second}}); reason != ReasonAuthorization {
			t.Errorf("with credentials: %v", reason)
		}
	}
}

func TestAStoredServerErrorIsNeverStale(t *testing.T) {
	h := newHarness(t)
	h.policy.Negative, h.policy.StaleIfError = NegativeTTLs{"5xx": time.Second, "4xx": time.Second}, time.Hour
	h.store(get("/500"), answer(500), "")
	h.store(get("/404"), answer(404), "")
	h.want("for a second", 500*time.Millisecond, get("/500"), Hit, ReasonFresh)
	if res := h.want("no longer", time.Second, get("/500"), Stale, ReasonExpired); res.ServeStaleOnError {
		t.Error("an error would serve for an hour")
	}
	if res := h.want("no longer fresh", time.Second, get("/404"), Stale, ReasonExpired); !res.ServeStaleOnError {
		t.Error("that there is nothing may be said while the origin fails")
	}
}

func TestAGoodResponseThatMayServeOutlivesAServerError(t *testing.T) {
	for _, tt := range []struct {
		why, lines string
		after      time.Duration
		kept       bool
	}{
		{"stale-if-error", "Cache-Control: max-age=1, stale-if-error=60", 10 * time.Second, true},
		{"stale-while-revalidate", "Cache-Control: max-age=1, stale-while-revalidate=60", 10 * time.Second, true},
		{"fresh, but reloaded", "Cache-Control: max-age=60", 10 * time.Second, true},
		{"past it", "Cache-Control: max-age=1, stale-if-error=5", 10 * time.Second, false},
		{"must-revalidate", "Cache-Control: max-age=1, must-revalidate, stale-if-error=60", 10 * time.Second, false},
	} {
		h := newHarness(t)
		h.policy.Negative = NegativeTTLs{"5xx": time.Second}
		h.store(get("/"), answer(200, tt.lines), "good")
		f, leader := h.Begin(epoch.Add(tt.after), h.key(get("/")), get("/", "Cache-Control: no-cache"))
		if !leader {
			t.Fatal(tt.why)
		}
		w, reason := f.Respond(get("/"), answer(503).at(epoch.Add(tt.after)), h.policy)
		if kept := w == nil && reason == ReasonStaleKept; kept != tt.kept {
			t.Errorf("%s: %v", tt.why, reason)
		}
		if w != nil {
			w.Commit(nil)
		}
		if got := h.look(tt.after, get("/")).Object.Status == 200; got != tt.kept {
			t.Errorf("%s: the good one is stored: %v", tt.why, got)
		}
	}
}

func TestNegativeTTLsValidate(t *testing.T) {
	n := NegativeTTLs{"404": 24 * time.Hour, "5xx": 10 * time.Minute, "401": 0, "429": time.Second,
		"200": 1, "4XX": 1, "6xx": 1, "": 1, "40": 1, "+44": 1, "425": 1, "412": 1, "403": -1, "410": 25 * time.Hour, "503": time.Hour}
	var keys []string
	n.Validate(func(key, fault string) { keys = append(keys, key) })
	if got, want := strings.Join(keys, " "), " +44 200 40 403 410 412 425 4XX 503 6xx"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
