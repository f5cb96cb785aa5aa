package cache

import (
	"testing"
	"time"
)

func TestRFC9111_4_2_4_StaleOnDisconnect(t *testing.T) {
	for _, tt := range []struct {
		why, cacheControl     string
		window, after         time.Duration
		serves, mustOtherwise bool
	}{
		{"within the window", "max-age=10", time.Minute, 70 * time.Second, true, false},
		{"after it", "max-age=10", time.Minute, 71 * time.Second, false, false},
		{"switched off", "max-age=10", 0, 11 * time.Second, false, false},
		{"the response's own window for errors", "max-age=10, stale-if-error=20", 0, 30 * time.Second, true, false},
		{"stale-if-error=0 is about errors", "max-age=10, stale-if-error=0", time.Minute, 30 * time.Second, true, false},
		{"must-revalidate", "max-age=10, must-revalidate", time.Minute, 11 * time.Second, false, true},
		{"proxy-revalidate", "max-age=10, proxy-revalidate", time.Minute, 11 * time.Second, false, true},
		{"s-maxage", "s-maxage=10", time.Minute, 11 * time.Second, false, true},
		{"no-cache", "max-age=60, no-cache", time.Minute, time.Second, false, true},
	} {
		h := newHarness(t)
		h.policy.StaleOnDisconnect = tt.window
		h.store(get("/"), answer(200, "Cache-Control: "+tt.cacheControl, `ETag: "a"`), "x")
		res := h.look(tt.after, get("/"))
		if res.State != Stale || res.ServeStaleOnDisconnect != tt.serves || res.MustRevalidate != tt.mustOtherwise {
			t.Errorf("%s: %v, serves %v, must be validated %v", tt.why, res.State, res.ServeStaleOnDisconnect, res.MustRevalidate)
		}
	}
	if p := on(); p.StaleOnDisconnect != 24*time.Hour {
		t.Errorf("default %v", p.StaleOnDisconnect)
	}
}

func TestAReloadOfWhatIsFreshMayServeWithoutTheOrigin(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: s-maxage=10"), "x")
	res := h.want("a reload", time.Second, get("/", "Cache-Control: no-cache"), Stale, ReasonRequestNoCache)
	if !res.ServeStaleOnDisconnect || !res.ServeStaleOnError || res.MustRevalidate {
		t.Errorf("%+v: it is fresh", res)
	}
}

func TestRFC9111_5_2_2_10_StaleBesideSMaxAge(t *testing.T) {
	for _, tt := range []struct {
		why, cacheControl               string
		allowed                         bool
		after                           time.Duration
		revalidate, onError, disconnect bool
	}{
		{"strict", "s-maxage=10, stale-while-revalidate=9, stale-if-error=9", false, 12 * time.Second, false, false, false},
		{"as the origin states", "s-maxage=10, stale-while-revalidate=9, stale-if-error=9", true, 12 * time.Second, true, true, true},
		{"and no longer", "s-maxage=10, stale-while-revalidate=9, stale-if-error=9", true, 20 * time.Second, false, false, false},
		{"the service's windows don't count", "s-maxage=10, stale-while-revalidate=9", true, 12 * time.Second, true, false, false},
		{"must-revalidate still forbids", "s-maxage=10, stale-while-revalidate=9, must-revalidate", true, 12 * time.Second, false, false, false},
		{"max-age is as ever", "max-age=10", true, 12 * time.Second, false, true, true},
	} {
		h := newHarness(t)
		h.policy.StaleWithSMaxAge, h.policy.StaleIfError = tt.allowed, time.Minute
		h.store(get("/"), answer(200, "Cache-Control: "+tt.cacheControl), "x")
		res := h.want(tt.why, tt.after, get("/"), Stale, ReasonExpired)
		if res.ServeStaleWhileRevalidate != tt.revalidate || res.ServeStaleOnError != tt.onError || res.ServeStaleOnDisconnect != tt.disconnect {
			t.Errorf("%s: %+v", tt.why, res)
		}
		if got := h.look(tt.after, get("/", "Cache-Control: max-stale")).State; (got == Hit) != (tt.cacheControl == "max-age=10") {
			t.Errorf("%s: max-stale gets %v", tt.why, got)
		}
	}
}
