package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// numbered is n bytes in which every place can be told from its neighbours.
func numbered(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// parts reads a 206: each Content-Range, and the bytes that came with it.
func parts(t testing.TB, contentType, contentRange string, body []byte) (ranges []string, data [][]byte) {
	t.Helper()
	kind, params, _ := mime.ParseMediaType(contentType)
	if kind != "multipart/byteranges" {
		return []string{contentRange}, [][]byte{body}
	}
	if contentRange != "" {
		t.Errorf("a multipart answer has a Content-Range of its own: %q", contentRange)
	}
	r := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return ranges, data
		}
		if err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Header.Get("Content-Type"); got != "text/x-test" {
			t.Errorf("a part of type %q", got)
		}
		ranges, data = append(ranges, p.Header.Get("Content-Range")), append(data, b)
	}
}

func whole(content []byte, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/x-test")
		for i := 0; i < len(fields); i += 2 {
			w.Header().Set(fields[i], fields[i+1])
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content)
	}
}

func TestRFC9110_14_6_SeveralRangesOfOneObject(t *testing.T) {
	content := numbered(200 << 10)
	url, hits := counting(t, whole(content, "Etag", `"v1"`))
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	for _, tt := range []struct {
		asked string
		want  []string
	}{
		{"bytes=0-9,100000-100009", []string{"bytes 0-9/204800", "bytes 100000-100009/204800"}},
		{"bytes=-10,0-9,65530-65540", []string{"bytes 204790-204799/204800", "bytes 0-9/204800", "bytes 65530-65540/204800"}},
		{"bytes=70000-140000,3-3", []string{"bytes 70000-140000/204800", "bytes 3-3/204800"}},
		{"bytes=0-5,4-9,9999999-", []string{"bytes 0-9/204800"}},
	} {
		c := e.get("/a", "range", tt.asked)
		if c.status != 206 || c.length != int64(c.body.Len()) {
			t.Errorf("%s: %d, %d bytes of %d", tt.asked, c.status, c.body.Len(), c.length)
			continue
		}
		ranges, data := parts(t, c.fields.Get("content-type"), c.fields.Get("content-range"), c.body.Bytes())
		if !slices.Equal(ranges, tt.want) || len(c.fields.Values("content-type")) != 1 {
			t.Errorf("%s: %q %v", tt.asked, ranges, c.fields)
		}
		for i, r := range ranges {
			var from, to, n int
			fmt.Sscanf(r, "bytes %d-%d/%d", &from, &to, &n)
			if !bytes.Equal(data[i], content[from:to+1]) {
				t.Errorf("%s: %s has other bytes", tt.asked, r)
			}
		}
	}
	for _, asked := range []string{"bytes=0-100000,100002-", "bytes=" + strings.Repeat("1-1,", 16) + "5-5"} {
		if c := e.get("/a", "range", asked); c.status != 200 || c.body.Len() != len(content) || c.fields.Has("content-range") {
			t.Errorf("%s had better be the whole: %d, %d bytes", asked, c.status, c.body.Len())
		}
	}
	if c := e.get("/a", "range", "bytes=0-0,5-5", "if-range", `"v0"`); c.status != 200 {
		t.Errorf("If-Range of another version: %d", c.status)
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestRangesAsTheStandardLibraryAnswersThem compares with net/http's server where RFC 9110 leaves no choice: one range, and
// several that neither overlap nor adjoin and are much shorter than the whole.
func TestRangesAsTheStandardLibraryAnswersThem(t *testing.T) {
	const n = 10000
	content := numbered(n)
	modified := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	url, _ := counting(t, whole(content, "Etag", `"v1"`, "Last-Modified", modified.Format(http.TimeFormat)))
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	asked := []string{"bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-10000", "bytes=-20000", "bytes=9999-", "bytes=10000-", "bytes=0-99999", "bytes=0-1, 5-6", "bytes=5-6 ,0-1,,", "bytes=10000-,3-4", "bytes=10000-,10001-"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		at := rng.IntN(n)
		one := []string{fmt.Sprintf("%d-%d", at, at+rng.IntN(n)), fmt.Sprintf("%d-", at), fmt.Sprintf("-%d", 1+at)}[rng.IntN(3)]
		asked = append(asked, "bytes="+one)
		var several []string
		for i := range 2 + rng.IntN(8) {
			start := i*1000 + rng.IntN(100)
			several = append(several, fmt.Sprintf("%d-%d", start, start+rng.IntN(300)))
		}
		rng.Shuffle(len(several), func(i, j int) { several[i], several[j] = several[j], several[i] })
		asked = append(asked, "bytes="+strings.Join(several, ","))
	}
	for _, v := range asked {
		for _, ifRange := range []string{"", `"v1"`, `"v2"`, modified.Format(http.TimeFormat), modified.Add(time.Second).Format(http.TimeFormat)} {
			r, w := httptest.NewRequest("GET", "/a", nil), httptest.NewRecorder()
			r.Header.Set("Range", v)
			lines := []string{"range", v}
			if ifRange != "" {
				r.Header.Set("If-Range", ifRange)
				lines = append(lines, "if-range", ifRange)
			}
			w.Header().Set("Content-Type", "text/x-test")
			w.Header().Set("Etag", `"v1"`)
			http.ServeContent(w, r, "", modified, bytes.NewReader(content))
			c := e.get("/a", lines...)
			if c.status != w.Code || c.fields.Get("content-range") != w.Header().Get("Content-Range") {
				t.Errorf("%s, If-Range %s: %d %q, the library %d %q", v, ifRange, c.status, c.fields.Get("content-range"), w.Code, w.Header().Get("Content-Range"))
				continue
			}
			if c.status == 416 {
				continue
			}
			ours, ourData := parts(t, c.fields.Get("content-type"), c.fields.Get("content-range"), c.body.Bytes())
			theirs, theirData := parts(t, w.Header().Get("Content-Type"), w.Header().Get("Content-Range"), w.Body.Bytes())
			if !slices.Equal(ours, theirs) || !slices.EqualFunc(ourData, theirData, bytes.Equal) {
				t.Errorf("%s: %q, the library %q", v, ours, theirs)
			}
		}
	}
}

func TestRangesOfAnObjectThatIsArriving(t *testing.T) {
	content, release, arrived := numbered(200<<10), make(chan struct{}), make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/x-test")
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:100<<10])
		w.(http.Flusher).Flush()
		close(arrived)
		<-release
		w.Write(content[100<<10:])
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	done := make(chan *client, 3)
	go func() { done <- e.get("/a") }()
	<-arrived
	go func() { done <- e.get("/a", "range", "bytes=5-5,150000-150009") }()
	go func() { done <- e.get("/a", "range", "bytes=150000-150009,5-5") }()
	close(release)
	for range 3 {
		c := <-done
		if c.status == 200 {
			if !bytes.Equal(c.body.Bytes(), content) {
				t.Error("the whole has other bytes")
			}
			continue
		}
		_, data := parts(t, c.fields.Get("content-type"), "", c.body.Bytes())
		slices.SortFunc(data, func(a, b []byte) int { return len(a) - len(b) })
		if c.status != 206 || len(data) != 2 || !bytes.Equal(data[0], content[5:6]) || !bytes.Equal(data[1], content[150000:150010]) {
			t.Errorf("%d %v", c.status, c.fields)
		}
	}
	if n := hits.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}
