package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"nearcast/cache"
)

// TestExplainSaysWhatServeDoes: what this hop does before and after the cache counts too.
func TestExplainSaysWhatServeDoes(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/own" {
			w.Header().Set("Vary", "X-Forwarded-For")
		}
	})}}, nil)
	var cfg cache.Config
	cfg.SetDefaults()
	for _, c := range []struct {
		path   string
		fields []string
		store  cache.Reason
		status string // of the second request
	}{
		{"/a", nil, cache.ReasonStored, "nearcast; hit"},
		{"/own", nil, cache.ReasonVaryStar, "nearcast; fwd=uri-miss"},
		{"/b", []string{"x-http-method-override", "PUT"}, cache.ReasonMethod, "nearcast; fwd=method"},
		{"/c", []string{"cache-control", "no-store"}, cache.ReasonRequestNoStore, "nearcast; fwd=bypass"},
		{"/d", []string{"if-none-match", `"1"`}, cache.ReasonStored, "nearcast; hit"},
	} {
		got, err := e.Explain(t.Context(), request("GET", c.path, c.fields...), nil, cfg, time.Second)
		if err != nil || got.Store.Reason != c.store || got.Service != "shop" || got.Origin == "" || got.Status != 200 {
			t.Errorf("%s: %+v, %v", c.path, got, err)
		}
		e.get(c.path, c.fields...)
		e.settle()
		e.want(c.path, e.get(c.path, c.fields...), 200, "", c.status)
	}
}

// TestExplainDoesNothingAtTheOrigin: somebody only wants to know.
func TestExplainDoesNothingAtTheOrigin(t *testing.T) {
	url, n := counting(t, func(http.ResponseWriter, *http.Request) {})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	got, err := e.Explain(t.Context(), request("POST", "/a"), nil, cache.Config{}, 0)
	if err != nil || got.Store.Reason != cache.ReasonMethod || got.Status != 0 || n.Load() != 0 {
		t.Errorf("%+v, %v, asked %d times", got, err, n.Load())
	}
}

func TestInspectSaysWhatIsStored(t *testing.T) {
	e := newShelf(t, withKey(cache.KeyRules{Device: true}))
	e.get("/etag", "user-agent", "Mobile")
	e.settle()
	for _, c := range []struct {
		method, url string
		fields      []string
		decision    string
		stored      int
		err         string
	}{
		{"GET", "https://SHOP.example:443/etag", []string{"User-Agent: Mobile", "X-Device-Class: desktop"}, "hit", 1, ""},
		{"GET", "https://shop.example/etag", []string{"User-Agent: Tablet"}, "miss", 0, ""},
		{"GET", "https://shop.example/etag", []string{"User-Agent: Mobile", "X-Original-URL: /b"}, "bypass", 1, ""},
		{"POST", "https://shop.example/etag", []string{"User-Agent: Mobile"}, "bypass", 1, ""},
		{"GET", "/etag", nil, "", 0, "is not a URL"},
		{"GET", "https://other.example/etag", nil, "", 0, "no service"},
		{"G T", "https://shop.example/etag", nil, "", 0, "not a method"},
		{"GET", "https://shop.example/etag", []string{"Host: a"}, "", 0, "the URL's"},
		{"GET", "https://shop.example/etag", []string{"A: b\r\nC: d"}, "", 0, "not a field"},
	} {
		any, err := e.Inspect(c.method, c.url, c.fields)
		if err != nil {
			if c.err == "" || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v: %v", c, err)
			}
			continue
		}
		if got := any.(*Inspected); c.err != "" || got.Lookup.Decision != c.decision || len(got.Stored) != c.stored || got.Service != "shop" {
			t.Errorf("%v: %+v", c, got.Inspection)
		}
	}
}
