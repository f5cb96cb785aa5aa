package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// part is an origin's 206 that says where it is, whatever was asked for.
func part(w http.ResponseWriter, contentRange, body string) {
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	h.Set("Content-Type", "text/x-test")
	h.Set("Etag", `"a"`)
	h.Set("Content-Range", contentRange)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(206)
	w.Write([]byte(body))
}

// RFC 9110 §15.3.7: the range of a 206 is the one that it says.
func TestRFC9110_15_3_7_A206OfAnotherRangeGoesToItsClientAsItCame(t *testing.T) {
	for _, tt := range []struct{ asked, contentRange, body string }{
		{"bytes=-5", "bytes 0-4/10", "01234"},
		{"bytes=0-4", "bytes 5-9/10", "56789"},
		{"bytes=0-9", "bytes 0-4/10", "01234"},
		{"bytes=20-", "bytes 0-4/10", "01234"},   // by what the origin says now it can't be satisfied
		{"bytes=4-9", "bytes 4-9/10", "45678"},   // shorter than it says
		{"bytes=0-4", "bytes 4-9/10", "45678"},   // and of another range
		{"bytes=4-9", "bytes 4-9/10", "4567890"}, // longer: it is not stored
	} {
		url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) { part(w, tt.contentRange, tt.body) })
		e := newEdge(t, map[string][]string{"fra": {url}}, nil)
		c := e.get("/a", "range", tt.asked)
		e.settle()
		if c.status != 206 || c.body.String() != tt.body || c.length != int64(len(tt.body)) || c.aborted ||
			strings.Join(c.fields.Values("content-range"), "|") != tt.contentRange {
			t.Errorf("%s: %d %q, %d announced, aborted %v, %q", tt.asked, c.status, c.body.String(), c.length, c.aborted, c.fields.Values("content-range"))
		}
		if n := hits.Load(); n != 1 {
			t.Errorf("%s answered with %s: the origin was asked %d times", tt.asked, tt.contentRange, n)
		}
		c = e.get("/a", "range", "bytes=4-4")
		e.settle()
		if stored := len(tt.body) < 7 && tt.contentRange != "bytes 5-9/10"; stored != (hits.Load() == 1) {
			t.Errorf("%s answered with %s and %d bytes: stored %v", tt.asked, tt.contentRange, len(tt.body), !stored)
		} else if stored && (c.body.String() != "4" || c.fields.Get("content-range") != "bytes 4-4/10") {
			t.Errorf("%q %q", c.body.String(), c.fields.Get("content-range"))
		}
	}
}

// RFC 9111 §3.3: what a 206 has is its body, not what it says.
func TestRFC9111_3_3_AShort206IsStoredAsFarAsItGoes(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "bytes=4-9" {
			part(w, "bytes 4-9/10", "45678")
			return
		}
		part(w, "bytes 9-9/10", "9")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a", "range", "bytes=4-9")
	e.settle()
	e.want("what there is", e.get("/a", "range", "bytes=4-8"), 206, "45678", "nearcast; hit")
	e.want("and no more", e.get("/a", "range", "bytes=4-9"), 206, "456789", "nearcast; fwd=partial")
	if n := hits.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// breaking is an origin that knows ranges, whose answers without one break off after so many bytes.
type breaking struct {
	ranged
	after  int
	broken atomic.Bool
	wait   chan struct{} // nil, or before it breaks off
}

func (o *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !o.broken.Load() {
		o.ranged.ServeHTTP(w, r)
		return
	}
	defer panic(http.ErrAbortHandler)
	h := w.Header()
	h.Set("Cache-Control", "max-age=60")
	h.Set("Content-Type", "text/x-test")
	h.Set("Content-Digest", "sha-256=:AAAA:")
	if o.tag != "" {
		h.Set("Etag", o.tag)
	}
	at, status := 0, 200
	if rg := r.Header.Get("Range"); rg != "" {
		fmt.Sscanf(rg, "bytes=%d-", &at)
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, len(o.content)-1, len(o.content)))
		status = 206
	}
	h.Set("Content-Length", strconv.Itoa(len(o.content)-at))
	w.WriteHeader(status)
	w.Write(o.content[at:min(at+o.after, len(o.content))])
	w.(http.Flusher).Flush()
	if o.wait != nil {
		<-o.wait
	}
}

func TestRFC9111_3_3_WhatHasComeOfABrokenResponseIsCompleted(t *testing.T) {
	const n, after = 100 << 10, 40 << 10
	for _, tt := range []struct {
		why, tag string
		after    int
		asked    []string
		want     string // what the origin is asked next
	}{
		{"a strong validator", `"a"`, after, nil, fmt.Sprintf(`bytes=%d- "a"`, after)},
		{"a weak one", `W/"a"`, after, nil, ""},
		{"none", "", after, nil, ""},
		{"too little", `"a"`, 10 << 10, nil, ""},
		{"a part, however little", `"a"`, 100, []string{"range", "bytes=0-"}, `bytes=100- "a"`},
		{"none of a part", `"a"`, 0, []string{"range", "bytes=0-"}, ""},
	} {
		o := &breaking{ranged: ranged{content: numbered(n), tag: tt.tag}, after: tt.after}
		o.broken.Store(true)
		e := newEdge(t, map[string][]string{"fra": {originServer(t, o.ServeHTTP)}}, nil)
		c := e.get("/a", tt.asked...)
		e.settle()
		if c.body.String() != string(o.content[:tt.after]) || !c.aborted && tt.after > 0 {
			t.Errorf("%s: its client gets what came, and is cut off: %d bytes, aborted %v", tt.why, c.body.Len(), c.aborted)
		}
		o.broken.Store(false)
		o.questions()
		c = e.get("/a")
		e.settle()
		if c.status != 200 || c.body.String() != string(o.content) || c.length != n || c.fields.Has("content-digest") && tt.want != "" {
			t.Errorf("%s: %d, %d bytes, %d announced, %v", tt.why, c.status, c.body.Len(), c.length, c.fields)
		}
		if got := o.questions(); got != tt.want {
			t.Errorf("%s: the origin was asked %q, want %q", tt.why, got, tt.want)
		}
		e.want(tt.why, e.get("/a"), 200, string(o.content), "nearcast; hit")
	}
}
