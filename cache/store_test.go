package cache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

func TestKey(t *testing.T) {
	base := get("/a?b=1")
	for _, tt := range []struct {
		why    string
		change func(*message.Request)
		same   bool
	}{
		{"the default port", func(r *message.Request) { r.Authority += ":443" }, true},
		{"another port", func(r *message.Request) { r.Authority += ":8443" }, false},
		{"the other scheme's default port", func(r *message.Request) { r.Authority += ":80" }, false},
		{"another scheme", func(r *message.Request) { r.Scheme = "http" }, false},
		{"another host", func(r *message.Request) { r.Authority = "x.example.com" }, false},
		{"another path", func(r *message.Request) { r.Target.Path = "/A" }, false},
		{"another query", func(r *message.Request) { r.Target.Query = "b=2" }, false},
		{"an empty query", func(r *message.Request) { r.Target.Query = "" }, false},
		{"another method", func(r *message.Request) { r.Method = "HEAD" }, true},
		{"other fields", func(r *message.Request) { r.Fields.Add("cookie", "a=b") }, true},
	} {
		r := *base
		tt.change(&r)
		if got := KeyOf("shop", &r) == KeyOf("shop", base); got != tt.same {
			t.Errorf("%s: same key %v", tt.why, got)
		}
	}
	if KeyOf("shop", base) == KeyOf("blog", base) {
		t.Error("services share a key")
	}
	k := KeyOf("shop", base)
	if c := k.clone(); c != k || c.String() != "https://shop.example.com/a?b=1" {
		t.Errorf("clone %v of %v", c, k)
	}
}

func TestRFC9111_4_4_Invalidation(t *testing.T) {
	for _, tt := range []struct {
		why    string
		method string
		status int
		lines  []string
		gone   []string // of /a, /b, /c/d
	}{
		{"an unsafe method's target", "POST", 200, nil, []string{"/a"}},
		{"a redirect counts as success", "POST", 303, nil, []string{"/a"}},
		{"an unknown method may be unsafe", "FROB", 204, nil, []string{"/a"}},
		{"a safe method changes nothing", "OPTIONS", 200, nil, nil},
		{"an error changes nothing", "DELETE", 404, nil, nil},
		{"Location", "POST", 201, []string{"Location: /b"}, []string{"/a", "/b"}},
		{"Content-Location, relative", "PUT", 200, []string{"Content-Location: c/d"}, []string{"/a", "/c/d"}},
		{"absolute, with the default port", "PUT", 200, []string{"Location: https://SHOP.example.com:443/b"}, []string{"/a", "/b"}},
		{"another host is not touched", "PUT", 200, []string{"Location: https://evil.example.com/b"}, []string{"/a"}},
		{"another scheme is another origin", "PUT", 200, []string{"Location: http://shop.example.com/b"}, []string{"/a"}},
		{"nonsense", "PUT", 200, []string{"Location: :%zz"}, []string{"/a"}},
	} {
		h := newHarness(t)
		paths := []string{"/a", "/b", "/c/d"}
		for _, p := range paths {
			h.store(get(p), answer(200, "Cache-Control: max-age=60"), "x")
		}
		h.Invalidate("shop", request(tt.method, "/a"), h.policy, tt.status, fields(tt.lines...))
		for _, p := range paths {
			gone := strings.Contains(" "+strings.Join(tt.gone, " ")+" ", " "+p+" ")
			if got := h.look(0, get(p)).State == Miss; got != gone {
				t.Errorf("%s: %s gone: %v", tt.why, p, got)
			}
		}
	}
}

