package cache

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// TestASeizedBodyKeepsItsCharge: who looks at a body while parts are put together does not take its charge off the budget.
func TestASeizedBodyKeepsItsCharge(t *testing.T) {
	var budget budget
	budget.limit = 1000
	budget.take(100)
	b := newBody(&budget, 100)
	b.fill(make([]byte, 100))
	b.keep(nil, 0)
	charge, ok := b.seize()
	if !ok {
		t.Fatal("nobody has it")
	}
	if b.pin() {
		t.Error("it is pinned while it is seized")
	}
	r := &Reader{body: b}
	if b.open(r) {
		r.Close()
	}
	b.unseize(charge)
	if b.charged != 100 || budget.used.Load() != 100 {
		t.Errorf("%d bytes are its charge, %d counted", b.charged, budget.used.Load())
	}
	if !b.pin() {
		t.Error("it can't be pinned when it is back")
	}
	b.unpin()
	if b.detach(); budget.used.Load() != 0 {
		t.Errorf("%d bytes left", budget.used.Load())
	}
}

// TestTheBudgetBalances: whatever many do at once, an empty store counts what a new one does.
func TestTheBudgetBalances(t *testing.T) {
	for _, memory := range []Size{1 << 20, 8 << 20} {
		for _, onDisk := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v,disk=%v", memory, onDisk), func(t *testing.T) { stress(t, memory, onDisk) })
		}
	}
}

func stress(t *testing.T, memory Size, onDisk bool) {
	p := on()
	p.TagFields, p.Compress.Enabled = []string{"surrogate-key"}, true
	h := harness{t, newCache(memory, memory/4), p}
	if onDisk {
		if err := h.OpenDisk(DiskConfig{Path: t.TempDir(), Size: 64 << 20, MaxObject: 16 << 20}, slog.New(slog.DiscardHandler), metrics.NewSet()); err != nil {
			t.Fatal(err)
		}
		defer h.Close()
	}
	base := h.budget.used.Load()
	steps := 600
	if testing.Short() {
		steps = 300
	}
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			x := &visitor{h, rand.New(rand.NewPCG(i, 7)), nil, nil}
			for range steps {
				x.step()
				if used := h.budget.used.Load(); used > h.budget.limit || used < base {
					t.Errorf("%d bytes of %d in use", used, h.budget.limit)
					return
				}
			}
			x.leave()
		})
	}
	wg.Wait()
	h.StopCoding()
	h.sweep(t.Context())
	h.drained(base)
}

// drained empties the store, which then counts what it did when it was new.
func (h harness) drained(base int64) {
	h.Helper()
	for h.evictOne() {
	}
	for i := range h.slotsOfHints() {
		h.forgetHints(h.hints.slots[i].key)
	}
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.Lock()
		h.trim(s)
		if len(s.views.all)+len(s.loose) != 0 || s.views.bytes.Load() != 0 {
			h.Errorf("%d views of %d bytes and %d objects are left", len(s.views.all), s.views.bytes.Load(), len(s.loose))
		}
		s.mu.Unlock()
	}
	if got := h.budget.used.Load(); got != base || h.arriving.Load() != 0 || h.objects.Load() != 0 || h.fills.Load() != 0 || h.packed.Load() != 0 ||
		h.views.Load() != 0 || h.cells.held() != 0 || h.queued[smallQueue].Load() != 0 || h.queued[mainQueue].Load() != 0 {
		h.Errorf("an empty store counts %d bytes, %d arriving, %d of cells, %d objects, %d packed, %d views, %d fills, %d and %d queued", got-base,
			h.arriving.Load(), h.cells.held(), h.objects.Load(), h.packed.Load(), h.views.Load(), h.fills.Load(), h.queued[smallQueue].Load(),
			h.queued[mainQueue].Load())
	}
}

func (h harness) slotsOfHints() []hint { return h.hints.slots }

