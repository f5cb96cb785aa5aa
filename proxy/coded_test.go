package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"

	"nearcast/proxy/message"
)

var longText = strings.Repeat("A coded form is made once, and kept. ", 300)

// newCodingEdge has a service that compresses, in front of an origin whose text is worth it. seen gets what the origin was asked.
func newCodingEdge(t testing.TB, seen func(*http.Request)) *edge {
	t.Helper()
	h := func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Last-Modified", "Sun, 01 Mar 2020 11:00:00 GMT")
		w.Header().Set("ETag", `"1"`)
		if r.URL.Path == "/vary" {
			w.Header().Set("Vary", "accept-encoding")
		}
		io.WriteString(w, longText)
	}
	s := httptest.NewServer(http.HandlerFunc(h))
	t.Cleanup(s.Close)
	return newEdge(t, map[string][]string{"fra": {s.URL}}, func(_ *Options, c *ServiceConfig) { c.Cache.Compress.Enabled = true })
}

// code has the coded forms of a path made, and returns the first answers there were.
func (e *edge) code(path string) (miss, hit *client) {
	e.t.Helper()
	miss = e.get(path, "accept-encoding", "br")
	e.settle()
	for _, accept := range []string{"br", "gzip"} {
		hit = e.get(path, "accept-encoding", accept)
		e.awaitCoded(path, accept)
	}
	return miss, hit
}

// awaitCoded asks until the answer is coded: it is made in the background, and nothing else tells when.
func (e *edge) awaitCoded(path, accept string) {
	e.t.Helper()
	for e.get(path, "accept-encoding", accept).fields.Get("content-encoding") != accept {
		if e.t.Context().Err() != nil {
			e.t.Fatal("never coded")
		}
	}
}

func TestHitsAreServedCoded(t *testing.T) {
	e := newCodingEdge(t, nil)
	miss, hit := e.code("/a")
	for _, c := range []*client{miss, hit, e.get("/a"), e.get("/a", "if-none-match", `"1"`)} {
		if c.fields.Get("vary") != "accept-encoding" || c.fields.Get("etag") != `"1"` || c.fields.Has("content-encoding") || c.status == 200 && c.body.String() != longText {
			t.Errorf("without a coding: %d %v, %d bytes", c.status, c.fields, c.body.Len())
		}
	}
	c := e.get("/a", "accept-encoding", "gzip, br")
	if c.fields.Get("content-encoding") != "br" || c.fields.Get("etag") != `"1~br"` || c.fields.Get("vary") != "accept-encoding" || c.length != int64(c.body.Len()) || c.fields.Get("age") == "" {
		t.Errorf("coded: %v, length %d", c.fields, c.length)
	}
	if b, err := io.ReadAll(brotli.NewReader(&c.body)); err != nil || string(b) != longText {
		t.Errorf("decoded %d bytes, %v", len(b), err)
	}
	head := e.serve(request("HEAD", "/a", "accept-encoding", "br"))
	if head.length != c.length || head.fields.Get("content-encoding") != "br" || head.body.Len() != 0 {
		t.Errorf("HEAD: %d, %v", head.length, head.fields)
	}
	if c = e.get("/a", "accept-encoding", "br", "if-none-match", `"1~br"`); c.status != 304 || c.fields.Get("etag") != `"1~br"` || c.fields.Get("vary") != "accept-encoding" {
		t.Errorf("validated: %d %v", c.status, c.fields)
	}
	if c = e.get("/a", "accept-encoding", "br", "range", "bytes=2-3"); c.status != 206 || c.body.String() != longText[2:4] || c.fields.Has("content-encoding") || c.fields.Get("etag") != `"1"` {
		t.Errorf("a part: %d %q %v", c.status, c.body.String(), c.fields)
	}
	e.code("/vary")
	for _, accept := range []string{"br", "identity"} {
		if c = e.get("/vary", "accept-encoding", accept); len(c.fields.Values("vary")) != 1 {
			t.Errorf("the origin's own Vary is doubled: %v", c.fields)
		}
	}
}

func TestAFormIsValidatedThatIsForgotten(t *testing.T) {
	e := newCodingEdge(t, nil)
	if c := e.get("/a", "accept-encoding", "br", "if-none-match", `"1~br"`); c.status != 304 || c.fields.Get("etag") != `"1~br"` || c.fields.Get("vary") != "accept-encoding" || c.body.Len() > 0 {
		t.Errorf("got %d %v", c.status, c.fields)
	}
	e.settle()
	if c := e.get("/a"); c.body.String() != longText || c.fields.Get("age") == "" {
		t.Errorf("what was fetched is not stored: %v", c.fields)
	}
}

