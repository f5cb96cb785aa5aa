package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestFieldsThatSpeakForThisHopAreDropped(t *testing.T) {
	arrived := make(chan http.Header, 1)
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { arrived <- r.Header })
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.serve(request("POST", "/", "x-forwarded-port", "1", "x-forwarded-prefix", "/x", "x_forwarded_for", "6.6.6.6", "x-forwarded_host", "evil",
		"true-client-ip", "6.6.6.6", "x-custom_name", "stays"))
	got := <-arrived
	for _, name := range []string{"X-Forwarded-Port", "X-Forwarded-Prefix", "X_forwarded_for", "X-Forwarded_host", "True-Client-Ip"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s: %q reached the origin", name, v)
		}
	}
	if got.Get("X-Custom_name") != "stays" {
		t.Error("an underscore alone is no reason")
	}
}

func TestOneSpellingOfTheAuthorityForKeyAndOrigin(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Host+" "+r.Header.Get("X-Forwarded-Host"))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	for _, authority := range []string{"shop.example:443", "shop.example"} {
		r := request("GET", "/a")
		r.Authority = authority
		if c := e.serve(r); c.body.String() != "shop.example shop.example" {
			t.Errorf("%s: the origin saw %q", authority, c.body.String())
		}
		e.settle()
	}
	if hits.Load() != 1 {
		t.Errorf("%d fetches", hits.Load())
	}
}

func TestWhatTheKeyDoesNotSeeCannotPoisonTheCache(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, r.Header.Get("X-Http-Method-Override")+r.Header.Get("X-Original-Url"))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a", "x-http-method-override", "DELETE")
	e.get("/a", "x-original-url", "/admin")
	e.settle()
	e.want("the next client", e.get("/a"), 200, "", "nearcast; fwd=uri-miss")
	if hits.Load() != 3 {
		t.Errorf("%d fetches, want one each", hits.Load())
	}
}

func TestAnAnswerThatVariesByTheClientsAddressIsNotShared(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Encoding, X-Forwarded-For")
		io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	first := e.get("/a")
	e.settle()
	if v := first.fields.Values("vary"); len(v) != 1 || v[0] != "Accept-Encoding, X-Forwarded-For" {
		t.Errorf("the client was told Vary %q", v)
	}
	r := request("GET", "/a")
	r.Client = netip.MustParseAddrPort("198.51.100.7:1")
	if c := e.serve(r); c.body.String() != "198.51.100.7" {
		t.Errorf("another client got the answer for %q", c.body.String())
	}
}

func TestMaxForwards(t *testing.T) {
	arrived := make(chan string, 2)
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- r.RequestURI + " " + r.Header.Get("Max-Forwards")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	if c := e.serve(request("OPTIONS", "*", "max-forwards", "0")); c.status != 204 || c.fields.Get("allow") == "" || hits.Load() != 0 {
		t.Errorf("0: status %d, %d requests to the origin; it must be answered here", c.status, hits.Load())
	}
	e.serve(request("OPTIONS", "/x", "max-forwards", "5"))
	if got := <-arrived; got != "/x 4" {
		t.Errorf("the origin got %q, want one hop less", got)
	}
	e.serve(request("POST", "/", "max-forwards", "5"))
	if got := <-arrived; got != "/ 5" {
		t.Errorf("the origin got %q: the field is for OPTIONS", got)
	}
}

func TestAnEdgeWhoseNameIsNoTokenIsQuoted(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, func(o *Options, _ *ServiceConfig) { o.Edge = "1-fra" })
	if got := e.get("/").fields.Get("proxy-status"); got != `"1-fra"; error=connection_refused; details="connection refused"` {
		t.Errorf("got %s", got)
	}
}

func TestTheOriginsCacheStatusComesFirst(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Status", "inner; hit")
		w.Header().Set("Via", "1.1 inner")
		w.Header().Set("Alt-Svc", `h3=":1"`)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	c := e.get("/")
	if got := c.fields.Values("cache-status"); len(got) != 2 || got[0] != "inner; hit" {
		t.Errorf("Cache-Status %q: the one nearest to the origin is first (RFC 9211 §2)", got)
	}
	if got := c.fields.Values("via"); len(got) != 2 || got[0] != "1.1 inner" {
		t.Errorf("Via %q", got)
	}
	if c.fields.Has("alt-svc") {
		t.Error("the origin's own alternatives are none of this edge's")
	}
}

func TestNoFieldThatChangesARequestsMeaningPoisonsTheCache(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for name := range r.Header { // as servers do that make variables of fields
			switch strings.ToUpper(strings.ReplaceAll(name, "-", "_")) {
			case "X_HTTP_METHOD_OVERRIDE", "X_METHOD_OVERRIDE", "X_ORIGINAL_URL", "X_REWRITE_URL", "X_HTTP_METHOD", "X_HOST", "X_ORIGINAL_HOST", "X_HTTP_HOST_OVERRIDE":
				io.WriteString(w, "poison")
				return
			}
		}
		io.WriteString(w, "page")
	})}}, nil)
	for _, name := range []string{"x-http-method-override", "x-method-override", "x-original-url", "x-rewrite-url", "x-http-method", "x-host", "x-original-host", "x-http-host-override",
		"x-original-method", "x-original-uri", "x-rewrite-uri", "x-script-name", "x_script_name", "x-scheme", "x-url-scheme"} {
		for _, spelt := range []string{name, strings.ReplaceAll(name, "-", "_"), strings.Replace(name, "-", "_", 1)} {
			path := "/" + spelt
			e.get(path, spelt, "evil")
			e.settle()
			if c := e.get(path); c.body.String() != "page" {
				t.Errorf("%s: the next client got %q", spelt, c.body.String())
			}
			e.settle()
			if r := request("GET", path, spelt, "evil"); e.Quick(r) != nil {
				t.Errorf("%s: Quick has an answer", spelt)
			}
		}
	}
}