func TestPurgeTakesEveryVariantAndWhatIsOnItsWay(t *testing.T) {
	h := newHarness(t)
	for _, accept := range []string{"a", "b"} {
		h.store(get("/", "Accept: "+accept), answer(200, "Cache-Control: max-age=60", "Vary: Accept"), "x")
	}
	late := get("/", "Accept: c")
	f, _ := h.Begin(epoch, h.key(late), late)
	w, _ := f.Respond(late, answer(200, "Cache-Control: max-age=60", "Vary: Accept"), h.policy)
	if !h.Purge(h.key(late)) {
		t.Error("something was stored")
	}
	if reason := w.Commit(nil); reason != ReasonInvalidated {
		t.Errorf("a response that was on its way during the purge: %v", reason)
	}
	for _, accept := range []string{"a", "b", "c"} {
		h.want("after the purge", 0, get("/", "Accept: "+accept), Miss, ReasonNotStored)
	}
	if h.Purge(h.key(late)) {
		t.Error("nothing is stored any more")
	}
	if got := h.objects.Load(); got != 0 {
		t.Errorf("%d objects counted", got)
	}
}

func TestRFC9211_CacheStatus(t *testing.T) {
	for _, tt := range []struct {
		why  string
		res  Result
		out  Outcome
		want string
	}{
		{"hit", Result{State: Hit, Reason: ReasonFresh, Object: &Object{}, TTL: 30500 * time.Millisecond}, Outcome{}, "nearcast; hit; ttl=30"},
		{"stale while revalidating", Result{State: Stale, Reason: ReasonExpired, Object: &Object{}, TTL: -1500 * time.Millisecond}, Outcome{}, "nearcast; hit; ttl=-2"},
		{"miss", Result{Reason: ReasonNotStored}, Outcome{Forwarded: true, Status: 200, Stored: true, Reason: ReasonStored}, "nearcast; fwd=uri-miss; fwd-status=200; stored"},
		{"no variant", Result{Reason: ReasonNoVariant}, Outcome{Forwarded: true, Status: 200, Reason: ReasonSetCookie}, `nearcast; fwd=vary-miss; fwd-status=200; detail="set-cookie"`},
		{"validated", Result{State: Stale, Reason: ReasonExpired, Object: &Object{}, TTL: -time.Second}, Outcome{Forwarded: true, Status: 304, Stored: true}, "nearcast; fwd=stale; fwd-status=304; stored"},
		{"a reload", Result{State: Stale, Reason: ReasonRequestNoCache, Object: &Object{}, TTL: time.Second}, Outcome{Forwarded: true, Status: 304}, `nearcast; fwd=request; fwd-status=304; detail="request no-cache"`},
		{"collapsed", Result{Reason: ReasonNotStored}, Outcome{Forwarded: true, Collapsed: true}, "nearcast; fwd=uri-miss; collapsed"},
		{"method", Result{State: Bypass, Reason: ReasonMethod}, Outcome{Forwarded: true, Status: 201}, "nearcast; fwd=method; fwd-status=201"},
		{"bypass", Result{State: Bypass, Reason: ReasonRange}, Outcome{Forwarded: true, Status: 206}, `nearcast; fwd=bypass; fwd-status=206; detail="range"`},
		{"504", Result{State: OnlyIfCached, Reason: ReasonOnlyIfCached}, Outcome{}, `nearcast; detail="only-if-cached"`},
	} {
		if got := string(appendStatus(nil, &tt.res, &tt.out)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.why, got, tt.want)
		}
	}
}

