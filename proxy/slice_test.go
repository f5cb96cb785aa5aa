package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/proxy/message"
)

const slice = 64 << 10

func sliced(_ *Options, s *ServiceConfig) { s.Cache.Slice = slice }

// slicedSmall is sliced, with so small a max_object that what the tests serve is too large for it.
func slicedSmall(o *Options, s *ServiceConfig) {
	sliced(o, s)
	o.Set = metrics.NewSet()
	o.Cache = cache.New(cache.Config{Memory: 4 << 20, MaxObject: 100 << 10}, o.Set)
}

// of is the Range of slices from up to and with to.
func of(from, to int) (asked string) {
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, fmt.Sprintf("bytes=%d-%d", n*slice, (n+1)*slice-1))
	}
	return strings.Join(all, ", ")
}

func TestSlicesAreFetchedStoredAndSharedByThemselves(t *testing.T) {
	o := &ranged{content: numbered(5*slice + 100), tag: `"a"`}
	e := o.edge(t, sliced)
	s := string(o.content)
	e.steps(o,
		step{"one byte", []string{"range", "bytes=70000-70000"}, 206, s[70000:70001], "nearcast; fwd=uri-miss; fwd-status=206; stored", of(1, 1)},
		step{"the same slice", []string{"range", "bytes=65536-131071"}, 206, s[slice : 2*slice], "nearcast; hit", ""},
		step{"another besides", []string{"range", "bytes=70000-140000"}, 206, s[70000:140001], "nearcast; fwd=partial", of(2, 2)},
		step{"both", []string{"range", "bytes=70000-140000"}, 206, s[70000:140001], "nearcast; hit", ""},
		step{"a suffix, whose place is known", []string{"range", "bytes=-1"}, 206, s[len(s)-1:], "nearcast; fwd=uri-miss", of(5, 5)},
		step{"If-Range of this version", []string{"range", "bytes=70000-70001", "if-range", `"a"`}, 206, s[70000:70002], "nearcast; hit", ""},
		step{"its validator", []string{"range", "bytes=70000-70001", "if-none-match", `"a"`}, 304, "", "nearcast; hit", ""},
		step{"beyond the end", []string{"range", fmt.Sprintf("bytes=%d-", len(s))}, 416, "", "nearcast; hit", ""},
		step{"an open end", []string{"range", "bytes=200000-"}, 206, s[200000:], "nearcast; fwd=partial", of(3, 4)},
	)
	e.Serve(context.Background(), &client{}, request("POST", "/a"))
	o.questions()
	e.steps(o, step{"an unsafe method takes all of them", []string{"range", "bytes=70000-140000"}, 206, s[70000:140001], "nearcast; fwd=uri-miss", of(1, 2)})
}

func TestASuffixOfWhatIsNotKnownFetchesTheFirstSliceToo(t *testing.T) {
	o := &ranged{content: numbered(5 * slice), tag: `"a"`}
	e := o.edge(t, sliced)
	e.steps(o, step{"a suffix", []string{"range", "bytes=-2"}, 206, string(o.content[5*slice-2:]), "nearcast; fwd=uri-miss", of(0, 0) + ", " + of(4, 4)})
}

func TestSlicesOfAnotherVersionDoNotMix(t *testing.T) {
	o := &ranged{content: numbered(5 * slice), tag: `"a"`}
	e := o.edge(t, sliced)
	s := string(o.content)
	e.steps(o, step{"a slice", []string{"range", "bytes=0-1"}, 206, s[:2], "nearcast; fwd=uri-miss", of(0, 0)})
	o.become(bytes.Repeat([]byte("x"), 3*slice), `"b"`)
	if c := e.get("/a", "range", "bytes=0-100000"); c.status != 206 || !c.aborted || c.body.String() != s[:slice] {
		t.Errorf("what changes on the way is cut off: %d, aborted %v, %d bytes", c.status, c.aborted, c.body.Len())
	}
	e.settle()
	o.questions()
	e.steps(o,
		step{"the slices of old are gone", []string{"range", "bytes=0-1"}, 206, "xx", "nearcast; fwd=uri-miss", of(0, 0)},
		step{"those of the new version are not", []string{"range", "bytes=0-100000"}, 206, strings.Repeat("x", 100001), "nearcast; hit", ""},
		step{"nor is what was the end", []string{"range", "bytes=-1"}, 206, "x", "nearcast; fwd=uri-miss", of(2, 2)},
	)
}

