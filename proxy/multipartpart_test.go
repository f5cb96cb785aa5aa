package proxy

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRFC9110_15_3_7_2_SeveralRangesOfAShortStoredPart(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"a"`)
		http.ServeContent(w, r, "a.txt", time.Time{}, strings.NewReader(strings.Repeat("0123456789", 10)))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a", "range", "bytes=0-39")
	e.settle()
	c := e.get("/a", "range", "bytes=0-1,14-15")
	if c.status != 206 || !strings.Contains(c.body.String(), "\r\n\r\n01\r\n") || !strings.Contains(c.body.String(), "\r\n\r\n45\r\n") || hits.Load() != 1 {
		t.Errorf("%d %q, %d fetches", c.status, c.body.String(), hits.Load())
	}
}