func TestReasonsHaveWords(t *testing.T) {
	seen := map[string]Reason{}
	for r := range reasonCount {
		w := r.String()
		if w == "" || strings.ContainsAny(w, `"\`) {
			t.Errorf("reason %d is %q: it stands in a quoted string", r, w)
		}
		if other, ok := seen[w]; ok {
			t.Errorf("reasons %d and %d are both %q", r, other, w)
		}
		seen[w] = r
	}
}

func TestMetricsHaveHelp(t *testing.T) {
	set := metrics.NewSet()
	New(Config{Memory: 1 << 20}, set)
	for _, name := range set.ListMetricNames() {
		name, _, _ = strings.Cut(name, "{")
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
}

// TestBudgetIsNeverExceeded stores, reads, purges and revalidates at random, and holds the count of bytes against what is there.
func TestBudgetIsNeverExceeded(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		h := newHarness(t)
		h.Cache = newCache(1<<20, 300<<10)
		base := h.budget.used.Load()
		var open []*Reader
		for step := range 400 {
			r := get(fmt.Sprintf("/%d", rnd.IntN(60)), "Accept: "+fmt.Sprint(rnd.IntN(3)))
			now := epoch.Add(time.Duration(step) * time.Second)
			switch rnd.IntN(10) {
			case 0:
				h.Purge(h.key(r))
			case 1:
				if res := h.look(time.Duration(step)*time.Second, r); res.Object != nil {
					if rd, err := res.Object.NewReader(t.Context(), Whole); err == nil {
						open = append(open, rd)
					}
				}
			case 2:
				if len(open) > 0 {
					open[0].Close()
					open = open[1:]
				}
			default:
				h.exchange(now, r, rnd)
			}
			if used := h.budget.used.Load(); used > h.budget.limit || used < base {
				t.Fatalf("seed %d, step %d: %d bytes of %d in use", seed, step, used, h.budget.limit)
			}
		}
		for _, rd := range open {
			rd.Close()
		}
		if got, want := h.budget.used.Load()-base, h.held(); got != want {
			t.Fatalf("seed %d: %d bytes counted, %d held", seed, got, want)
		}
		for h.evictOne() {
		}
		if got := h.budget.used.Load() - h.slots(); got != base || h.arriving.Load() != 0 || h.objects.Load() != 0 || h.fills.Load() != 0 {
			t.Fatalf("seed %d: an empty store counts %d bytes, %d objects, %d fills", seed, got-base, h.objects.Load(), h.fills.Load())
		}
	}
}

// exchange makes one request that is answered at random.
func (h harness) exchange(now time.Time, r *message.Request, rnd *rand.Rand) {
	res := h.Lookup(now, h.key(r), r, h.policy)
	if res.State != Miss && res.State != Stale {
		return
	}
	f, leader := h.Begin(now, h.key(r), r)
	if !leader {
		return
	}
	defer f.Fail(nil)
	if res.Object != nil && rnd.IntN(2) == 0 {
		f.NotModified(r, answer(304, "X-Filler: "+strings.Repeat("x", rnd.IntN(200))).at(now), res.Object, h.policy)
		return
	}
	resp := answer(200, "Cache-Control: max-age=100", `ETag: "a"`, "Vary: Accept").at(now)
	size := rnd.IntN(400 << 10)
	if rnd.IntN(2) == 0 {
		size /= 200 // one that is packed
	}
	if rnd.IntN(2) == 0 {
		resp.Length = int64(size)
	}
	w, _ := f.Respond(r, resp, h.policy)
	if w == nil {
		return
	}
	for left := size; left > 0; {
		n := min(left, 1+rnd.IntN(20<<10))
		if _, err := w.Write(bytes.Repeat([]byte("x"), n)); err != nil {
			w.Abort(err)
			return
		}
		left -= n
	}
	if rnd.IntN(10) == 0 {
		w.Abort(nil)
		return
	}
	w.Commit(fields("X-Checksum: 12345678")[:rnd.IntN(2)])
}

// held adds up what the index refers to, and the memory that it has taken for that.
func (h harness) held() (n int64) {
	n = h.cells.held()
	for i := range h.shards {
		s := &h.shards[i]
		n += int64(len(s.table.slots)) * s.table.chunkBytes()
		for _, e := range append(slices.Clone(s.loose), s.views.all...) {
			x := s.table.slot(e.id)
			if x.cell != 0 {
				n += e.viewCost(x.size)
				continue
			}
			n += metaCost(e.key, e.obj, e.sel)
			for _, x := range e.obj.Trailers() {
				n += int64(len(x.Name) + len(x.Value) + lineOverhead)
			}
			for _, c := range e.obj.body.chunks {
				n += int64(cap(c.data))
			}
		}
	}
	return n
}

// slots is what the tables of slots have grown by: they never shrink.
func (h harness) slots() (n int64) {
	for i := range h.shards {
		n += int64(len(h.shards[i].table.slots)) * h.shards[i].table.chunkBytes()
	}
	return n
}

func TestEvictionResistsAScan(t *testing.T) {
	h := newHarness(t)
	h.Cache = newCache(1<<20, 64<<10)
	put := func(path string) {
		h.store(get(path), answer(200, "Cache-Control: max-age=60"), strings.Repeat("x", 4<<10))
	}
	hot := func(i int) *message.Request { return get(fmt.Sprintf("/hot/%d", i)) }
	for i := range 40 {
		put(hot(i).Target.Path)
		for range 3 {
			h.look(0, hot(i))
		}
	}
	for i := range 2000 {
		put(fmt.Sprintf("/scan/%d", i))
		h.look(0, hot(i%40))
	}
	kept := 0
	for i := range 40 {
		if h.look(0, hot(i)).State == Hit {
			kept++
		}
	}
	if kept < 36 {
		t.Errorf("%d of 40 hot objects survived a scan of 2000", kept)
	}
	if h.counters.evictions[smallQueue].Get() == 0 {
		t.Error("evictions are not counted")
	}
}

func TestAnObjectThatIsReadIsNotEvicted(t *testing.T) {
	h := newHarness(t)
	h.Cache = newCache(1<<20, 64<<10)
	h.store(get("/read"), answer(200, "Cache-Control: max-age=60"), strings.Repeat("x", 32<<10))
	r, err := h.look(0, get("/read")).Object.NewReader(t.Context(), Whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		h.store(get(fmt.Sprintf("/%d", i)), answer(200, "Cache-Control: max-age=60"), strings.Repeat("x", 32<<10))
	}
	h.want("while it is read", 0, get("/read"), Hit, ReasonFresh)
	r.Close()
}

func TestKeysThatCollide(t *testing.T) {
	for _, packed := range []bool{false, true} {
		h := newHarness(t)
		s := &h.shards[7]
		reqs := []*message.Request{get("/1"), get("/2"), get("/3")}
		for _, r := range reqs {
			e := &entry{obj: &Object{Status: 200, body: newBody(&h.budget, 0)}}
			if e.obj.body.keep(nil, 0); packed {
				e.packed, _ = h.pack(h.key(r), e.obj, nil)
			}
			h.lockForInsert(s)
			h.insert(s, h.key(r).clone(), 7, r, e)
			s.mu.Unlock()
		}
		find := func(r *message.Request) *Object {
			key := h.key(r)
			o, size, _ := h.search(s, 7, &key, r)
			if size > 0 {
				o, _ = h.findPacked(s, 7, &key, r, size)
			}
			return o
		}
		for i, r := range reqs {
			if v := h.variants(s, 7, h.key(r)); len(v) != 1 || v[0].key != h.key(r) || find(r) == nil {
				t.Errorf("key %d is not found", i)
			}
		}
		for _, i := range []int{1, 0, 2} {
			h.drop(s, h.variants(s, 7, h.key(reqs[i]))[0])
			if len(h.variants(s, 7, h.key(reqs[i]))) > 0 || find(reqs[i]) != nil {
				t.Errorf("key %d is still found", i)
			}
		}
		if s.table.count != 0 || len(s.loose) != 0 || len(s.views.all) != 0 {
			t.Error("the index is not empty")
		}
	}
}

func BenchmarkLookupHit(b *testing.B) {
	h := newHarness(b)
	r := get("/a/path/of/ordinary/length.html?v=12345", "Accept-Encoding: gzip, deflate, br", "User-Agent: Mozilla/5.0", "Accept: */*")
	h.store(r, answer(200, "Cache-Control: max-age=60", "Vary: Accept-Encoding"), strings.Repeat("x", 1024))
	now := epoch.Add(time.Second)
	b.ReportAllocs()
	for b.Loop() {
		if res := h.Lookup(now, KeyOf("shop", r), r, h.policy); res.State != Hit {
			b.Fatal(res.State)
		}
	}
}

func TestLookupOfAHitDoesNotAllocate(t *testing.T) {
	h := newHarness(t)
	r := get("/a?b=1", "Accept-Encoding: gzip, br", "Cache-Control: max-age=50", "Range: bytes=0-1")
	h.store(r, answer(200, "Cache-Control: max-age=60", "Vary: Accept-Encoding"), "x")
	n := testing.AllocsPerRun(100, func() {
		if h.Lookup(epoch, KeyOf("shop", r), r, h.policy).State != Hit {
			t.Error("no hit")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestASearchForAVictimIsBounded(t *testing.T) {
	h := newHarness(t)
	s := &h.shards[1]
	for i := range 4 * maxSpared {
		r := get(fmt.Sprintf("/%d", i))
		e := &entry{obj: &Object{Status: 200, body: newBody(&h.budget, 0)}}
		e.obj.body.keep(nil, 0)
		e.packed, _ = h.pack(h.key(r), e.obj, nil)
		h.lockForInsert(s)
		h.insert(s, h.key(r), uint64(i)<<20|1, r, e)
		s.table.slot(e.id).hits.Store(maxFrequency)
		s.mu.Unlock()
	}
	if !h.evictOne() {
		t.Fatal("no victim")
	}
	spared := 0
	for id := s.queues[mainQueue].newest; id != 0; id = s.table.slot(id).older {
		if s.table.slot(id).hits.Load() < maxFrequency {
			spared++
		}
	}
	if spared > maxSpared {
		t.Errorf("%d entries were looked at for one victim", spared)
	}
}

// TestPurgeTakesWhatEveryFillBrings: those that nobody may join are no exception.
func TestPurgeTakesWhatEveryFillBrings(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: private"), "x") // remembered: from now on every request leads a fill of its own
	old, leader := h.Begin(epoch, h.key(r), r)
	if !leader {
		t.Fatal("a remembered key makes leaders")
	}
	before, _ := old.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	noCache, _ := h.Begin(epoch, h.key(r), r)
	unshared, _ := noCache.Respond(r, answer(200, "Cache-Control: no-cache", `ETag: "a"`), h.policy)
	h.Invalidate("shop", request("POST", "/"), h.policy, 200, nil)
	for what, w := range map[string]*Writer{"alone": before, "not shared": unshared} {
		if reason := w.Commit(nil); reason != ReasonInvalidated {
			t.Errorf("%s: a response from before an unsafe request was kept: %v", what, reason)
		}
	}
	if reason := h.store(r, answer(200, "Cache-Control: max-age=60"), "new"); reason != ReasonStored {
		t.Errorf("one from after it: %v", reason)
	}
}

// TestAnOlderResponseDoesNotReplaceANewerOne (RFC 9111 §4: the most recent one serves), however long its body took.
func TestAnOlderResponseDoesNotReplaceANewerOne(t *testing.T) {
	h := newHarness(t)
	r := get("/", "Accept: a")
	lines := []string{"Cache-Control: max-age=600", "Vary: Accept"}
	f, _ := h.Begin(epoch, h.key(r), r)
	slow, _ := f.Respond(r, answer(200, lines...), h.policy)
	later := answer(200, lines...).at(epoch.Add(5 * time.Second))
	h.store(get("/", "Accept: a", "Cache-Control: no-cache"), later, "new")
	if reason := slow.Commit(nil); reason != ReasonSuperseded {
		t.Errorf("the older one: %v", reason)
	}
	if got := h.body(h.look(6*time.Second, r).Object, Whole); got != "new" {
		t.Errorf("serves %q", got)
	}
	if reason := h.store(get("/", "Accept: b"), answer(200, lines...), "b"); reason != ReasonStored {
		t.Errorf("another variant has its own time: %v", reason)
	}
}