func TestAnOriginWithoutSlicesIsRemembered(t *testing.T) {
	content := numbered(3 * slice)
	for why, f := range map[string]http.HandlerFunc{
		"no ranges":              whole(content, "Etag", `"a"`),
		"no validator":           (&ranged{content: content}).ServeHTTP,
		"not to be stored":       (&ranged{content: content, tag: `"a"`, more: []string{"Cache-Control", "no-store"}}).ServeHTTP,
		"always to be validated": (&ranged{content: content, tag: `"a"`, more: []string{"Cache-Control", "no-cache"}}).ServeHTTP,
	} {
		url, hits := counting(t, f)
		e := newEdge(t, map[string][]string{"fra": {url}}, sliced)
		for i := range 4 {
			c := e.get("/a", "range", "bytes=5-6")
			e.settle()
			if !bytes.Equal(c.body.Bytes(), content[5:7]) && !bytes.Equal(c.body.Bytes(), content) {
				t.Errorf("%s: %d bytes", why, c.body.Len())
			}
			if n := hits.Load(); n > int32(i)+2 {
				t.Errorf("%s: %d requests asked the origin %d times", why, i+1, n)
			}
		}
	}
}

func TestRFC9111_4_3_SlicesAreValidated(t *testing.T) {
	o := &ranged{content: numbered(3 * slice), tag: `"a"`}
	var validated atomic.Int32
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"a"` && r.Header.Get("Range") == of(0, 0) {
			validated.Add(1)
		}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, sliced)
	for range 2 {
		c := e.get("/a", "range", "bytes=0-1", "cache-control", "no-cache")
		e.settle()
		e.want("a reload", c, 206, string(o.content[:2]), "nearcast; fwd=uri-miss; fwd-status=206")
	}
	if validated.Load() != 1 || hits.Load() != 2 {
		t.Errorf("validated %d times in %d requests", validated.Load(), hits.Load())
	}
	o.become(bytes.Repeat([]byte("x"), 3*slice), `"b"`)
	e.want("a new version", e.get("/a", "range", "bytes=0-1", "cache-control", "no-cache"), 206, "xx", "nearcast; fwd=uri-miss")
}

func TestLargeResponsesAreServedInSlices(t *testing.T) {
	o := &ranged{content: numbered(5*slice + 1), tag: `"a"`}
	e := o.edge(t, slicedSmall)
	s := string(o.content)
	e.steps(o,
		step{"one that turns out too large passes through", nil, 200, s, "nearcast; fwd=uri-miss; fwd-status=200", ""},
		step{"the next is of slices", nil, 200, s, "nearcast; fwd=uri-miss; fwd-status=206; stored", of(0, 5)},
		step{"which are stored", nil, 200, s, "nearcast; hit", ""},
		step{"for ranges too", []string{"range", "bytes=100-200000"}, 206, s[100:200001], "nearcast; hit", ""},
		step{"and conditions", []string{"if-none-match", `"a"`}, 304, "", "nearcast; hit", ""},
	)
}

// reaching is a client that tells when it has got that many bytes.
type reaching struct {
	client
	at      int
	reached chan struct{}
}

func (c *reaching) Write(p []byte) (int, error) {
	before := c.body.Len()
	n, err := c.client.Write(p)
	if before < c.at && c.body.Len() >= c.at {
		close(c.reached)
	}
	return n, err
}

func TestASliceThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	o := &ranged{content: numbered(4 * slice), tag: `"a"`}
	var cut atomic.Bool
	c := &reaching{at: slice, reached: make(chan struct{})}
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == of(1, 1) && cut.CompareAndSwap(false, true) {
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Etag", `"a"`)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", slice, 2*slice-1, 4*slice))
			w.Header().Set("Content-Length", strconv.Itoa(slice))
			w.WriteHeader(206)
			w.Write(o.content[slice : slice+1000])
			w.(http.Flusher).Flush()
			<-c.reached
			panic(http.ErrAbortHandler)
		}
		o.ServeHTTP(w, r)
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, sliced)
	e.Serve(t.Context(), c, request("GET", "/a", "range", "bytes=10-200000"))
	if c.status != 206 || c.aborted || !bytes.Equal(c.body.Bytes(), o.content[10:200001]) {
		t.Errorf("%d, aborted %v, %d bytes", c.status, c.aborted, c.body.Len())
	}
	if q := o.questions(); !strings.Contains(q, `-200000 "a"`) {
		t.Errorf("the rest is asked for with its validator: %q", q)
	}
}

func TestConcurrentRequestsShareSlices(t *testing.T) {
	o := &ranged{content: numbered(8 * slice), tag: `"a"`}
	e := o.edge(t, sliced)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			from, to := i*1000, len(o.content)-1-i*1000
			c := e.get("/a", "range", fmt.Sprintf("bytes=%d-%d", from, to))
			if c.status != 206 || !bytes.Equal(c.body.Bytes(), o.content[from:to+1]) {
				t.Errorf("%d-%d: %d, %d bytes", from, to, c.status, c.body.Len())
			}
		})
	}
	wg.Wait()
	if asked := strings.Count(o.questions(), "bytes="); asked != 8 {
		t.Errorf("8 slices were fetched %d times", asked)
	}
}

// TestRandomRangesThroughSlices: with a memory that holds a third of what is asked for, four clients at a time, and a resource that changes in between.
func TestRandomRangesThroughSlices(t *testing.T) {
	o := &ranged{content: numbered(2<<20 + 77), tag: `"a"`}
	const memory = 1 << 20
	set := metrics.NewSet()
	e := o.edge(t, func(opts *Options, s *ServiceConfig) {
		sliced(opts, s)
		opts.Set, opts.Cache = set, cache.New(cache.Config{Memory: memory, MaxObject: 256 << 10}, set)
	})
	for round := range 6 {
		var wg sync.WaitGroup
		for seed := range uint64(4) {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(round)))
				n := len(o.content)
				for range 15 {
					at := rng.IntN(n)
					from, to, asked := at, n, fmt.Sprintf("bytes=%d-", at)
					switch rng.IntN(3) {
					case 0:
						from, asked = n-1-at, fmt.Sprintf("bytes=-%d", at+1)
					case 1:
						to = min(n, at+1+rng.IntN(300<<10))
						asked = fmt.Sprintf("bytes=%d-%d", at, to-1)
					}
					c := e.get("/a", "range", asked)
					if c.status != 206 || c.aborted || !bytes.Equal(c.body.Bytes(), o.content[from:to]) {
						t.Errorf("%s: %d, aborted %v, %d bytes of %d", asked, c.status, c.aborted, c.body.Len(), to-from)
					}
					if used := metric(set, "nearcast_cache_bytes"); used > memory {
						t.Errorf("%.0f bytes in use", used)
					}
				}
			})
		}
		wg.Wait()
		e.settle()
		e.Serve(context.Background(), &client{}, request("POST", "/a"))
		o.become(append([]byte{byte(round)}, o.content[:len(o.content)-round]...), fmt.Sprintf(`"%d"`, round))
	}
}

// generated is content of any length without memory: each place has a byte that its number decides.
type generated struct{ at, size int64 }

func (z *generated) Read(p []byte) (int, error) {
	if z.at >= z.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), z.size-z.at)]
	for i := 0; i < len(p); {
		part := p[i:min(len(p), i+int(1<<16-z.at&(1<<16-1)))]
		part[0] = byteAt(z.at)
		for n := 1; n < len(part); n *= 2 {
			copy(part[n:], part[:n])
		}
		i, z.at = i+len(part), z.at+int64(len(part))
	}
	return len(p), nil
}

// byteAt is the same for 64 KiB.
func byteAt(at int64) byte { return byte(at>>16 ^ at>>24) }

func (z *generated) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += z.at
	case io.SeekEnd:
		off += z.size
	}
	z.at = off
	return off, nil
}

// checking is a client that compares what comes with generated, and watches the budget.
type checking struct {
	client
	t        *testing.T
	at       int64
	used     func() float64
	peak     float64
	mismatch bool
}

func (c *checking) Write(p []byte) (int, error) {
	for _, i := range [...]int{0, len(p) / 2, len(p) - 1} {
		c.mismatch = c.mismatch || p[i] != byteAt(c.at+int64(i))
	}
	if c.at += int64(len(p)); c.at>>22 != (c.at-int64(len(p)))>>22 {
		c.peak = max(c.peak, c.used())
	}
	return len(p), nil
}

func TestALargeResponseStaysWithinTheBudget(t *testing.T) {
	size := int64(4 << 30)
	if testing.Short() || raced {
		size = 256 << 20
	}
	const memory, sliceSize = 8 << 20, 1 << 20
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"a"`)
		w.Header().Set("Content-Type", "text/x-test")
		http.ServeContent(w, r, "", time.Time{}, &generated{size: size})
	})
	set := metrics.NewSet()
	e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, s *ServiceConfig) {
		s.Cache.Slice, o.Set = sliceSize, set
		o.Cache = cache.New(cache.Config{Memory: memory, MaxObject: 2 << 20}, set)
	})
	used := func() float64 { return metric(set, "nearcast_cache_bytes") }
	serve := func(lines ...string) *checking {
		c := &checking{t: t, used: used}
		e.Serve(context.Background(), c, request("GET", "/a", lines...))
		return c
	}
	at := size - 12345
	c := &client{}
	e.Serve(context.Background(), c, request("GET", "/a", "range", "bytes="+strconv.FormatInt(at, 10)+"-"+strconv.FormatInt(at, 10)))
	if c.status != 206 || c.body.Len() != 1 || c.body.Bytes()[0] != byteAt(at) || hits.Load() != 1 {
		t.Errorf("a byte near the end: %d, %d bytes, %d fetches", c.status, c.body.Len(), hits.Load())
	}
	got := serve()
	if got.status != 200 || got.at != size || got.length != size || got.mismatch || got.aborted {
		t.Errorf("the whole: %d, %d bytes of %d, aborted %v, other bytes %v", got.status, got.at, got.length, got.aborted, got.mismatch)
	}
	if got.peak > memory {
		t.Errorf("%.0f bytes were in use, of %d", got.peak, memory)
	}
	// One that was fetched ahead may have to make room, in so small a memory, for the one before it that still arrives.
	if n := int64(hits.Load()); n > size/sliceSize*101/100+1 {
		t.Errorf("%d slices were fetched in %d requests", size/sliceSize, n)
	}
}

