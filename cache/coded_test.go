package cache

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

var prose = strings.Repeat("It is a truth universally acknowledged, that a cache is in want of a coded form. ", 200)

// newCoding is a harness whose service compresses.
func newCoding(t testing.TB) harness {
	h := newHarness(t)
	h.policy.Compress.Enabled = true
	t.Cleanup(h.Close)
	return h
}

// form is what answers r, once every form that was asked for has been made.
func (h harness) form(r *message.Request) *Object {
	h.Helper()
	res := h.look(0, r)
	if res.State != Hit {
		h.Fatalf("%v: %v", res.State, res.Reason)
	}
	f := res.Object.Form(r)
	h.coder.workers.Wait()
	return f
}

// decoded is an object's body without its coding.
func (h harness) decoded(o *Object) string {
	h.Helper()
	raw := h.body(o, Whole)
	if int64(len(raw)) != o.Length {
		h.Errorf("%d bytes, %d declared", len(raw), o.Length)
	}
	var r io.Reader = strings.NewReader(raw)
	var err error
	switch o.Fields.Get("content-encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		h.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		h.Fatal(err)
	}
	return string(b)
}

func prosaic(lines ...string) Response {
	return answer(200, append([]string{"Cache-Control: max-age=60", "Content-Type: Text/Plain;charset=utf-8"}, lines...)...)
}

func TestACodedFormIsMadeOnceAndKept(t *testing.T) {
	for _, tt := range []struct{ accept, first, then string }{
		{"gzip, deflate, br, zstd", "", "br"},
		{"gzip, zstd", "", "zstd"},
		{"gzip", "", "gzip"},
		{"br;q=0.5, gzip", "", "gzip"},
		{"*", "", "br"},
		{"identity", "", ""},
		{"identity, gzip;q=0.5", "", ""},
		{"identity;q=0.5, gzip", "", "gzip"},
		{"deflate", "", ""},
		{"br;q=0, x-gzip", "", "gzip"},
	} {
		h := newCoding(t)
		h.store(get("/"), prosaic(`ETag: "1"`, "Repr-Digest: sha-256=:AA==:", "Content-Digest: sha-256=:AA==:", "Digest: x", "Content-MD5: x", "Content-Location: /en", "Vary: Accept"), prose)
		r := get("/", "Accept-Encoding: "+tt.accept)
		if o := h.form(r); o.Fields.Get("content-encoding") != tt.first || h.decoded(o) != prose {
			t.Errorf("%s: the first hit is in %q", tt.accept, o.Fields.Get("content-encoding"))
		}
		o := h.form(r)
		if got := o.Fields.Get("content-encoding"); got != tt.then || h.decoded(o) != prose {
			t.Errorf("%s: the second hit is in %q, want %q", tt.accept, got, tt.then)
		}
		if o != h.form(r) {
			t.Errorf("%s: every hit has a form of its own", tt.accept)
		}
		if tt.then == "" {
			if !o.VaryByCoding() || o.Fields.Get("etag") != `"1"` || !o.Fields.Has("repr-digest") {
				t.Errorf("%s: %v", tt.accept, o.Fields)
			}
			continue
		}
		if o.Length > int64(len(prose))/10 {
			t.Errorf("%s: %d bytes", tt.accept, o.Length)
		}
		if o.Fields.Get("etag") != `"1~`+tt.then+`"` || strings.Join(o.Fields.Values("vary"), ", ") != "Accept, accept-encoding" || o.VaryByCoding() || o.Fields.Get("content-location") != "/en" {
			t.Errorf("%s: %v", tt.accept, o.Fields)
		}
		for _, name := range []string{"repr-digest", "content-digest", "digest", "content-md5"} {
			if o.Fields.Has(name) {
				t.Errorf("%s: %s is about other bytes", tt.accept, name)
			}
		}
		x, _ := coding.Parse(tt.then)
		if n := h.counters.coded[x].Get(); n != 1 {
			t.Errorf("%s: made %d times", tt.accept, n)
		}
		if got := h.counters.codedSaved[x].Get(); got != uint64(int64(len(prose))-o.Length) {
			t.Errorf("%s: %d bytes saved", tt.accept, got)
		}
		if plain := h.form(get("/")); h.body(plain, Whole) != prose || plain.Fields.Has("content-encoding") {
			t.Errorf("%s: who asks for no coding gets one", tt.accept)
		}
	}
}