func TestQuickAnswersCodedAsServeDoes(t *testing.T) {
	e := newCodingEdge(t, nil)
	e.code("/a")
	e.code("/vary")
	for _, method := range []string{"GET", "HEAD"} {
		for _, accept := range []string{"", "br", "gzip", "gzip, br", "identity", "br, identity;q=0", "*;q=0"} {
			for _, fields := range [][]string{
				{}, {"if-none-match", `"1"`}, {"if-none-match", `"1~br"`}, {"if-none-match", `"1~gzip", "2"`}, {"if-none-match", `"2"`},
				{"if-modified-since", "Sun, 01 Mar 2020 11:00:00 GMT"}, {"range", "bytes=1-2"}, {"range", "bytes=1-2", "if-range", `"1~br"`},
				{"range", "bytes=1-2", "if-range", "Sun, 01 Mar 2020 11:00:00 GMT"}, {"cache-control", "no-transform"},
			} {
				for _, path := range []string{"/a", "/vary"} {
					f := fields
					if accept != "" {
						f = append([]string{"accept-encoding", accept}, f...)
					}
					if path == "/vary" && accept != "br" && accept != "gzip" {
						continue
					}
					if !compare(t, e, method, "shop.example", path, f) {
						t.Errorf("%s %s %q: Quick left it to Serve", method, path, f)
					}
				}
			}
		}
	}
}

func TestACodedHitAllocatesNothing(t *testing.T) {
	e := newCodingEdge(t, nil)
	e.code("/a")
	for _, fields := range [][]string{{}, {"if-none-match", `"1~br"`}, {"range", "bytes=1-2"}} {
		r := request("GET", "/a", append(fields, "accept-encoding", "gzip, deflate, br")...)
		hit := func() {
			a := e.Quick(r)
			if a == nil {
				t.Fatal("not ready")
			}
			if a.Block != nil {
				a.Block.Encoded(message.HTTP2, func(dst []byte, _ message.Fields) []byte { return append(dst, 'x') })
			}
			a.Done(a.BodyLength, true)
		}
		hit()
		if n := testing.AllocsPerRun(500, hit); n != 0 && !raced {
			t.Errorf("%q: %v allocations", fields, n)
		}
	}
}

func TestTheOriginKnowsNothingOfForms(t *testing.T) {
	asked := make(chan *http.Request, 8)
	e := newCodingEdge(t, func(r *http.Request) { asked <- r })
	e.serve(request("PUT", "/a", "if-match", `"1~br", "2"`))
	if r := <-asked; r.Header.Get("If-Match") != `"1", "2"` {
		t.Errorf("If-Match: %s", r.Header.Get("If-Match"))
	}
	r := request("GET", "/b", "accept-encoding", "zstd;q=0.8, br", "accept", "*/*", "accept-encoding", "deflate;q=0.3, gzip;q=0.3, dcb")
	e.serve(r)
	if r := <-asked; strings.Join(r.Header.Values("Accept-Encoding"), "|") != "br, dcb, zstd;q=0.9, gzip;q=0.8" {
		t.Errorf("Accept-Encoding: %q", r.Header.Values("Accept-Encoding"))
	}
	e.serve(request("GET", "/c"))
	if r := <-asked; r.Header.Values("Accept-Encoding") != nil {
		t.Errorf("Accept-Encoding: %q", r.Header.Values("Accept-Encoding"))
	}
	e.serve(request("GET", "/d", "accept-encoding", "dcb", "cache-control", "no-store"))
	if r := <-asked; r.Header.Get("Accept-Encoding") != "dcb" {
		t.Errorf("what nobody shares goes as it came: %q", r.Header.Values("Accept-Encoding"))
	}
}

// BenchmarkCodedHit is a hit with and without a coding, and one to whose service coding is switched off.
func BenchmarkCodedHit(b *testing.B) {
	for _, accept := range []string{"identity", "gzip, deflate, br, zstd"} {
		b.Run(accept[:4], func(b *testing.B) {
			e := newCodingEdge(b, nil)
			e.code("/a")
			r := request("GET", "/a", "user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept", "*/*", "accept-encoding", accept)
			b.ReportAllocs()
			for b.Loop() {
				a := e.Quick(r)
				a.Body.Next()
				a.Done(a.BodyLength, true)
			}
		})
	}
	b.Run("off", func(b *testing.B) {
		e := newShelf(b, nil)
		r := request("GET", "/etag", "user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "accept", "*/*", "accept-encoding", "gzip, deflate, br, zstd")
		b.ReportAllocs()
		for b.Loop() {
			a := e.Quick(r)
			a.Body.Next()
			a.Done(a.BodyLength, true)
		}
	})
}
