package proxy

import (
	"net/http"
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
