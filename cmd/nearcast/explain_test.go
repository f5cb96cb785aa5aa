package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestExplainAsksTheOrigin(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		if r.Header.Get("If-None-Match") != "" || r.URL.Path == "/private" {
			w.Header().Set("Cache-Control", "private")
		}
	}))
	defer origin.Close()
	file := writeConfig(t, strings.Replace(good, `http://127.0.0.1:9"] }`, origin.URL+`"] }, cache: { key: { query: { mode: deny, names: ["utm_*"] } } }`, 1))
	code, out, errs := run("explain", "https://Shop.example/a?utm_x=1&b=2", "-c", file, "-H", "Accept-Language: de, en", "-H", `If-None-Match: "1"`, "--after", "10s")
	for _, want := range []string{"key        https://shop.example/a?b=2\n", "answer     200, from " + origin.URL, "store      stored: stored.", "freshness  60s from max-age",
		"vary       accept-language: de,en\n", "after 10s  hit: fresh.", "Cache-Status: nearcast; hit; ttl=4"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, %s, %q is not in\n%s", code, errs, want, out)
		}
	}
	code, out, errs = run("explain", "https://shop.example/private", "-c", file)
	if want := "store      not stored: private."; code != exitOK || !strings.Contains(out, want) || !strings.Contains(out, "decided  private (RFC 9111 §5.2.2.7)") || !strings.Contains(out, "To change it: ") {
		t.Errorf("exit %d, %s, %q is not in\n%s", code, errs, want, out)
	}
}

func TestExplainTakesAnAnswer(t *testing.T) {
	file := writeConfig(t, good)
	code, out, errs := run("explain", "http://shop.example", "-c", file, "--status", "404", "--response-header", "Cache-Control: max-age=5, no-store", "--response-header", "Vary: X-A", "-o", "json")
	var e struct {
		Service, Key string
		Status       int
		Store        struct {
			Decision, Reason string
			Rules            []struct {
				Reason  string
				Decided bool
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &e); code != exitOK || err != nil {
		t.Fatalf("exit %d, %s %v: %s", code, errs, err, out)
	}
	if n := len(e.Store.Rules); e.Service != "shop" || e.Key != "http://shop.example/" || e.Status != 404 || e.Store.Decision != "not stored" || e.Store.Reason != "no-store" || n == 0 || !e.Store.Rules[n-1].Decided {
		t.Errorf("%+v", e)
	}
}

func TestExplainRefusesClearly(t *testing.T) {
	file, hosts := writeConfig(t, good), writeConfig(t, strings.Replace(good, `"*"`, "a.example", 1))
	for _, c := range []struct {
		args []string
		says string
		code int
	}{
		{[]string{"shop.example", "-c", file}, "is not a URL", exitFailed},
		{[]string{"ftp://shop.example", "-c", file}, "is not a URL", exitFailed},
		{[]string{"http://shop.example", "-c", file, "-H", "no field"}, "is not a field", exitFailed},
		{[]string{"http://shop.example", "-c", file, "-H", "Host: x"}, "the URL's", exitFailed},
		{[]string{"http://shop.example", "-c", file, "--response-header", "A: b"}, "--status", exitFailed},
		{[]string{"http://shop.example", "-c", file, "--status", "100"}, "200 to 599", exitFailed},
		{[]string{"http://shop.example", "-c", hosts}, "no service", exitFailed},
		{[]string{"http://shop.example", "-c", file}, "connection refused", exitFailed}, // nothing listens on its origin's port
		{[]string{"http://shop.example", "-c", file, "-X", "POST"}, "--method", exitUsage},
		{[]string{"http://shop.example"}, "--config", exitUsage},
	} {
		if code, out, errs := run(append([]string{"explain"}, c.args...)...); code != c.code || !strings.Contains(errs, c.says) || out != "" && code == exitFailed {
			t.Errorf("%q: exit %d, %q %q, want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
}
