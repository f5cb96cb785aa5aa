package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
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
	var all struct{ Stored, Explained json.RawMessage }
	if err := json.Unmarshal([]byte(out), &all); code != exitOK || err != nil || string(all.Stored) != "null" {
		t.Fatalf("exit %d, %s %v: %s", code, errs, err, out)
	}
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
	if err := json.Unmarshal(all.Explained, &e); err != nil {
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
		{[]string{"http://shop.example", "-c", file, "--response-header", "A: b"}, "--status", exitUsage},
		{[]string{"http://shop.example", "-c", file, "--status", "100"}, "200 to 599", exitUsage},
		{[]string{"http://shop.example", "-c", file, "--status", "200", "--response", "-"}, "leave out --status", exitUsage},
		{[]string{"http://shop.example", "-c", file, "--response", file + "x"}, "no such file", exitFailed},
		{[]string{"http://shop.example", "-c", file, "--response", file}, "is not a status line", exitFailed},
		{[]string{"http://shop.example", "--admin", freeAddress(t)}, "connection refused", exitFailed},
		{[]string{"http://shop.example", "--admin", freeAddress(t), "--status", "200"}, "--config is needed", exitUsage},
		{[]string{"http://shop.example", "--admin", "nowhere"}, "must be host:port", exitFailed},
		{[]string{"http://shop.example", "-c", file + "x"}, "does not exist", exitConfig},
		{[]string{"http://shop.example", "-c", hosts}, "no service", exitFailed},
		{[]string{"http://shop.example", "-c", file}, "connection refused", exitFailed}, // nothing listens on its origin's port
		{[]string{"http://shop.example", "-c", file, "-X", "GE T"}, "is not a method", exitFailed},
		{[]string{"http://shop.example"}, "--config", exitUsage},
	} {
		if code, out, errs := run(append([]string{"explain"}, c.args...)...); code != c.code || !strings.Contains(errs, c.says) || out != "" && code == exitFailed {
			t.Errorf("%q: exit %d, %q %q, want %d and %q", c.args, code, out, errs, c.code, c.says)
		}
	}
}

func TestExplainTakesWhatCurlPrints(t *testing.T) {
	file := writeConfig(t, good)
	for _, c := range []struct{ head, store string }{
		{"HTTP/2 200 \r\ncache-control: max-age=60\r\n\r\nbody: no-store", "store      stored"},
		{"HTTP/1.1 103 Early Hints\nLink: </a>; rel=preload\n\nHTTP/1.1 404 Not Found\nCache-Control: max-age=1", "store      stored"},
		{"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 999999999999\r\n\r\n", "store      not stored: too large."},
		{"HTTP/3 200\nSet-Cookie: a=b\n", "store      not stored: set-cookie."},
	} {
		from := filepath.Join(t.TempDir(), "head")
		if err := os.WriteFile(from, []byte(c.head), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := run("explain", "http://shop.example/", "-c", file, "--response", from); code != exitOK || !strings.Contains(out, c.store) || !strings.Contains(out, "as given") {
			t.Errorf("%q: exit %d, %s\n%s", c.head, code, errs, out)
		}
	}
}

func FuzzReadHead(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/2 103\n\nHTTP/2 200\n", "", "HTTP/1.1", "HTTP/1.1 99", "200 OK"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if status, _, err := readHead(strings.NewReader(s)); (err == nil) != (status >= 200 && status <= 599) {
			t.Errorf("%d, %v", status, err)
		}
	})
}

// TestExplainAsksTheEdgeThatRuns, and does without one that is dead, strange or hostile.
func TestExplainAsksTheEdgeThatRuns(t *testing.T) {
	var answer atomic.Value
	asked := make(chan string, 1)
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Query().Get("url") + " " + strings.Join(r.URL.Query()["header"], "|"):
		default:
		}
		if to := answer.Load().(string); strings.HasPrefix(to, "http") {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		} else {
			io.WriteString(w, to)
		}
	}))
	defer admin.Close()
	file := writeConfig(t, good+"admin: { address: \""+strings.TrimPrefix(admin.URL, "http://")+"\" }\n")
	const verdict = `{"decision":"%s","reason":"%s","meaning":"M.","section":"S"}`
	say := func(decision, reason, more string) string {
		return `{"edge":"e1","service":"shop","key":"http://shop.example/","lookup":` + fmt.Sprintf(verdict, decision, reason) + `,"stored":[` + more + `],"later":"a member of another version"}`
	}
	stored := `{"status":200,"selected":true,"verdict":` + fmt.Sprintf(verdict, "hit", "fresh") + `,"length":5,"etag":"\u001b[2J","age":3,"lifetime":60,"ttl":57,"vary":[{"name":"a","absent":true}],"tags":2,"codings":["br"]}`
	for _, c := range []struct {
		why, answer string
		out, err    []string
		code        int
	}{
		{"it is stored", say("hit", "fresh", stored), []string{"edge       e1\n", "now        hit: fresh. M. (S)", "200, 5 bytes: age 3s of 60s, 57s left", "tags: 2", "coded as br", "made for a, absent", "ETag ?[2J"}, nil, exitOK},
		{"it is not: the origin is asked", say("miss", "not stored", ""), nil, []string{"connection refused"}, exitFailed},
		{"another server", "<html>", nil, []string{"What is stored is not known: ", "did not answer as an edge does", "connection refused"}, exitFailed},
		{"an empty object", "{}", nil, []string{"did not answer as an edge does"}, exitFailed},
		{"elsewhere", "http://127.0.0.1:1/", nil, []string{"the edge refused: 307"}, exitFailed},
	} {
		answer.Store(c.answer)
		code, out, errs := run("explain", "http://shop.example/", "-c", file, "-H", "A: b", "--timeout", "5s")
		if got := <-asked; got != "http://shop.example/ A: b" {
			t.Errorf("%s: asked for %s", c.why, got)
		}
		if code != c.code {
			t.Errorf("%s: exit %d", c.why, code)
		}
		for _, want := range c.out {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in\n%s", c.why, want, out)
			}
		}
		for _, want := range c.err {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %q is not in\n%s", c.why, want, errs)
			}
		}
	}
	answer.Store("{}")
	if code, _, errs := run("purge", "--admin", strings.TrimPrefix(admin.URL, "http://"), "--tag", "a"); code != exitFailed || !strings.Contains(errs, "did not answer as an edge does") {
		t.Errorf("a purge that another server took: exit %d, %s", code, errs)
	}
}
