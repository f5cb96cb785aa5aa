package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// purgeEdge is an edge whose origin tags what it sends and counts what it is asked.
func purgeEdge(t *testing.T, from ...string) (e *edge, asked *atomic.Int32, log *bytes.Buffer) {
	asked, log = new(atomic.Int32), new(bytes.Buffer)
	origin := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PURGE" {
			w.WriteHeader(204)
			return
		}
		w.Header().Set("Cache-Control", "max-age=600, stale-if-error=600")
		w.Header().Set("Surrogate-Key", "all-pages page"+strings.ReplaceAll(r.URL.Path, "/", "-"))
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("If-None-Match") == `"1"` {
			w.WriteHeader(304)
			return
		}
		fmt.Fprint(w, asked.Add(1))
	})
	e = newEdge(t, map[string][]string{"fra": {origin}}, func(o *Options, s *ServiceConfig) {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
		for _, f := range from {
			s.Cache.PurgeFrom = append(s.Cache.PurgeFrom, netip.MustParsePrefix(f))
		}
	})
	return e, asked, log
}

// from is a PURGE from an address.
func from(addr, target string, fields ...string) *message.Request {
	r := request("PURGE", target, fields...)
	r.Client = netip.AddrPortFrom(netip.MustParseAddr(addr), 4711)
	return r
}

func TestPURGE(t *testing.T) {
	const inside, outside = "10.1.2.3", "203.0.113.9"
	for _, c := range []struct {
		why    string
		r      *message.Request
		status int
		gone   string // of /a/1, /a/2 and /b/1, those that are fetched again
		says   string
	}{
		{"a URL", from(inside, "/a/1"), 200, "/a/1", `{"kind":"url","target":"https://shop.example/a/1","service":"shop","soft":false,"objects":1}`},
		{"over http, for both", func() *message.Request { r := from(inside, "/a/1"); r.Scheme = "http"; return r }(), 200, "/a/1", `"objects":1`},
		{"an IPv4 address in IPv6", from("::ffff:10.1.2.3", "/a/1"), 200, "/a/1", ""},
		{"IPv6", from("2001:db8::1", "/a/1"), 200, "/a/1", ""},
		{"with a query that nothing has", from(inside, "/a/1?x"), 200, "", `"objects":0`},
		{"a prefix", from(inside, "/a/*"), 200, "/a/1 /a/2", `{"kind":"prefix","target":"https://shop.example/a/","service":"shop","soft":false}`},
		{"half a name", from(inside, "/b*"), 200, "/b/1", ""},
		{"the whole host", from(inside, "/*"), 200, "/a/1 /a/2 /b/1", ""},
		{"a tag", from(inside, "/", "surrogate-key", "page-a-2 page-b-1"), 200, "/a/2 /b/1", `{"kind":"tag","target":"page-a-2","service":"shop","soft":false}`},
		{"a tag in the other field", from(inside, "/", "cache-tag", "x, page-a-2"), 200, "/a/2", ""},
		{"soft", from(inside, "/a/*", "purge-soft", "1"), 200, "", `"soft":true`},
		{"soft that is not", from(inside, "/a/1", "purge-soft", "0"), 200, "/a/1", ""},
		{"soft that is neither", from(inside, "/a/1", "purge-soft", "maybe"), 400, "", ""},
		{"a tag and a path: which is it", from(inside, "/a/1", "surrogate-key", "page-b-1"), 400, "", ""},
		{"a tag field without tags", from(inside, "/", "surrogate-key", " "), 400, "", ""},
		{"from an address that is not listed", from(outside, "/a/1"), 403, "", ""},
		{"X-Forwarded-For proves nothing", from(outside, "/a/1", "x-forwarded-for", inside, "forwarded", "for="+inside), 403, "", ""},
	} {
		e, asked, log := purgeEdge(t, "10.0.0.0/8", "2001:db8::/32")
		paths := []string{"/a/1", "/a/2", "/b/1"}
		for _, p := range paths {
			for hit := false; !hit; { // a body is stored a moment after its client has it
				got := e.get(p)
				if got.status != 200 || got.fields.Has("surrogate-key") {
					t.Fatalf("%d %v", got.status, got.fields)
				}
				hit = strings.HasPrefix(got.fields.Get("cache-status"), "nearcast; hit")
			}
		}
		got := e.serve(c.r)
		if got.status != c.status || !strings.Contains(got.body.String(), c.says) {
			t.Errorf("%s: %d %q", c.why, got.status, got.body.String())
		}
		if c.status == 200 {
			var result cache.PurgeResult
			if err := json.Unmarshal(got.body.Bytes(), &result); err != nil || result.Seq == 0 || got.fields.Get("content-type") != "application/json" || got.length != int64(got.body.Len()) {
				t.Errorf("%s: %v %+v %v", c.why, err, result, got.fields)
			}
		}
		if logged := strings.Contains(log.String(), "msg=purged") && strings.Contains(log.String(), "by="); logged != (c.status == 200) {
			t.Errorf("%s: logged %q", c.why, log.String())
		}
		gone := []string{}
		for _, p := range paths {
			before := asked.Load()
			if e.get(p); asked.Load() > before {
				gone = append(gone, p)
			}
		}
		if strings.Join(gone, " ") != c.gone {
			t.Errorf("%s: gone are %q, want %q", c.why, gone, c.gone)
		}
	}
}

