package cache

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestAPackedObjectIsTheObject: what is unpacked has the state that was stored, and ages alike.
func TestAPackedObjectIsTheObject(t *testing.T) {
	h := newHarness(t)
	r := get("/a?b=1", "Accept: a")
	now := time.Now()
	lines := []string{"Cache-Control: max-age=60, stale-while-revalidate=5", "ETag: \"1\"", "Vary: Accept", "X-Own: 1"}
	f, _ := h.Begin(now, h.key(r), r)
	w, _ := f.Respond(r, answer(200, lines...).at(now), h.policy)
	w.Write([]byte("hello"))
	want := w.Object()
	if w.Commit(fields("Digest: x")); h.packed.Load() != 1 || h.views.Load() != 0 {
		t.Fatalf("%d packed, %d views", h.packed.Load(), h.views.Load())
	}
	res := h.Lookup(now.Add(time.Second), h.key(r), r, h.policy)
	if res.State != Hit || res.Age != want.Age(now.Add(time.Second)) || fmt.Sprint(res.Object.Fields) != fmt.Sprint(want.Fields) ||
		res.Object.terms != want.terms || res.Object.Length != 5 || h.body(res.Object, Whole) != "hello" || res.Object.Trailers().Get("digest") != "x" {
		t.Errorf("got %+v of %+v", res.Object, want)
	}
	if again := h.Lookup(now, h.key(r), r, h.policy); again.Object != res.Object || h.views.Load() != 1 {
		t.Error("the next one has the same view")
	}
	if got := h.Lookup(now, h.key(r), get("/a?b=1", "Accept: b"), h.policy); got.Reason != ReasonNoVariant {
		t.Errorf("another variant: %v", got.Reason)
	}
}

// TestViewsTakeWhatIsFree and give it back: objects are never evicted for more views than their share.
func TestViewsTakeWhatIsFree(t *testing.T) {
	h := newHarness(t)
	for i := range h.shards {
		h.shards[i].views.max = 40
	}
	s := &h.shards[0]
	for i := range 3000 {
		h.store(get(fmt.Sprintf("/%d", i)), answer(200, "Cache-Control: max-age=60"), "x")
		h.want("just stored", 0, get(fmt.Sprintf("/%d", i)), Hit, ReasonFresh)
	}
	if n := h.views.Load(); n == 0 || s.views.bytes.Load() > h.budget.limit/2 {
		t.Errorf("%d views of %d bytes in a shard", n, s.views.bytes.Load())
	}
	if n := h.views.Load(); n > 40*shardCount || n < 30*shardCount {
		t.Errorf("%d views, of which there may be %d", n, 40*shardCount)
	}
	for i := range 3000 {
		h.want("still stored", 0, get(fmt.Sprintf("/%d", i)), Hit, ReasonFresh)
	}
}

// TestObjectsComeBeforeViews: what is stored takes the views' memory, but for their share, before anything is evicted.
func TestObjectsComeBeforeViews(t *testing.T) {
	h := newHarness(t)
	evicted := func() uint64 { return h.counters.evictions[smallQueue].Get() + h.counters.evictions[mainQueue].Get() }
	many := 0
	for i := 0; evicted() == 0 && i < 100_000; i++ {
		h.store(get(fmt.Sprintf("/%d", i)), answer(200, "Cache-Control: max-age=60"), "x")
		h.look(0, get(fmt.Sprintf("/%d", i)))
		many = max(many, int(h.views.Load()))
	}
	share := h.budget.limit / viewShare
	bytes := int64(0)
	for i := range h.shards {
		bytes += h.shards[i].views.bytes.Load()
	}
	if n := h.views.Load(); bytes > share+share/2 || many < 2*int(n) {
		t.Errorf("%d views of %d bytes, their share being %d, when the first object is evicted; there were %d", n, bytes, share, many)
	}
	h.drained(newHarness(t).budget.used.Load())
}

// TestARefusedViewServes: without room for a view the object serves all the same.
func TestARefusedViewServes(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: max-age=60"), "hello")
	for i := range h.shards {
		h.shards[i].views.max = 0
	}
	o := h.want("without views", 0, get("/"), Hit, ReasonFresh).Object
	if got := h.body(o, Whole); got != "hello" || h.views.Load() != 0 || h.counters.refusedViews.Get() != 1 {
		t.Errorf("%q, %d views", got, h.views.Load())
	}
	var p Pieces
	if o.Pin(&p, Whole) {
		t.Error("its bytes are not counted: it can't be pinned")
	}
}

