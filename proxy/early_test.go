package proxy

import (
	"io"
	"net/http"
	"testing"

	"nearcast/proxy/message"
)

func TestEarlyDataIsForSafeRequests(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusTooEarly)
			return
		}
		io.WriteString(w, "early-data: "+r.Header.Get("Early-Data"))
	})}}, nil)
	for _, c := range []struct {
		why, method, path, field string
		early, upgrade           bool
		status                   int
		body                     string
	}{
		{"in early data", "GET", "/", "", true, false, 200, "early-data: 1"},
		{"after the handshake", "GET", "/", "", false, false, 200, "early-data: "},
		{"a hop before this one says so (RFC 8470 §5.1)", "GET", "/", "1", false, false, 200, "early-data: 1"},
		{"whatever it says", "GET", "/", "0", false, false, 200, "early-data: 1"},
		{"OPTIONS is safe", "OPTIONS", "/", "", true, false, 200, "early-data: 1"},
		{"POST is not", "POST", "/", "", true, false, 425, "425 Too Early\n"},
		{"nor is DELETE", "DELETE", "/", "", true, false, 425, "425 Too Early\n"},
		{"not by way of another hop either", "POST", "/", "1", false, false, 425, "425 Too Early\n"},
		{"and POST later", "POST", "/", "", false, false, 200, "early-data: "},
		{"a tunnel is no safe request", "GET", "/", "", true, true, 425, "425 Too Early\n"},
		{"the origin's refusal is the client's", "GET", "/early", "", true, false, 425, ""},
	} {
		r := request(c.method, c.path)
		r.TLS = &message.TLS{EarlyData: c.early}
		if c.field != "" {
			r.Fields.Add("early-data", c.field)
		}
		if c.upgrade {
			r.Upgrade = websocket
		}
		if got := e.serve(r); got.status != c.status || got.body.String() != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.why, got.status, got.body.String(), c.status, c.body)
		}
	}
}

func TestAHitMayAnswerEarlyData(t *testing.T) {
	e := newShelf(t, nil)
	r := request("GET", "/a")
	r.TLS = &message.TLS{EarlyData: true}
	a := e.Quick(r)
	if a == nil {
		t.Fatal("not ready")
	}
	if c := take(a, r); c.status != 200 {
		t.Errorf("%d", c.status)
	}
}

// A revalidation in the background is the edge's own: it has the handshake of no client to wait for.
func TestARevalidationIsNotEarly(t *testing.T) {
	seen := make(chan string, 4)
	e := newEdge(t, map[string][]string{"fra": {originServer(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Early-Data")
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		io.WriteString(w, "x")
	})}}, nil)
	e.get("/")
	<-seen
	e.settle()
	r := request("GET", "/", "early-data", "1")
	r.TLS = &message.TLS{EarlyData: true}
	if c := e.serve(r); c.status != 200 {
		t.Fatal(c.status)
	}
	if got := <-seen; got != "" {
		t.Errorf("the origin was told of early data: %q", got)
	}
}
