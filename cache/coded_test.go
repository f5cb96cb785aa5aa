package cache

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
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
	t.Cleanup(h.StopCoding)
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
	return decodedAs(o.Fields, raw)
}

// decodedAs is a body without the coding that the fields name; a fault otherwise.
func decodedAs(f message.Fields, raw string) string {
	var r io.Reader = strings.NewReader(raw)
	var err error
	switch f.Get("content-encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	}
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err.Error()
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
		{"no-transform for this cache (RFC 9213)", prosaic("CDN-Cache-Control: max-age=60, no-transform"), prose, nil, nil},
		{"no-transform with an argument", prosaic("Cache-Control: no-transform=1"), prose, nil, nil},
		{"no-transform after a quote without an end", prosaic(`Cache-Control: x=", no-transform`), prose, nil, nil},
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
	if o == old || o.Fields.Get("x") != "new" || h.body(o, Whole) != h.body(old, Whole) || h.decoded(o) != prose {
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

// TestCodedFormsCountInTheQueue: an object weighs what it takes, its coded forms among it.
func TestCodedFormsCountInTheQueue(t *testing.T) {
	h := newCoding(t)
	r := get("/", "Accept-Encoding: br")
	h.store(get("/"), prosaic(`ETag: "1"`), prose)
	weight := func() int64 { return h.queued[smallQueue].Load() + h.queued[mainQueue].Load() }
	plain := weight()
	h.form(r)
	h.coder.workers.Wait()
	o := h.look(0, get("/")).Object
	coded := h.form(r)
	if coded == o {
		t.Fatal("no form was made")
	}
	want := plain + coded.body.size
	if got := weight(); got < want {
		t.Errorf("it weighs %d with a form of %d, want %d", got, coded.body.size, want)
	}
	f, _ := h.Begin(epoch.Add(time.Hour), h.key(r), get("/"))
	f.NotModified(get("/"), answer(304).at(epoch.Add(time.Hour)), o, h.policy)
	if got := weight(); got < want {
		t.Errorf("refreshed it weighs %d, of which the form's body is %d", got, coded.body.size)
	}
	if h.Purge(h.key(r)); weight() != 0 {
		t.Errorf("%d bytes are left in the queues", weight())
	}
}

func TestAFormThatFirstAnswersA304ServesOnceItIsMade(t *testing.T) {
	h := newCoding(t)
	h.store(get("/"), prosaic(`ETag: "1"`), prose)
	known := get("/", "Accept-Encoding: br", `If-None-Match: "1~br"`)
	if o := h.form(known); o.Fields.Get("etag") != `"1~br"` || EvaluateConditional(known, o) != 304 {
		t.Fatalf("the client has it already: %v", o.Fields)
	}
	r := get("/", "Accept-Encoding: br")
	h.form(r)
	if o := h.form(r); o.Fields.Get("content-encoding") != "br" || h.decoded(o) != prose {
		t.Errorf("once it is made: %v", o.Fields)
	}
}
