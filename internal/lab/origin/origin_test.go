package origin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

func TestEveryResponseNamesItsRegionAndSaysIfItMayBeStored(t *testing.T) {
	o := New("tyo")
	for _, c := range []struct {
		target, cacheControl, contains string
		status                         int
	}{
		{"/healthz", "", "ok", 200},
		{"/static/a", "public, max-age=3600", "xxxx", 200},
		{"/static/a?size=3", "public, max-age=3600", "xxx", 200},
		{"/static/a?size=-1", "", "size", 400},
		{"/static/a?size=999999999", "", "size", 400},
		{"/dynamic", "no-store", "tyo", 200},
		{"/slow?ms=1", "no-store", "tyo", 200},
		{"/slow", "", "ms", 400},
		{"/slow?ms=99999999999999999", "", "ms", 400},
		{"/page", "no-store", "nextHopProtocol", 200},
		{"/stream?every=1ms&n=3", "no-store", "0\n1\n2\n", 200},
		{"/stream?every=0s&n=3", "", "every", 400},
		{"/stream?every=1ms&n=-1", "", "lines", 400},
		{"/bulk?size=3", "no-store", "\x00\x00\x00", 200},
		{"/bulk?size=999999999", "", "size", 400},
		{"/count", "no-store", `"region":"tyo"`, 200},
		{"/elsewhere", "", "not found", 404},
	} {
		w := httptest.NewRecorder()
		o.ServeHTTP(w, httptest.NewRequest("GET", c.target, nil))
		if w.Code != c.status || w.Header().Get("Cache-Control") != c.cacheControl || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%s: %d, %q, %.60q", c.target, w.Code, w.Header().Get("Cache-Control"), w.Body)
		}
		if got := w.Header().Get(RegionHeader); got != "tyo" {
			t.Errorf("%s: region %q", c.target, got)
		}
	}
}

func TestCountsLeaveProbesOutAndAreBounded(t *testing.T) {
	o := New("fra")
	get := func(target string) { o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", target, nil)) }
	get("/healthz")
	get("/count")
	get("/static/a")
	get("/static/a?size=1")
	for i := range 2 * maxPaths {
		get("/static/" + strings.Repeat("b", i%7) + string(rune('a'+i%26)) + strings.Repeat("c", i/26))
	}
	w := httptest.NewRecorder()
	o.ServeHTTP(w, httptest.NewRequest("GET", "/count", nil))
	var c Counts
	if err := json.Unmarshal(w.Body.Bytes(), &c); err != nil {
		t.Fatal(err)
	}
	if c.Region != "fra" || c.Total != 2+2*maxPaths || c.Paths["/healthz"] != 0 || c.Paths["/static/a"] < 2 || len(c.Paths) > maxPaths {
		t.Errorf("region %s, total %d, paths %d, /static/a %d", c.Region, c.Total, len(c.Paths), c.Paths["/static/a"])
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, "nyc", l) }()
	res, err := http.Get("http://" + l.Addr().String() + "/dynamic")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunSaysWhyItCannotListen(t *testing.T) {
	if err := Run(t.Context(), "nyc", "256.0.0.1:1"); err == nil || !strings.Contains(err.Error(), "nyc") {
		t.Errorf("Run: %v", err)
	}
}

// What /bulk sends has the digest that it says, and what it is sent has the one in the receipt.
func TestBulk(t *testing.T) {
	const size = 100_000
	o := New("nyc")
	down := httptest.NewRecorder()
	o.ServeHTTP(down, httptest.NewRequest("GET", "/bulk?size="+strconv.Itoa(size), nil))
	sum := sha256.Sum256(down.Body.Bytes())
	if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; down.Body.Len() != size || down.Header().Get("Repr-Digest") != want {
		t.Errorf("%d bytes, digest %s, want %s", down.Body.Len(), down.Header().Get("Repr-Digest"), want)
	}
	seen := map[string]bool{}
	for at := 0; at < size; at += 8 {
		seen[string(down.Body.Bytes()[at:at+8])] = true
	}
	if len(seen) != size/8 {
		t.Errorf("%d different eighths of %d", len(seen), size/8)
	}
	up := httptest.NewRecorder()
	o.ServeHTTP(up, httptest.NewRequest("POST", "/bulk", down.Body))
	var got Receipt
	if err := json.Unmarshal(up.Body.Bytes(), &got); err != nil || got != (Receipt{"nyc", size, hex.EncodeToString(sum[:])}) {
		t.Errorf("%+v %v", got, err)
	}
}
