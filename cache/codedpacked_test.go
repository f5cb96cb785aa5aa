package cache

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"nearcast/cache/coding"
)

// repacked lets go of all views.
func (h harness) repacked() {
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		for len(s.views.all) > 0 {
			h.dropView(s, s.views.all[0])
		}
		s.mu.Unlock()
	}
}

func TestFormsArePackedWithTheirObject(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	small := prose[:4<<10]
	plain := get("/")
	h.store(plain, prosaic(`ETag: "1"`, "Surrogate-Key: a"), small)
	if h.packed.Load() != 1 {
		t.Fatal("it is not packed")
	}
	check := func(when string) {
		t.Helper()
		for _, x := range []string{"zstd", "gzip", "br"} {
			o := h.form(get("/", "Accept-Encoding: "+x))
			if o.Fields.Get("content-encoding") != x || o.Fields.Get("etag") != `"1~`+x+`"` || h.decoded(o) != small {
				t.Errorf("%s: %s is %v", when, x, o.Fields)
			}
		}
		if o := h.form(plain); h.body(o, Whole) != small || !o.VaryByCoding() {
			t.Errorf("%s: without a coding %v", when, o.Fields)
		}
		if h.packed.Load() != 1 {
			t.Errorf("%s: it is not packed", when)
		}
		if n := h.counters.coded[coding.Gzip].Get() + h.counters.coded[coding.Zstd].Get() + h.counters.coded[coding.Brotli].Get(); n != 3 {
			t.Errorf("%s: %d made", when, n)
		}
	}
	for _, x := range []string{"zstd", "gzip", "br"} {
		h.form(get("/", "Accept-Encoding: "+x))
		h.repacked()
	}
	check("packed and unpacked")
	check("again")

	h.repacked()
	now := epoch.Add(time.Hour)
	f, _ := h.Begin(now, h.key(plain), plain)
	if o := f.NotModified(plain, answer(304, "Cache-Control: max-age=7200", `ETag: "1"`).at(now), h.look(0, plain).Object, h.policy); o == nil {
		t.Fatal("refused")
	} else if form := o.Form(get("/", "Accept-Encoding: br")); form.Fields.Get("content-encoding") != "br" || h.body(form, Whole) == "" {
		t.Errorf("who waited for the 304 gets %v", form.Fields)
	}
	check("after a 304")
	h.repacked()
	check("after a 304, packed and unpacked")

	f, _ = h.Begin(now, h.key(plain), plain)
	f.Respond(plain, answer(200, "Cache-Control: no-store").at(now), h.policy) // puts another head before the same body
	check("with another head")
	h.repacked()
	check("with another head, packed and unpacked")

	if h.Purge(h.key(plain)); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

func TestAFormThatDoesNotFitGoesWithItsView(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 15<<10 {
		fmt.Fprintf(&b, "%016x", rng.Uint64()) // becomes a half
	}
	h.store(get("/"), prosaic(), b.String())
	for _, x := range []string{"zstd", "gzip", "br"} {
		for range 2 {
			h.form(get("/", "Accept-Encoding: "+x))
		}
	}
	if o := h.form(get("/", "Accept-Encoding: br")); h.decoded(o) != b.String() || o.Fields.Get("content-encoding") != "br" {
		t.Errorf("it is not served: %v", o.Fields)
	}
	for i := range h.shards {
		for _, e := range h.shards[i].views.all {
			if n := h.shards[i].table.slot(e.id).size; n > maxPackedForms {
				t.Errorf("%d bytes are packed", n)
			}
		}
	}
	if h.Purge(h.key(get("/"))); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

// TestARefusedViewServesItsForms: without room for a view the forms that are packed serve all the same.
func TestARefusedViewServesItsForms(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	r := get("/", "Accept-Encoding: br")
	h.store(get("/"), prosaic(), prose[:2<<10])
	h.form(r)
	h.repacked()
	for i := range h.shards {
		h.shards[i].views.max = 0
	}
	if o := h.form(r); h.decoded(o) != prose[:2<<10] || o.Fields.Get("content-encoding") != "br" || h.views.Load() != 0 {
		t.Errorf("%v, %d views", o.Fields, h.views.Load())
	}
	if h.Purge(h.key(r)); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

// TestPackedFormsAmongOthers has forms made, dropped and looked for at the same time, by a store with too little memory.
func TestPackedFormsAmongOthers(t *testing.T) {
	h := newCoding(t)
	h.Cache = newCache(2<<20, 64<<10)
	t.Cleanup(h.StopCoding)
	before := h.budget.used.Load()
	accept := [...]string{"br", "gzip", "zstd", "identity"}
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(g)))
			for range 400 {
				i := rnd.IntN(60)
				path := fmt.Sprintf("/%d", i)
				text := path + prose[:1<<10+i*200]
				r := get(path, "Accept-Encoding: "+accept[rnd.IntN(4)])
				switch res := h.Lookup(epoch, h.key(r), r, h.policy); {
				case res.State != Hit:
					f, leader := h.Begin(epoch, h.key(r), r)
					if !leader {
						continue
					}
					if w, _ := f.Respond(r, prosaic(`ETag: "1"`), h.policy); w != nil {
						w.Write([]byte(text))
						w.Commit(nil)
					}
				case rnd.IntN(20) == 0:
					h.Purge(h.key(r))
				case rnd.IntN(20) == 0:
					h.repacked()
				default:
					o := res.Object.Form(r)
					var p Pieces
					if !o.Pin(&p, Whole) {
						continue
					}
					var b []byte
					for x := p.Next(); x != nil; x = p.Next() {
						b = append(b, x...)
					}
					p.Close()
					if got := decodedAs(o.Fields, string(b)); got != text {
						t.Errorf("%s: %d bytes, %v", path, len(got), o.Fields)
					}
				}
			}
		})
	}
	all.Wait()
	h.coder.workers.Wait()
	if used := h.budget.used.Load(); used > h.budget.limit {
		t.Errorf("%d bytes of %d", used, h.budget.limit)
	}
	for i := range 60 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if h.objects.Load() != 0 || h.budget.used.Load() != before+h.slots() {
		t.Errorf("%d objects, %d bytes are lost", h.objects.Load(), h.budget.used.Load()-before-h.slots())
	}
	for i := range h.shards {
		if n := h.shards[i].views.bytes.Load(); n != 0 {
			t.Errorf("%d bytes of views", n)
		}
	}
}

