package admin

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
)

// fakePurger remembers what it was asked.
type fakePurger struct {
	got *cache.PurgeRequest
	by  string
}

func (f *fakePurger) Purge(q cache.PurgeRequest, by string) (cache.PurgeResult, error) {
	if err := q.Check(); err != nil {
		return cache.PurgeResult{}, err
	}
	if q.Service == "absent" {
		return cache.PurgeResult{}, errors.New("no such service")
	}
	f.got, f.by = &q, by
	n := int64(2)
	return cache.PurgeResult{Seq: 7, Items: []cache.PurgeItem{{Kind: "url", Target: "https://a/", Objects: &n}}}, nil
}

func TestPurge(t *testing.T) {
	const kind = "application/json"
	for _, c := range []struct {
		why, kind, body string
		header          http.Header
		status          int
		says            string
		want            *cache.PurgeRequest
	}{
		{"everything that can be named", kind + "; charset=utf-8", `{"urls":["https://a/"],"prefixes":["https://a/b"],"tags":["t"],"soft":true,"service":"shop"}`, nil, 200,
			`{"seq":7,"items":[{"kind":"url","target":"https://a/","soft":false,"objects":2}]}`,
			&cache.PurgeRequest{URLs: []string{"https://a/"}, Prefixes: []string{"https://a/b"}, Tags: []string{"t"}, Soft: true, Service: "shop"}},
		{"all, when it says so", kind, `{"all":true}`, nil, 200, "", &cache.PurgeRequest{All: true}},
		{"nothing is not all", kind, `{}`, nil, 400, "nothing is named", nil},
		{"a service is not all", kind, `{"service":"shop"}`, nil, 400, "nothing is named", nil},
		{"an unknown member", kind, `{"tag":["t"]}`, nil, 400, `unknown field`, nil},
		{"a member of another type", kind, `{"tags":"t"}`, nil, 400, `tags`, nil},
		{"no JSON", kind, `tags=t`, nil, 400, "", nil},
		{"two values", kind, `{"tags":["t"]}{}`, nil, 400, "more than one", nil},
		{"junk behind", kind, `{"tags":["t"]} x`, nil, 400, "", nil},
		{"what the cache refuses", kind, `{"tags":["t"],"service":"absent"}`, nil, 400, "no such service", nil},
		{"too large", kind, `{"tags":["` + strings.Repeat("x", maxPurgeBody) + `"]}`, nil, 413, "", nil},
		{"a form, as any page can send", "application/x-www-form-urlencoded", `{"all":true}`, nil, 415, "", nil},
		{"text, as any page can send", "text/plain", `{"all":true}`, nil, 415, "", nil},
		{"no type", "", `{"all":true}`, nil, 415, "", nil},
		{"a page's script", kind, `{"all":true}`, http.Header{"Origin": {"https://evil.example"}}, 403, "browsers", nil},
		{"a page without an origin", kind, `{"all":true}`, http.Header{"Origin": {"null"}}, 403, "browsers", nil},
		{"a browser", kind, `{"all":true}`, http.Header{"Sec-Fetch-Site": {"same-origin"}}, 403, "browsers", nil},
	} {
		p := &fakePurger{}
		h := Source{Set: metrics.NewSet(), Purger: p}.handler()
		r := httptest.NewRequest("POST", "/purge", strings.NewReader(c.body))
		for name, v := range c.header {
			r.Header[name] = v
		}
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Body)
		if w.Code != c.status || !bytes.Contains(body, []byte(c.says)) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", c.why, w.Code, body)
		}
		if !reflect.DeepEqual(p.got, c.want) || c.want != nil && !strings.HasPrefix(p.by, "admin ") {
			t.Errorf("%s: asked for %+v by %q", c.why, p.got, p.by)
		}
	}
}

func TestPurgeIsAPost(t *testing.T) {
	for method, purger := range map[string]Purger{"GET": &fakePurger{}, "PUT": &fakePurger{}} {
		w := httptest.NewRecorder()
		Source{Set: metrics.NewSet(), Purger: purger}.handler().ServeHTTP(w, httptest.NewRequest(method, "/purge", nil))
		if w.Code != 405 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	w := httptest.NewRecorder()
	Source{Set: metrics.NewSet()}.handler().ServeHTTP(w, httptest.NewRequest("POST", "/purge", nil))
	if w.Code != 404 {
		t.Errorf("without anything to purge: %d", w.Code)
	}
}

func FuzzDecodePurge(f *testing.F) {
	for _, s := range []string{`{"all":true}`, `{"urls":["https://a/"],"soft":true}`, `{} {}`, `[]`, `{"tags":null}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var q cache.PurgeRequest
		if err := decodeStrictly(strings.NewReader(s), &q); err == nil && q.Check() == nil && q.All && len(q.URLs)+len(q.Tags)+len(q.Prefixes) > 0 {
			t.Errorf("%q: %+v", s, q)
		}
	})
}
