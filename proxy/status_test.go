package proxy

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"testing"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// statuses are the lines of the field, without the time left.
func statuses(c *client) []string {
	v := c.fields.Values("cache-status")
	for i := range v {
		v[i] = regexp.MustCompile(`ttl=\d+`).ReplaceAllString(v[i], "ttl=T")
	}
	return v
}

// TestRFC9211_2_OursComesAfterTheOthers: on what is stored too, and on what Quick and Serve answer alike.
func TestRFC9211_2_OursComesAfterTheOthers(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header()["Cache-Status"] = []string{"origin.example; hit", "inner; fwd=stale"}
		io.WriteString(w, "x")
	})}}, func(_ *Options, s *ServiceConfig) { s.Cache.CacheStatus = cache.StatusFull })
	const key = `; key="https://shop.example/a?b=1"`
	for _, want := range []string{"nearcast; fwd=uri-miss; fwd-status=200; stored; ttl=T" + key, "nearcast; hit; ttl=T" + key} {
		if got := statuses(e.get("/a?b=1")); !slices.Equal(got, []string{"origin.example; hit", "inner; fwd=stale", want}) {
			t.Errorf("%q, want %q last", got, want)
		}
		e.settle()
	}
	if c := take(e.Quick(request("GET", "/a?b=1")), request("GET", "/a?b=1")); !slices.Equal(statuses(c), []string{"origin.example; hit", "inner; fwd=stale", "nearcast; hit; ttl=T" + key}) {
		t.Errorf("ready: %v", c.fields)
	}
}

func TestCacheStatusOfOurOwnAnswers(t *testing.T) {
	for _, mode := range []cache.StatusMode{cache.StatusOff, cache.StatusOn} {
		e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, func(_ *Options, s *ServiceConfig) { s.Cache.CacheStatus = mode })
		for r, want := range map[*message.Request]string{
			request("GET", "/"): "nearcast; fwd=uri-miss",
			request("GET", "/", "cache-control", "only-if-cached"): `nearcast; detail="only-if-cached"`,
			request("POST", "/"): "nearcast; fwd=method",
		} {
			if mode == cache.StatusOff {
				want = ""
			}
			if got := e.serve(r).fields.Get("cache-status"); got != want {
				t.Errorf("%s %v: %s, want %s", r.Method, r.Fields, got, want)
			}
		}
	}
}