// visitor does at random what the pipeline does, and checks the bytes that it gets.
type visitor struct {
	harness
	*rand.Rand
	readers []*Reader
	pinned  []*Pieces
}

// content is what every object under a path has: as many bytes as its number says, and all of one kind.
func content(path, size int) []byte { return bytes.Repeat([]byte{byte('a' + path%26)}, size) }

func sizeOf(path int) int {
	switch path % 8 {
	case 0:
		return path % 3 * 100 << 10
	case 1, 2:
		return 20<<10 + path
	}
	return path * 13 % 3000
}

func (v *visitor) leave() {
	for _, r := range v.readers {
		r.Close()
	}
	for _, p := range v.pinned {
		p.Close()
	}
	v.readers, v.pinned = nil, nil
}

func (v *visitor) step() {
	path := v.IntN(300)
	r := get(fmt.Sprintf("/%d", path), fmt.Sprint("Accept: ", v.IntN(2)), "Accept-Encoding: gzip")
	if v.IntN(9) == 0 {
		r.Method = "HEAD"
	}
	now := time.Now()
	switch v.IntN(40) {
	case 0:
		v.Purge(v.key(r))
	case 1:
		v.PurgeURL(now, v.key(r), v.IntN(2) == 0)
	case 2:
		v.PurgeTag(now, "", fmt.Sprint("t", v.IntN(20)), v.IntN(2) == 0)
	case 3:
		v.PurgePrefix(now, "", fmt.Sprintf("https://shop.example.com/%d", path), v.IntN(2) == 0)
	case 4:
		v.settleBatch(&v.shards[v.IntN(shardCount)], 1+uint32(v.IntN(4))*sweepBatch)
	case 5:
		v.leave()
	case 6, 7, 8:
		v.slice(now, path, r)
	case 9, 10, 11:
		v.extent(now, path, r)
	default:
		v.whole(now, path, r)
	}
}

func (v *visitor) answer(now time.Time, path int) Response {
	lines := []string{"Cache-Control: max-age=100, stale-while-revalidate=5", fmt.Sprintf("ETag: \"%d\"", path), "Content-Type: text/plain",
		fmt.Sprint("Surrogate-Key: t", path%20)}
	if path%5 == 0 {
		lines = append(lines, "Vary: Accept")
	}
	return answer(200, lines...).at(now)
}

// use reads, pins or encodes an object, some of it for longer.
func (v *visitor) use(path int, o *Object, rg Range) {
	form := o.Form(get("/", "Accept-Encoding: gzip"))
	form.Encoded(message.Protocol(v.IntN(3)), func(dst []byte, f message.Fields) []byte { return append(dst, "encoded"...) })
	if v.IntN(2) == 0 {
		p := new(Pieces)
		if o.Pin(p, rg) {
			for b := p.Next(); b != nil; b = p.Next() {
				v.check(path, b)
			}
			v.pinned = append(v.pinned, p)
		}
	} else if r, err := o.NewReader(v.Context(), rg); err == nil {
		for range 1 + v.IntN(20) {
			if !r.Ready() { // the writer may wait for this very reader
				break
			}
			b, err := r.Next()
			if err != nil {
				break
			}
			v.check(path, b)
		}
		if !o.Complete() {
			r.Close()
			return
		}
		v.readers = append(v.readers, r)
	}
	if len(v.pinned) > 20 || len(v.readers) > 20 || v.IntN(8) == 0 {
		v.leave()
	}
}

func (v *visitor) check(path int, b []byte) {
	want := byte('a' + path%26)
	if len(b) > 0 && (b[0] != want || b[len(b)-1] != want) {
		v.Errorf("another object's bytes under /%d", path)
	}
}