// metric reads a series of a set.
func metric(set *metrics.Set, name string) float64 {
	var b bytes.Buffer
	set.WritePrometheus(&b)
	for line := range strings.Lines(b.String()) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return f
		}
	}
	return -1
}

var _ message.ResponseWriter = (*checking)(nil)

// RFC 9110 §9.3.2, RFC 9111 §5.2.1.7: what is known of parts and slices answers HEAD, and only-if-cached.
func TestWhatIsStoredInPartsAnswersHEADAndOnlyIfCached(t *testing.T) {
	content := numbered(3 * slice)
	s := string(content)
	only := "only-if-cached"
	for _, sliceSize := range []cache.Size{0, slice} {
		o := &ranged{content: content, tag: `"a"`, more: []string{"Surrogate-Key", "k"}}
		e := o.edge(t, func(_ *Options, c *ServiceConfig) { c.Cache.Slice = sliceSize })
		if c := e.get("/a", "range", "bytes=0-9", "cache-control", only); c.status != 504 {
			t.Errorf("nothing is stored: %d", c.status)
		}
		e.get("/a", "range", fmt.Sprintf("bytes=0-%d", 2*slice-1))
		e.settle()
		o.questions()
		for _, tt := range []struct {
			method string
			fields []string
			status int
			body   string
		}{
			{"HEAD", nil, 200, ""}, {"HEAD", []string{"range", "bytes=0-9"}, 200, ""}, {"HEAD", []string{"if-none-match", `"a"`}, 304, ""},
			{"HEAD", []string{"cache-control", only}, 200, ""},
			{"GET", []string{"range", "bytes=5-99", "cache-control", only}, 206, s[5:100]},
			{"GET", []string{"range", "bytes=65000-66000", "cache-control", only}, 206, s[65000:66001]},
			{"GET", []string{"range", "bytes=999999-", "cache-control", only}, 416, ""},
			{"GET", []string{"if-none-match", `"a"`, "cache-control", only}, 304, ""},
			{"GET", []string{"range", "bytes=131000-132000", "cache-control", only}, 504, "504 Gateway Timeout\n"},
			{"GET", []string{"cache-control", only}, 504, "504 Gateway Timeout\n"},
			{"GET", []string{"range", "bytes=0-0,5-5", "cache-control", only}, 206, "-"},
		} {
			if sliceSize > 0 && tt.body == "-" {
				continue
			}
			r := request(tt.method, "/a", tt.fields...)
			var c *client
			if a := e.Quick(r); a != nil {
				c = take(a, r)
			} else {
				c = e.serve(r)
			}
			if c.status != tt.status || c.body.String() != tt.body && tt.body != "-" || tt.status == 200 && (c.length != 3*slice || c.fields.Get("content-type") != "text/x-test") {
				t.Errorf("slice %d, %s %v: %d, %d bytes, %d announced, %v", sliceSize, tt.method, tt.fields, c.status, c.body.Len(), c.length, c.fields)
			}
			if c.fields.Has("surrogate-key") {
				t.Error("a tag reaches its client")
			}
		}
		if q := o.questions(); q != "" {
			t.Errorf("the origin was asked %q", q)
		}
		if _, err := e.cache.PurgeTag(time.Now(), "shop", "k", false); err != nil {
			t.Fatal(err)
		}
		if c := e.serve(request("HEAD", "/a", "cache-control", only)); c.status != 504 {
			t.Errorf("slice %d: what is purged answers HEAD: %d", sliceSize, c.status)
		}
	}
}