func TestTheBestFormThatIsThereServes(t *testing.T) {
	h := newCoding(t)
	h.store(get("/"), prosaic(), prose)
	h.form(get("/", "Accept-Encoding: gzip"))
	all := get("/", "Accept-Encoding: gzip, br")
	for _, want := range []string{"gzip", "br"} {
		if got := h.form(all).Fields.Get("content-encoding"); got != want {
			t.Errorf("served in %q, want %q", got, want)
		}
	}
	if o := h.form(all); o.Fields.Has("etag") {
		t.Errorf("an entity tag out of nothing: %v", o.Fields)
	}
}

func TestWhatIsNotCoded(t *testing.T) {
	noise := make([]byte, 20<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	all := "Accept-Encoding: br, gzip, zstd"
	for _, tt := range []struct {
		why    string
		resp   Response
		body   string
		r      *message.Request
		change func(*Policy)
	}{
		{"coded by the origin", prosaic("Content-Encoding: br"), prose, nil, nil},
		{"a coding that is not known", prosaic("Content-Encoding: x"), prose, nil, nil},
		{"RFC 9111 §5.2.2.6 no-transform", prosaic("Cache-Control: No-Transform"), prose, nil, nil},
		{"a type that is not listed", answer(200, "Cache-Control: max-age=60", "Content-Type: image/png"), prose, nil, nil},
		{"no type", answer(200, "Cache-Control: max-age=60"), prose, nil, nil},
		{"too small", prosaic(), prose[:1000], nil, nil},
		{"too small, and it says so", func() Response { r := prosaic(); r.Length = 1000; return r }(), prose[:1000], nil, nil},
		{"too large", prosaic(), prose, nil, func(p *Policy) { p.Compress.MaxSize = 1 << 10 }},
		{"another status", answer(404, "Cache-Control: max-age=60", "Content-Type: text/plain"), prose, nil, nil},
		{"not smaller", prosaic(), string(noise), nil, nil},
		{"switched off", prosaic(), prose, nil, func(p *Policy) { p.Compress.Enabled = false }},
		{"no coding to make", prosaic(), prose, nil, func(p *Policy) { p.Compress.Encodings = nil }},
		{"RFC 9111 §5.2.1.6 the client wants it as it is", prosaic(), prose, get("/", all, "Cache-Control: no-transform"), nil},
		{"a range", prosaic(), prose, get("/", all, "Range: bytes=0-1"), nil},
	} {
		h := newCoding(t)
		if tt.change != nil {
			tt.change(h.policy)
		}
		if tt.r == nil {
			tt.r = get("/", all)
		}
		before := h.budget.used.Load()
		h.store(get("/"), tt.resp, tt.body)
		for range 3 {
			o := h.form(tt.r)
			if got := h.body(o, Whole); got != tt.body || o.Fields.Get("content-encoding") != tt.resp.Fields.Get("content-encoding") {
				t.Errorf("%s: %d bytes, %v", tt.why, len(got), o.Fields)
			}
		}
		if h.Purge(h.key(tt.r)); h.budget.used.Load() != before {
			t.Errorf("%s: %d bytes are lost", tt.why, h.budget.used.Load()-before)
		}
	}
}

func TestWhatIsNotWorthWhileIsTriedOnce(t *testing.T) {
	h := newCoding(t)
	noise := make([]byte, 20<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	h.store(get("/"), prosaic(), string(noise))
	for range 3 {
		h.form(get("/", "Accept-Encoding: br, gzip"))
	}
	if n := h.counters.codingNoGain.Get(); n != 1 {
		t.Errorf("tried %d times", n)
	}
}

func TestRFC9110_8_8_3_3_EntityTagsOfForms(t *testing.T) {
	all := "Accept-Encoding: gzip, br"
	for _, tt := range []struct {
		why, tag string
		lines    []string
		made     bool // the forms have been made before
		status   int
		want     string // the tag in the answer
	}{
		{"the form's own tag", `"1"`, []string{all, `If-None-Match: "1~br"`}, true, 304, `"1~br"`},
		{"of a form that has gone", `"1"`, []string{all, `If-None-Match: "1~br"`}, false, 304, `"1~br"`},
		{"of a form that another is better than", `"1"`, []string{all, `If-None-Match: "1~gzip"`}, true, 304, `"1~gzip"`},
		{"of a form that is no longer acceptable", `"1"`, []string{"Accept-Encoding: gzip", `If-None-Match: "1~br"`}, true, 0, `"1~gzip"`},
		{"of the form without a coding", `"1"`, []string{all, `If-None-Match: "1"`}, true, 304, `"1"`},
		{"without a coding, which is not acceptable", `"1"`, []string{all + ", identity;q=0", `If-None-Match: "1"`}, true, 0, `"1~br"`},
		{"one of several", `"1"`, []string{all, `If-None-Match: "0", W/"1~br"`}, true, 304, `"1~br"`},
		{"another response's", `"1"`, []string{all, `If-None-Match: "2~br", "1~x", "1~zstd"`}, true, 0, `"1~br"`},
		{"any", `"1"`, []string{all, `If-None-Match: *`}, true, 304, `"1"`},
		{"weak tags", `W/"1"`, []string{all, `If-None-Match: W/"1~br"`}, true, 304, `W/"1~br"`},
		{"no client without codings has one", `"1"`, []string{`If-None-Match: "1~br"`}, true, 0, `"1"`},
		{"no tag", `1`, []string{all, `If-None-Match: "1~br"`}, true, 0, ``},
		{"by date", `"1"`, []string{all, "If-Modified-Since: Sun, 01 Mar 2026 12:00:00 GMT"}, true, 304, `"1~br"`},
	} {
		h := newCoding(t)
		h.store(get("/"), prosaic("ETag: "+tt.tag), prose)
		if tt.made {
			for _, accept := range []string{"gzip", "br"} {
				h.form(get("/", "Accept-Encoding: "+accept))
			}
		}
		r := get("/", tt.lines...)
		o := h.form(r)
		if status := EvaluateConditional(r, o); status != tt.status || o.Fields.Get("etag") != tt.want {
			t.Errorf("%s: %d with %s, want %d with %s", tt.why, status, o.Fields.Get("etag"), tt.status, tt.want)
		}
		f := NotModifiedFields(o)
		if !o.VaryByCoding() && f.Get("vary") != "accept-encoding" || f.Has("content-encoding") {
			t.Errorf("%s: a 304 with %v", tt.why, f)
		}
	}
}

func TestRFC9110_13_1_5_IfRangeAndForms(t *testing.T) {
	modified := "Sun, 01 Mar 2026 11:00:00 GMT"
	for _, tt := range []struct {
		why, ifRange, accept string
		status               int
	}{
		{"the tag without a coding", `"1"`, "br", 206},
		{"a form's tag: no part of it is ever sent", `"1~br"`, "br", 200},
		{"a date does not tell the forms apart", modified, "br", 200},
		{"to whom no form is sent, it does", modified, "", 206},
		{"no condition", "", "br", 206},
	} {
		h := newCoding(t)
		h.store(get("/"), prosaic(`ETag: "1"`, "Last-Modified: "+modified), prose)
		lines := []string{"Range: bytes=1-2"}
		if tt.accept != "" {
			lines = append(lines, "Accept-Encoding: "+tt.accept)
		}
		if tt.ifRange != "" {
			lines = append(lines, "If-Range: "+tt.ifRange)
		}
		h.form(get("/", "Accept-Encoding: br"))
		r := get("/", lines...)
		o := h.form(r)
		if _, status := ParseRange(r, o); status != tt.status || o.Fields.Has("content-encoding") {
			t.Errorf("%s: %d, %v", tt.why, status, o.Fields)
		}
	}
	h := newCoding(t)
	h.store(get("/"), prosaic(), prose)
	r := get("/", "Range: bytes=1-2", "Accept-Encoding: br, identity;q=0")
	h.form(r)
	if o := h.form(r); o.Fields.Get("content-encoding") != "br" {
		t.Error("a coding is asked for at any price")
	} else if _, status := ParseRange(r, o); status != 200 {
		t.Error("a part of a form")
	}
}

func TestFormsStayWithA304(t *testing.T) {
	h := newCoding(t)
	r := get("/", "Accept-Encoding: br")
	before := h.budget.used.Load()
	h.store(get("/"), prosaic(`ETag: "1"`, "X: old"), prose)
	h.form(r)
	old := h.form(r)
	now := epoch
	refresh := func(lines ...string) {
		t.Helper()
		now = now.Add(time.Hour)
		stored := h.look(0, get("/")).Object
		f, leader := h.Begin(now, h.key(r), get("/"))
		if !leader {
			t.Fatal("not the leader")
		}
		if f.NotModified(get("/"), answer(304, lines...).at(now), stored, h.policy) == nil {
			t.Fatal("refused")
		}
	}
	refresh("Cache-Control: max-age=60", `ETag: "1"`, "X: new")
	o := h.form(r)
	if o == old || o.Fields.Get("x") != "new" || o.body != old.body || h.decoded(o) != prose {
		t.Errorf("after a 304: %v", o.Fields)
	}
	if n := h.counters.coded[coding.Brotli].Get(); n != 1 {
		t.Errorf("made %d times", n)
	}
	refresh("Cache-Control: max-age=60, no-transform")
	if o := h.form(r); o.Fields.Has("content-encoding") {
		t.Error("coded against the origin's will")
	}
	if h.Purge(h.key(r)); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

func TestAFormHasItsOwnBlock(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	r := get("/", "Accept-Encoding: br")
	h.store(get("/"), prosaic(`ETag: "1"`), prose)
	encode := func(dst []byte, f message.Fields) []byte { return fmt.Append(dst, f) }
	plain := h.form(r).Encoded(message.HTTP2, encode)
	o := h.form(r)
	block := o.Encoded(message.HTTP2, encode)
	if bytes.Equal(plain, block) || !bytes.Contains(block, []byte("content-encoding")) {
		t.Errorf("%s", block)
	}
	if again := o.Encoded(message.HTTP2, encode); &again[0] != &block[0] {
		t.Error("the block is made anew")
	}
	if n := testing.AllocsPerRun(100, func() { h.look(0, r).Object.Form(r).Encoded(message.HTTP2, encode) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	h.Purge(h.key(r))
	if o.Encoded(message.HTTP3, encode); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
	if h.decoded(o) != prose {
		t.Error("whoever has the form may send it")
	}
}

func TestTheCodingQueueIsBounded(t *testing.T) {
	h := newCoding(t)
	h.coder.running = maxCoding() // as if they were busy
	for i := range maxCodingQueue + 3 {
		r := get(fmt.Sprintf("/%d", i), "Accept-Encoding: br")
		h.store(get(fmt.Sprintf("/%d", i)), prosaic(), prose[:2<<10])
		h.look(0, r).Object.Form(r)
		h.look(0, r).Object.Form(r) // has asked already
	}
	if n := h.coder.waits.Load(); n != maxCodingQueue {
		t.Errorf("%d wait", n)
	}
	if n := h.counters.codingFull.Get(); n != 6 {
		t.Errorf("full %d times", n)
	}
	h.coder.running = 0
	h.Close()
	if h.coder.waits.Load() != 0 || h.coder.queue != nil {
		t.Error("a closed cache has work to do")
	}
	r := get("/0", "Accept-Encoding: br")
	for range 2 {
		if h.form(r).Fields.Has("content-encoding") {
			t.Error("work after Close")
		}
	}
	for i := range maxCodingQueue + 3 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if h.objects.Load() != 0 || h.queues.small.count+h.queues.main.count != 0 {
		t.Error("something is still held")
	}
}

func TestTheBodiesThatWaitToBeCodedAreFew(t *testing.T) {
	h := newCoding(t) // with 8 MiB
	h.coder.running = maxCoding()
	for i := range 4 {
		path := fmt.Sprintf("/%d", i)
		h.store(get(path), prosaic(), strings.Repeat(prose, 13)) // 200 KiB
		h.look(0, get(path)).Object.Form(get(path, "Accept-Encoding: br"))
	}
	if n := h.coder.waits.Load(); n != 2 || h.coder.bytes > 8<<20/codingShare {
		t.Errorf("%d wait, %d bytes", n, h.coder.bytes)
	}
	h.coder.running = 0
}

// encoderFunc is an encoder that is only a function.
type encoderFunc func(p []byte) error

func (f encoderFunc) Write(p []byte) (int, error) { return len(p), f(p) }
func (f encoderFunc) Close() error                { return f(nil) }

func TestAnEncoderThatFails(t *testing.T) {
	for _, tt := range []struct {
		why string
		f   encoderFunc
	}{
		{"an error", func([]byte) error { return io.ErrShortBuffer }},
		{"an error at the end", func(p []byte) error {
			if p == nil {
				return io.ErrShortBuffer
			}
			return nil
		}},
		{"a panic", func([]byte) error { panic("x") }},
	} {
		h := newCoding(t)
		before := h.budget.used.Load()
		h.coder.encoder = func(_ coding.Coding, w io.Writer, _ int, _ int64) (io.WriteCloser, error) {
			w.Write([]byte("half of it"))
			return tt.f, nil
		}
		h.store(get("/"), prosaic(), prose)
		r := get("/", "Accept-Encoding: br")
		for range 3 {
			if h.form(r).Fields.Has("content-encoding") {
				t.Error(tt.why, "is served")
			}
		}
		if n := h.counters.codingError.Get(); n != 1 {
			t.Errorf("%s: %d failures", tt.why, n)
		}
		if h.Purge(h.key(r)); h.budget.used.Load() != before {
			t.Errorf("%s: %d bytes are lost", tt.why, h.budget.used.Load()-before)
		}
	}
}

func TestCloseEndsWhatIsBeingCoded(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	begun := make(chan struct{})
	closing := func() bool { return h.coder.closed.Load() }
	h.coder.encoder = func(coding.Coding, io.Writer, int, int64) (io.WriteCloser, error) {
		return encoderFunc(func(p []byte) error {
			if p == nil {
				t.Error("it went on to the end")
				return nil
			}
			close(begun)
			for !closing() {
				runtime.Gosched()
			}
			return nil
		}), nil
	}
	h.store(get("/"), prosaic(), prose)
	r := get("/", "Accept-Encoding: br")
	h.look(0, r).Object.Form(r)
	<-begun
	h.Close()
	if h.counters.codingError.Get() != 0 {
		t.Error("the end is no failure")
	}
	if h.Purge(h.key(r)); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

// TestFormsOfWhatComesAndGoes has objects stored, refreshed, purged and evicted while forms are made and read; the race detector judges, the
// bytes, and the budget, which must be even at the end.
func TestFormsOfWhatComesAndGoes(t *testing.T) {
	h := harness{t, newCache(1<<20, 1<<20), on()}
	h.policy.Compress.Enabled = true
	before := h.budget.used.Load()
	accepts := []string{"br", "gzip", "zstd", "gzip, br", ""}
	fetch := func(r *message.Request, stored *Object, body string, how int) {
		f, leader := h.Begin(epoch.Add(time.Hour), h.key(r), r)
		if !leader {
			return
		}
		if stored != nil && how < 4 && f.NotModified(r, answer(304, "Cache-Control: max-age=60").at(epoch.Add(time.Hour)), stored, h.policy) != nil {
			return
		}
		w, _ := f.Respond(r, prosaic(`ETag: "1"`), h.policy)
		if w == nil {
			return
		}
		w.Write([]byte(body))
		if how%4 == 0 {
			w.Abort(nil)
		}
		w.Commit(nil)
		w.Object().Form(r)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			for range 250 {
				path := fmt.Sprintf("/%d", rng.IntN(12))
				r := get(path, "Accept-Encoding: "+accepts[rng.IntN(len(accepts))])
				body := path + prose[:rng.IntN(len(prose))]
				if rng.IntN(8) == 0 {
					body = path + strings.Repeat(prose, 12)
				}
				switch res := h.look(0, r); rng.IntN(8) {
				case 0:
					h.Purge(h.key(r))
				case 1, 2:
					fetch(r, res.Object, body, rng.IntN(8))
				default:
					if res.Object == nil {
						fetch(get(path), nil, body, 7)
						continue
					}
					o := res.Object.Form(r)
					o.Encoded(message.HTTP1, func(dst []byte, f message.Fields) []byte { return fmt.Append(dst, f) })
					var p Pieces
					if o.Pin(&p, Whole) {
						p.Close()
					}
					if got := h.decoded(o); !strings.HasPrefix(got, path) || !strings.HasSuffix(got, ". ") && !strings.HasPrefix(prose, got[len(path):]) {
						t.Errorf("%s: %d bytes", path, len(got))
					}
				}
			}
		})
	}
	wg.Wait()
	h.Close()
	for i := range 12 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if got := h.budget.used.Load(); got != before {
		t.Errorf("%d bytes are lost", got-before)
	}
}

func TestOriginTags(t *testing.T) {
	for _, tt := range []struct{ method, name, value, want string }{
		{"PUT", "if-match", `"1~br"`, `"1"`},
		{"PUT", "if-match", `"1", "2~gzip",W/"3~zstd"`, `"1", "2", W/"3"`},
		{"PUT", "if-match", `"1~x", "~", "2~deflate", "3~BR", *`, `"1~x", "~", "2~deflate", "3~BR", *`},
		{"PUT", "if-match", `"1~br`, `"1~br`},
		{"PUT", "if-match", `*`, `*`},
		{"PUT", "if-none-match", `"1~br"`, `"1"`},
		{"GET", "if-match", `"a~b~br"`, `"a~b"`},
		{"GET", "if-none-match", `"1~br"`, `"1~br"`},
		{"GET", "if-range", `"1~br"`, `"1~br"`},
	} {
		r := request(tt.method, "/", "Accept: x", tt.name+": "+tt.value)
		if got := OriginFields(r, r.Fields).Get(tt.name); got != tt.want {
			t.Errorf("%s %s %s: %s, want %s", tt.method, tt.name, tt.value, got, tt.want)
		}
		if got := r.Fields.Get(tt.name); got != tt.value {
			t.Errorf("the request is changed: %s", got)
		}
	}
}

func FuzzCodedTags(f *testing.F) {
	for _, s := range []string{`"1"`, `W/"1~br"`, `"1~gzip", "2"`, `"`, `""`, `W/`, `"a"b"`, "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		originTags(s)
		for _, x := range on().Compress.Encodings {
			tag, ok := codedTag(s, x)
			if !ok {
				continue
			}
			if back, ok := plainTag(tag); !ok || back != s {
				t.Fatalf("%s becomes %s becomes %s", s, tag, back)
			}
			if strings.IndexByte(s, '\\') < 0 && !codedTagListed(message.Fields{{Name: "if-none-match", Value: `"0", ` + tag}}, s, x) {
				t.Fatalf("%s is not found in a list", tag)
			}
		}
	})
}

func TestCompressTypes(t *testing.T) {
	p := on().Compress
	for value, want := range map[string]bool{
		"text/html": true, "Text/HTML; charset=utf-8": true, "application/json": true, "application/problem+json": true, "image/svg+xml;x=y": true,
		"text": false, "": false, "application/jsonx": false, "image/png": false, "textual/x": false, "application/json/x": false, "+json": false,
	} {
		if p.covers(value) != want {
			t.Errorf("%q: %t", value, !want)
		}
	}
}

func TestCompressIsValidated(t *testing.T) {
	for _, tt := range []struct {
		key    string
		change func(*Compress)
	}{
		{"encodings", func(c *Compress) { c.Encodings = nil }},
		{"encodings[1]", func(c *Compress) { c.Encodings = []coding.Coding{coding.Gzip, coding.Gzip} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"text"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"Text/html"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"*/*"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"text/html; charset=utf-8"} }},
		{"types[0]", func(c *Compress) { c.Types = []string{"*+"} }},
		{"min_size", func(c *Compress) { c.MinSize = -1 }},
		{"max_size", func(c *Compress) { c.MaxSize = 1 }},
		{"brotli_level", func(c *Compress) { c.BrotliLevel = 12 }},
		{"zstd_level", func(c *Compress) { c.ZstdLevel = 0 }},
		{"gzip_level", func(c *Compress) { c.GzipLevel = 10 }},
		{"", func(*Compress) {}},
	} {
		c := on().Compress
		c.Enabled = true
		tt.change(&c)
		got := ""
		c.Validate(func(key, _ string) { got += key })
		if got != tt.key {
			t.Errorf("complains of %q, want %q", got, tt.key)
		}
	}
}

func TestRFC9111_4_1_AcceptEncoding(t *testing.T) {
	const chrome, safari = "gzip, deflate, br, zstd", "gzip, deflate, br"
	for _, tt := range []struct {
		why, coding, first, second string
		same                       bool
	}{
		{"the same in other words", "", chrome, "zstd;q=1.0,br , gzip", true},
		{"without a coding it is to the letter", "", chrome, safari, false},
		{"chosen among more", "br", chrome, safari, true},
		{"and gzip for one who takes nothing else", "gzip", chrome, "gzip", true},
		{"chosen among less", "gzip", "gzip", safari, false},
		{"not acceptable", "br", chrome, "gzip", false},
		{"not acceptable at all", "br", chrome, "gzip, br;q=0", false},
		{"another preference", "br", chrome, "gzip, br;q=0.5", false},
		{"absence is something else", "gzip", chrome, "", false},
		{"and matches absence", "", "", "", true},
		{"an unasked coding too", "gzip", "", "", true},
		{"a coding that is not known", "x", chrome, safari, false},
	} {
		h := newHarness(t)
		r := func(accept string) *message.Request {
			if accept == "" {
				return get("/")
			}
			return get("/", "Accept-Encoding: "+accept)
		}
		lines := []string{"Cache-Control: max-age=60", "Vary: Accept-Encoding"}
		if tt.coding != "" {
			lines = append(lines, "Content-Encoding: "+tt.coding)
		}
		h.store(r(tt.first), answer(200, lines...), "x")
		if res := h.look(0, r(tt.second)); (res.State == Hit) != tt.same {
			t.Errorf("%s: %q after %q in %q: %v", tt.why, tt.second, tt.first, tt.coding, res.State)
		}
		if n := testing.AllocsPerRun(50, func() { h.look(0, r(tt.first)) }) - testing.AllocsPerRun(50, func() { r(tt.first) }); n > 0 {
			t.Errorf("%s: %v allocations", tt.why, n)
		}
	}
}
