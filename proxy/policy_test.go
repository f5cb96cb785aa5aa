package proxy

import (
	"io"
	"net/http"
	"testing"

	"nearcast/cache"
)

func TestRFC9111_7_3_ACookieIsStoredOrStripped(t *testing.T) {
	for _, tt := range []struct{ rule, later string }{{cache.CookieStore, "a=b"}, {cache.CookieStrip, ""}, {cache.CookieRefuse, "a=b"}} {
		url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Set-Cookie", "a=b")
			io.WriteString(w, "x")
		})
		e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.SetCookie = tt.rule })
		if c := e.get("/"); c.fields.Get("set-cookie") != "a=b" {
			t.Errorf("%s: the client that asked gets %v", tt.rule, c.fields)
		}
		e.settle()
		if c := e.get("/"); c.fields.Get("set-cookie") != tt.later {
			t.Errorf("%s: the next gets %v", tt.rule, c.fields)
		}
		if n, want := hits.Load(), map[bool]int32{true: 2, false: 1}[tt.rule == cache.CookieRefuse]; n != want {
			t.Errorf("%s: the origin was asked %d times", tt.rule, n)
		}
	}
}

func TestIgnoredRequestDirectivesStillGoOn(t *testing.T) {
	got := make(chan string, 2)
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Cache-Control")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "x")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.RequestDirectives = cache.DirectivesIgnore })
	e.want("a miss", e.get("/", "cache-control", "no-cache"), 200, "x", "nearcast; fwd=uri-miss")
	e.settle()
	if v := <-got; v != "no-cache" {
		t.Errorf("the origin got %q: a directive is for every cache on the way (RFC 9111 §5.2)", v)
	}
	e.want("a reload", e.get("/", "cache-control", "no-cache"), 200, "x", "nearcast; hit")
	e.want("only-if-cached", e.get("/b", "cache-control", "only-if-cached"), 504, "504 Gateway Timeout\n", "")
}