func TestRFC5861_4_AStaleSliceServesWhenOriginsFail(t *testing.T) {
	o := &ranged{content: numbered(3 * slice), tag: `"a"`}
	var failing atomic.Bool
	var cut atomic.Bool
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case cut.Load():
			panic(http.ErrAbortHandler)
		case failing.Load():
			w.WriteHeader(503)
			return
		}
		o.ServeHTTP(w, r)
	})
	var log bytes.Buffer
	e := newEdge(t, map[string][]string{"fra": {url}}, func(opts *Options, s *ServiceConfig) {
		s.Cache.Slice, s.Cache.StaleIfError, opts.AccessLog = slice, time.Hour, &log
	})
	e.get("/a", "range", "bytes=0-4")
	e.settle()
	if line := log.String(); !strings.Contains(line, `"origin":"`) || !strings.Contains(line, `"attempts":1`) {
		t.Errorf("the log names the origin: %s", line)
	}
	reload := []string{"range", "bytes=1-2", "cache-control", "no-cache"}
	failing.Store(true)
	e.want("an error", e.get("/a", reload...), 206, string(o.content[1:3]), "nearcast; fwd=request; fwd-status=503")
	if c := e.get("/a", "range", "bytes=70000-70001"); c.status != 503 {
		t.Errorf("what is not stored: %d", c.status)
	}
	cut.Store(true)
	if c := e.get("/a", reload...); c.status != 206 || c.body.String() != string(o.content[1:3]) {
		t.Errorf("no answer: %d", c.status)
	}
}