func TestASoftPURGEIsFollowedByAValidation(t *testing.T) {
	e, asked, _ := purgeEdge(t, "10.0.0.0/8")
	e.get("/a/1")
	e.serve(from("10.1.1.1", "/", "surrogate-key", "all-pages", "purge-soft", "1"))
	if got := e.get("/a/1"); got.body.String() != "1" || !strings.Contains(got.fields.Get("cache-status"), `fwd=stale; fwd-status=304`) {
		t.Errorf("%q %q", got.body.String(), got.fields.Get("cache-status"))
	}
	if got := e.get("/a/1"); asked.Load() != 1 || !strings.HasPrefix(got.fields.Get("cache-status"), "nearcast; hit") {
		t.Errorf("asked %d times, %q", asked.Load(), got.fields.Get("cache-status"))
	}
}

func TestWithoutAListPURGEIsTheOrigins(t *testing.T) {
	e, _, _ := purgeEdge(t)
	e.get("/a/1")
	if got := e.serve(from("127.0.0.1", "/a/1")); got.status != 204 {
		t.Errorf("status %d", got.status)
	}
}

func TestPurgeByAnOperator(t *testing.T) {
	e, asked, log := purgeEdge(t)
	for _, c := range []struct {
		why  string
		q    cache.PurgeRequest
		gone bool
		err  string // of the request, or of its item
	}{
		{"a URL", cache.PurgeRequest{URLs: []string{"https://SHOP.example:443/%61/1"}}, true, ""},
		{"a URL with its service", cache.PurgeRequest{URLs: []string{"https://shop.example/a/1"}, Service: "shop"}, true, ""},
		{"a prefix", cache.PurgeRequest{Prefixes: []string{"https://shop.example/a"}}, true, ""},
		{"a prefix with the default port", cache.PurgeRequest{Prefixes: []string{"https://shop.example:443"}}, true, ""},
		{"a tag", cache.PurgeRequest{Tags: []string{"all-pages"}}, true, ""},
		{"everything", cache.PurgeRequest{All: true}, true, ""},
		{"everything of a service", cache.PurgeRequest{All: true, Service: "shop"}, true, ""},
		{"no such service", cache.PurgeRequest{All: true, Service: "shap"}, false, `no service "shap"`},
		{"nothing", cache.PurgeRequest{Soft: true}, false, "nothing is named"},
		{"all and more", cache.PurgeRequest{All: true, Tags: []string{"x"}}, false, "all leaves nothing"},
		{"too much", cache.PurgeRequest{Tags: make([]string, 10001)}, false, "more than 10000"},
		{"no service has it", cache.PurgeRequest{URLs: []string{"https://other.example/a/1"}}, false, "no service has"},
		{"no URL", cache.PurgeRequest{URLs: []string{"/a/1"}}, false, "must be a URL"},
		{"a bad host", cache.PurgeRequest{URLs: []string{"https://shop,example/a/1"}}, false, "malformed host"},
		{"no prefix", cache.PurgeRequest{Prefixes: []string{"https://shop.example/a/../b"}}, false, "segment"},
		{"a bad host of a prefix", cache.PurgeRequest{Prefixes: []string{"https://shop.example:x/"}}, false, "malformed host"},
		{"an empty tag", cache.PurgeRequest{Tags: []string{""}}, false, "empty"},
	} {
		e.get("/a/1")
		before := asked.Load()
		result, err := e.Purge(c.q, "someone")
		said := ""
		switch {
		case err != nil:
			said = err.Error()
		case result.Failed():
			said = result.Items[0].Error
		}
		if !strings.Contains(said, c.err) || (said == "") != (c.err == "") {
			t.Errorf("%s: %q", c.why, said)
		}
		e.get("/a/1")
		if gone := asked.Load() > before; gone != c.gone {
			t.Errorf("%s: gone %t", c.why, gone)
		}
	}
	if !strings.Contains(log.String(), "by=someone") {
		t.Error("the log must say who asked")
	}
}
