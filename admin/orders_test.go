package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

// fakeOrderer remembers what it was told.
type fakeOrderer struct {
	drained *DrainOrder
	back    bool
	by      string
}

func (f *fakeOrderer) Drain(o DrainOrder, by string) error {
	switch {
	case o.Why == "last" && !o.Force:
		return &Refused{errors.New("the last region")}
	case o.Why == "wrong":
		return errors.New("not ours")
	}
	f.drained, f.by = &o, by
	return nil
}

func (f *fakeOrderer) Undrain(by string) error { f.back, f.by = true, by; return nil }

func TestOrders(t *testing.T) {
	const kind = "application/json"
	some := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, c := range []struct {
		why, target, kind, body string
		header                  http.Header
		status                  int
		says                    string
		want                    *DrainOrder
		back                    bool
	}{
		{"all prefixes", "/drain", kind, `{}`, nil, 200, "{}", &DrainOrder{}, false},
		{"one, with a reason", "/drain", kind, `{"prefixes":["192.0.2.0/24"],"why":"kernel"}`, nil, 200, "{}", &DrainOrder{Prefixes: some, Why: "kernel"}, false},
		{"a guard's refusal", "/drain", kind, `{"why":"last"}`, nil, 409, "the last region", nil, false},
		{"and against it", "/drain", kind, `{"why":"last","force":true}`, nil, 200, "{}", &DrainOrder{Why: "last", Force: true}, false},
		{"what the announcer refuses", "/drain", kind, `{"why":"wrong"}`, nil, 400, "not ours", nil, false},
		{"a script's empty list, which is not all", "/drain", kind, `{"prefixes":[]}`, nil, 400, "leave it out", nil, false},
		{"no prefix", "/drain", kind, `{"prefixes":["192.0.2.1"]}`, nil, 400, "error", nil, false},
		{"an unknown member", "/drain", kind, `{"prefix":"192.0.2.0/24"}`, nil, 400, "unknown field", nil, false},
		{"no body", "/drain", kind, ``, nil, 400, "error", nil, false},
		{"too large", "/drain", kind, `{"why":"` + strings.Repeat("x", maxOrderBody) + `"}`, nil, 413, "error", nil, false},
		{"a form, as any page can send", "/drain", "text/plain", `{}`, nil, 415, "error", nil, false},
		{"a page's script", "/drain", kind, `{}`, http.Header{"Origin": {"https://evil.example"}}, 403, "browsers", nil, false},
		{"back", "/undrain", kind, `{}`, nil, 200, "{}", nil, true},
		{"back, with something that is not understood", "/undrain", kind, `{"prefixes":[]}`, nil, 400, "unknown field", nil, false},
	} {
		f := &fakeOrderer{}
		r := httptest.NewRequest("POST", c.target, strings.NewReader(c.body))
		for name, v := range c.header {
			r.Header[name] = v
		}
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		Source{Set: metrics.NewSet(), Orderer: f}.handler().ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) || !reflect.DeepEqual(f.drained, c.want) || f.back != c.back {
			t.Errorf("%s: %d %s, ordered %+v, back %v", c.why, w.Code, w.Body, f.drained, f.back)
		}
		if w.Code == 200 && !strings.HasPrefix(f.by, "admin ") {
			t.Errorf("%s: ordered by %q", c.why, f.by)
		}
	}
	w := httptest.NewRecorder()
	Source{Set: metrics.NewSet()}.handler().ServeHTTP(w, httptest.NewRequest("POST", "/drain", strings.NewReader("{}")))
	if w.Code != 404 {
		t.Errorf("without an announcement: %d", w.Code)
	}
}