func TestAStaleObjectEndsItsStaleUsePacked(t *testing.T) {
	for _, viewed := range []bool{false, true} {
		h := newHarness(t)
		r := get("/")
		h.store(r, answer(200, "Cache-Control: max-age=1, stale-while-revalidate=100", "ETag: \"1\""), "hello")
		if viewed {
			h.look(0, r)
		}
		f, _ := h.Begin(epoch.Add(2*time.Second), h.key(r), r)
		f.Respond(r, answer(200, "Cache-Control: no-store").at(epoch.Add(2*time.Second)), h.policy)
		for range 2 {
			if res := h.want("refused", 3*time.Second, r, Stale, ReasonExpired); res.ServeStaleWhileRevalidate || h.body(res.Object, Whole) != "hello" {
				t.Errorf("viewed %v: it goes on to serve", viewed)
			}
			for i := range h.shards {
				for len(h.shards[i].views.all) > 0 {
					h.dropView(&h.shards[i], h.shards[i].views.all[0])
				}
			}
		}
	}
}

// TestLargeBodiesGetTheMemoryOfSmallOnes: pages of cells are emptied and given back, and what stays is moved unharmed.
func TestLargeBodiesGetTheMemoryOfSmallOnes(t *testing.T) {
	h := newHarness(t)
	body := func(i int) string { return strings.Repeat(fmt.Sprint(i, " "), 60) }
	for i := range 30_000 {
		h.store(get(fmt.Sprintf("/%d", i)), answer(200, "Cache-Control: max-age=60"), body(i))
	}
	before := h.cells.held()
	if before < h.budget.limit/2 {
		t.Fatalf("%d bytes of cells", before)
	}
	large := strings.Repeat("x", 200<<10)
	for i := range 15 {
		if reason := h.store(get(fmt.Sprintf("/large/%d", i)), answer(200, "Cache-Control: max-age=60"), large); reason != ReasonStored {
			t.Fatal(reason)
		}
	}
	if after := h.cells.held(); after > before-2<<20 {
		t.Errorf("%d bytes of cells, then %d", before, after)
	}
	left := 0
	for i := range 30_000 {
		if res := h.look(0, get(fmt.Sprintf("/%d", i))); res.Object != nil {
			if left++; h.body(res.Object, Whole) != body(i) {
				t.Fatalf("object %d has another's bytes", i)
			}
		}
	}
	if left < 3000 {
		t.Errorf("only %d small objects are left", left)
	}
}

func TestCells(t *testing.T) {
	c := newCells(8 << 20)
	rnd := rand.New(rand.NewPCG(1, 2))
	type chain struct {
		cell uint32
		data []byte
	}
	var chains []chain
	check := func(x chain) {
		got := make([]byte, len(x.data))
		(&cellCursor{c: c, cell: x.cell}).read(got)
		if !bytes.Equal(got, x.data) {
			t.Fatal("another chain's bytes")
		}
	}
	released, added := int64(0), int64(0)
	for range 20_000 {
		if len(chains) > 0 && rnd.IntN(5) < 2 || len(chains) > 2000 {
			i := rnd.IntN(len(chains))
			check(chains[i])
			released += c.put(chains[i].cell)
			chains[i] = chains[len(chains)-1]
			chains = chains[:len(chains)-1]
			continue
		}
		x := chain{data: make([]byte, 1+rnd.IntN(2000))}
		for i := range x.data {
			x.data[i] = byte(rnd.Uint32())
		}
		for x.cell = c.take(chainLength(len(x.data))); x.cell == 0; x.cell = c.take(chainLength(len(x.data))) {
			if !c.addPage() {
				t.Fatal("no page")
			}
			added += c.pageBytes()
		}
		(&cellCursor{c: c, cell: x.cell}).write(x.data)
		chains = append(chains, x)
	}
	for _, x := range chains {
		check(x)
		released += c.put(x.cell)
	}
	if released != added || c.held() != 0 || c.free != 0 {
		t.Errorf("%d bytes added, %d released, %d held, %d cells free", added, released, c.held(), c.free)
	}
	if _, _, ok := c.beginEmptying(math.MaxInt32); ok {
		t.Error("there is nothing to be emptied")
	}
}