func FuzzLayout(f *testing.F) {
	for _, l := range []layout{{}, {policy: 1, body: 5}, {policy: 3, body: 1 << 14, forms: [coding.Count]int{coding.Brotli: 77, coding.Zstd: 900}}} {
		f.Add(l.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var l, again layout
		n := l.read(b)
		if n <= 0 {
			return
		}
		if n > len(b) || l.body < 0 || l.coded() < 0 || l.upTo(coding.Zstd)+l.forms[coding.Zstd] != l.body+l.coded() {
			t.Fatalf("%v of %x", l, b)
		}
		if packed := l.append(nil); again.read(packed) != len(packed) || again != l {
			t.Fatalf("%v became %v", l, again)
		}
	})
}

// BenchmarkStoredSmallAndCoded is what a stored object of 2 KiB with a form in Brotli takes, once its view has gone.
func BenchmarkStoredSmallAndCoded(b *testing.B) {
	h := newCoding(b)
	h.Cache = newCache(1<<30, 64<<10)
	b.Cleanup(h.StopCoding)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	used := h.budget.used.Load()
	for i := range b.N {
		path := fmt.Sprintf("/%d", i)
		h.store(get(path), prosaic(`ETag: "1"`), prose[i%80:][:2<<10])
		h.form(get(path, "Accept-Encoding: br"))
	}
	h.repacked()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(int64(after.HeapObjects-before.HeapObjects))/float64(b.N), "heap-objects/op")
	b.ReportMetric(float64(h.budget.used.Load()-used)/float64(b.N), "budget-B/op")
}