func (v *visitor) whole(now time.Time, path int, r *message.Request) {
	res := v.Load(v.Context(), now, v.key(r), r, v.policy, v.Lookup(now, v.key(r), r, v.policy))
	if res.State == Hit && v.IntN(4) > 0 {
		v.use(path, res.Object, Whole)
		return
	}
	if res.State == Bypass || res.State == Part {
		return
	}
	f, leader := v.Begin(now, v.key(r), r)
	if !leader {
		if o, _, _ := f.Wait(v.Context(), r); o != nil {
			v.use(path, o, Whole)
		}
		return
	}
	defer f.Fail(nil)
	size := sizeOf(path)
	resp := v.answer(now, path)
	switch k := v.IntN(12); {
	case k < 4 && res.Object != nil && res.Object.part == nil:
		resp.Status, resp.Length = 304, -1
		resp.Fields.Add("x-filler", strings.Repeat("x", v.IntN(300)))
		v.use(path, f.NotModified(r, resp, res.Object, v.policy), Whole)
		return
	case k == 4:
		resp.Fields.Set("cache-control", "no-store")
	case k == 5:
		resp.Status = 503
	case k == 6:
		resp.Fields.Set("etag", `"other"`)
	case k == 7:
		resp.Length = int64(v.IntN(2)) * int64(v.budget.limit)
	case k < 10:
		resp.Length = int64(size)
	}
	w, _ := f.Respond(r, resp, v.policy)
	v.pour(w, path, size)
}

// pour writes a body and ends the writer, its own reader being the first.
func (v *visitor) pour(w *Writer, path, size int) {
	if w == nil {
		return
	}
	defer w.Abort(nil)
	if size < firstChunk && v.IntN(3) == 0 {
		if r, err := w.Object().NewReader(v.Context(), Whole); err == nil {
			defer v.finish(path, r)
		}
	}
	b := content(path, size)
	for len(b) > 0 {
		n := min(len(b), 1+v.IntN(50<<10))
		if _, err := w.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
	if v.IntN(10) > 0 {
		w.Commit(fields("X-Checksum: 1")[:v.IntN(2)])
	}
}

// finish reads to the end of a body that has ended, or is about to.
func (v *visitor) finish(path int, r *Reader) {
	for r.Ready() {
		b, err := r.Next()
		if err != nil {
			break
		}
		v.check(path, b)
	}
	r.Close()
}

// extent fetches a part of a resource.
func (v *visitor) extent(now time.Time, path int, r *message.Request) {
	size := sizeOf(path)
	if r.Method != "GET" || size < 10 {
		return
	}
	from := v.IntN(size)
	to := min(size, from+1+v.IntN(size/2+1))
	ask := fmt.Sprintf("bytes=%d-%d", from, to-1)
	r.Fields.Add("range", ask)
	res := v.Lookup(now, v.key(r), r, v.policy)
	if res.State == Hit {
		if rg, status := ParseRange(r, res.Object); status == 206 && rg != Several {
			v.use(path, res.Object, rg)
		}
		return
	}
	f, leader := v.BeginPart(now, v.key(r), r, ask)
	if !leader {
		return
	}
	defer f.Fail(nil)
	resp := v.answer(now, path)
	resp.Status = 206
	resp.Fields.Add("content-range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	w, _ := f.RespondPart(r, resp, nil, v.policy)
	v.pour(w, path, to-from)
}

// slice fetches a slice of a resource.
func (v *visitor) slice(now time.Time, path int, r *message.Request) {
	const size = 16 << 10
	whole := sizeOf(path)
	if r.Method != "GET" || whole <= size {
		return
	}
	n := v.IntN((whole + size - 1) / size)
	if res := v.Slice(now, v.key(r), r, int64(n), v.policy); res.State == Hit {
		v.use(path, res.Object, res.Object.part.Range)
		return
	}
	f, leader := v.BeginSlice(now, v.key(r), r, int64(n), size)
	if !leader {
		return
	}
	defer f.Fail(nil)
	resp := v.answer(now, path)
	from, to := n*size, min(whole, (n+1)*size)
	resp.Status = 206
	resp.Fields.Add("content-range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, whole))
	w, _ := f.RespondSlice(r, resp, v.policy)
	v.pour(w, path, to-from)
}