func TestAResourceOfOneSliceIsStoredAsAWhole(t *testing.T) {
	o := &ranged{content: bytes.Repeat([]byte("0123456789"), 1000), tag: `"a"`}
	s := string(o.content)
	e := o.edge(t, func(_ *Options, c *ServiceConfig) {
		c.Cache.Slice, c.Cache.Compress.Enabled = slice, true
		c.Cache.Compress.Types = []string{"text/*"}
	})
	empty := metric(e.opts.Set, "nearcast_cache_bytes")
	e.steps(o,
		step{"a range of it", []string{"range", "bytes=5-9"}, 206, s[5:10], "nearcast; fwd=uri-miss; fwd-status=206; stored", of(0, 0)},
		step{"another", []string{"range", "bytes=50-99"}, 206, s[50:100], "nearcast; hit", ""},
		step{"the whole", nil, 200, s, "nearcast; hit", ""},
	)
	if n := e.cacheObjects(); n != 1 {
		t.Errorf("%v objects", n)
	}
	if c := e.get("/a"); !c.fields.Has("vary") {
		t.Errorf("it may be had coded: %v", c.fields)
	}
	e.Serve(context.Background(), &client{}, request("POST", "/a"))
	e.cache.StopCoding()
	if n := metric(e.opts.Set, "nearcast_cache_bytes"); n > empty+64<<10 || e.cacheObjects() != 0 {
		t.Errorf("%.0f bytes more, %v objects", n-empty, e.cacheObjects())
	}
}

func TestWhatPartsBecomeMayBeHadCoded(t *testing.T) {
	o := &ranged{content: bytes.Repeat([]byte("0123456789"), 1000), tag: `"a"`}
	e := o.edge(t, func(_ *Options, c *ServiceConfig) {
		c.Cache.Compress.Enabled, c.Cache.Compress.Types = true, []string{"text/*"}
	})
	e.get("/a", "range", "bytes=0-4999")
	e.settle()
	e.get("/a")
	e.settle()
	if c := e.get("/a"); !c.fields.Has("vary") || !strings.HasPrefix(c.fields.Get("cache-status"), "nearcast; hit") {
		t.Errorf("%v", c.fields)
	}
}

func TestWhatTheOriginHasNotIsAskedForOnce(t *testing.T) {
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) })
	e := newEdge(t, map[string][]string{"fra": {url}}, sliced)
	for range 4 {
		if c := e.get("/a", "range", "bytes=0-1"); c.status != 403 {
			t.Error(c.status)
		}
		e.settle()
	}
	if n := hits.Load(); n > 5 {
		t.Errorf("four requests asked the origin %d times", n)
	}
}