// TestSlotTable holds the index against a map while it grows and empties.
func TestSlotTable(t *testing.T) {
	table := newSlotTable(minSlotBits)
	rnd := rand.New(rand.NewPCG(3, 4))
	order := map[uint64][]uint32{} // of each hash the ids, the newest first
	var hashes []uint64
	for range 20_000 {
		if len(hashes) > 0 && rnd.IntN(5) < 2 {
			h := hashes[rnd.IntN(len(hashes))]
			if ids := order[h]; len(ids) > 0 {
				i := rnd.IntN(len(ids))
				table.release(ids[i])
				order[h] = append(ids[:i:i], ids[i+1:]...)
			}
			continue
		}
		h := uint64(rnd.IntN(4000)) * 0x9e3779b97f4a7c15
		if table.free == 0 {
			table.add()
		}
		id, _ := table.take(h)
		order[h] = append([]uint32{id}, order[h]...)
		hashes = append(hashes, h)
	}
	for h, want := range order {
		var got []uint32
		for id := *table.head(h); id != 0; id = table.slot(id).chain {
			if table.slot(id).hash == h {
				got = append(got, id)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%x: %v, want %v", h, got, want)
		}
	}
}

// TestFillsTakeHalfOfTheBudgetAtMost: bodies that trickle can't be evicted, so they must not fill the store.
func TestFillsTakeHalfOfTheBudgetAtMost(t *testing.T) {
	h := newHarness(t)
	var writers []*Writer
	for i := range 20 {
		r := get(fmt.Sprintf("/%d", i))
		f, _ := h.Begin(epoch, h.key(r), r)
		if w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy); w != nil {
			w.Write(make([]byte, 700<<10))
			writers = append(writers, w)
		}
		if got := h.arriving.Load(); got > h.budget.limit/2 {
			t.Fatalf("%d bytes of %d are for bodies that arrive", got, h.budget.limit)
		}
	}
	if reason := h.store(get("/small"), answer(200, "Cache-Control: max-age=60"), "x"); reason != ReasonStored && reason != ReasonNoMemory {
		t.Error(reason)
	}
	for _, w := range writers {
		w.Abort(nil)
	}
	if got := h.arriving.Load(); got != 0 {
		t.Errorf("%d bytes when nothing arrives", got)
	}
}

// TestALargeObjectIsSparedForMoreHits than the many small ones that have its place.
func TestALargeObjectIsSparedForMoreHits(t *testing.T) {
	h := newHarness(t)
	for i := range 100 {
		h.store(get(fmt.Sprintf("/%d", i)), answer(200, "Cache-Control: max-age=60"), "x")
	}
	prices := map[int]uint32{1: 1, 1000: 2, 200_000: 3}
	for size, want := range prices {
		r := get(fmt.Sprintf("/size/%d", size))
		h.store(r, answer(200, "Cache-Control: max-age=60"), strings.Repeat("x", size))
		key := h.key(r)
		hash := key.hash(h.seed)
		s := h.shard(hash)
		e := h.variants(s, hash, h.key(r))[0]
		if got := h.price(s.table.slot(e.id)); got != want {
			t.Errorf("%d bytes: %d hits, want %d", size, got, want)
		}
		h.drop(s, e)
	}
}

// TestTheLastPageGoesWithWhatIsMoved: when nothing is stored any more, no page stays, whoever was about to empty one.
func TestTheLastPageGoesWithWhatIsMoved(t *testing.T) {
	c := newCells(8 << 20)
	c.addPage()
	c.addPage()
	var chains []uint32
	for range 2 {
		chains = append(chains, c.take(c.perPage()/4))
	}
	number, _, ok := c.beginEmptying(math.MaxInt32)
	if !ok {
		t.Fatal("there is nothing to empty")
	}
	released := int64(0)
	for _, x := range chains {
		released += c.put(x)
	}
	if released += c.endEmptying(number); released != 2*c.pageBytes() || c.held() != 0 {
		t.Errorf("%d bytes of %d given back, %d held", released, 2*c.pageBytes(), c.held())
	}
}

// TestTheTableOfSlotsCountsForTheLimit: it is outside of the heap as cells are.
func TestTheTableOfSlotsCountsForTheLimit(t *testing.T) {
	h := harness{t, newCache(2<<30, 1<<20), on()}
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=60"), "x")
	if n := h.cells.others; n != slotSize<<h.shards[0].table.bits {
		t.Errorf("%d bytes", n)
	}
	if h.Purge(h.key(r)); h.cells.others != 0 {
		t.Errorf("%d bytes when nothing is stored", h.cells.others)
	}
}
