package proxy

import (
	"net/http"
	"testing"

	"nearcast/health"
)

func TestAClientIsSentToTheSameURLUnderHTTPS(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(http.ResponseWriter, *http.Request) { t.Error("it reached the origin") })}}, nil)
	for _, c := range []struct {
		method, target, host string
		port                 uint16
		status               int
		location             string
	}{
		{"GET", "/a?b=c", "shop.example", 443, 308, "https://shop.example/a?b=c"},
		{"POST", "/", "shop.example:8080", 8443, 308, "https://shop.example:8443/"},
		{"GET", "/%0d%0aevil:1", "shop.example", 443, 308, "https://shop.example/%0D%0Aevil:1"},
		{"GET", "/", "[2001:db8::1]:8080", 443, 308, "https://[2001:db8::1]/"},
		{"GET", "/", "[2001:db8::1]", 8443, 308, "https://[2001:db8::1]:8443/"},
		{"GET", "/", "unknown.example", 443, 308, "https://unknown.example/"},
		{"GET", health.SelfPath, "shop.example", 443, 308, "https://shop.example" + health.SelfPath},
		{"GET", "/", "", 443, 400, ""},
		{"OPTIONS", "*", "shop.example", 443, 400, ""},
	} {
		r := request(c.method, c.target)
		r.Scheme, r.Authority, r.RedirectPort = "http", c.host, c.port
		if got := e.serve(r); got.status != c.status || got.fields.Get("location") != c.location {
			t.Errorf("%s %s of %q: %d to %q, want %d to %q", c.method, c.target, c.host, got.status, got.fields.Get("location"), c.status, c.location)
		}
	}
}

func TestTheEdgesOwnProbeIsNotSentElsewhere(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	r := request("GET", health.SelfPath, health.SelfField, "secret")
	r.RedirectPort = 443
	if c := e.serve(r); c.status != 200 {
		t.Errorf("status %d", c.status)
	}
}
