package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

type fakeInspector struct{ asked string }

func (f *fakeInspector) Inspect(method, url string, lines []string) (any, error) {
	if f.asked = method + " " + url + " " + strings.Join(lines, "|"); strings.Contains(url, "bad") {
		return nil, errors.New("is not a URL")
	}
	return map[string]int{"stored": 0}, nil
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		target string
		header http.Header
		status int
		says   string
		asked  string
	}{
		{"/explain?url=https://a/b%3Fc&header=A:%20b&header=C:d", nil, 200, `{"stored":0}`, "GET https://a/b?c A: b|C:d"},
		{"/explain?url=https://a/&method=HEAD", nil, 200, "", "HEAD https://a/ "},
		{"/explain?url=bad", nil, 400, "is not a URL", "GET bad "},
		{"/explain", nil, 400, "the url is missing", ""},
		{"/explain?url=https://a/" + strings.Repeat("&header=a:b", 65), nil, 400, "more than 64", ""},
		{"/explain?url=https://a/", http.Header{"Sec-Fetch-Site": {"none"}}, 403, "browsers", ""},
	} {
		f := &fakeInspector{}
		r := httptest.NewRequest("GET", c.target, nil)
		r.Header = c.header
		w := httptest.NewRecorder()
		Source{Set: metrics.NewSet(), Inspector: f}.handler().ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || f.asked != c.asked || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%.40s: %d %s, asked %q", c.target, w.Code, w.Body, f.asked)
		}
	}
	w := httptest.NewRecorder()
	Source{Set: metrics.NewSet()}.handler().ServeHTTP(w, httptest.NewRequest("GET", "/explain?url=https://a/", nil))
	if w.Code != 404 {
		t.Errorf("without a cache: %d", w.Code)
	}
}
