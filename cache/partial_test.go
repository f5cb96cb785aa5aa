package cache

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// world is an origin with one resource that changes, and a cache in front of it.
type world struct {
	harness
	rng                     *rand.Rand
	now                     time.Duration
	version                 int
	content                 []byte
	open                    []*Reader
	hits, combined, fetched int
}

func (w *world) change() {
	w.version++
	w.content = make([]byte, 1+w.rng.IntN(150<<10))
	for i := range w.content {
		w.content[i] = byte(w.rng.Uint32())
	}
}

func (w *world) fields(more ...string) []string {
	return append([]string{"Cache-Control: max-age=1000", fmt.Sprintf("ETag: \"%d\"", w.version), "Content-Type: text/plain"}, more...)
}

// ask is a random Range value, or "" for the whole.
func (w *world) ask() string {
	n := len(w.content)
	at := w.rng.IntN(n + 1)
	switch w.rng.IntN(10) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("bytes=%d-", at)
	case 2:
		return fmt.Sprintf("bytes=-%d", at)
	case 3:
		return fmt.Sprintf("bytes=%d-%d", at, at)
	case 4:
		return fmt.Sprintf("bytes=%d-%d,%d-%d", at, at+w.rng.IntN(9), at/2, at/2+w.rng.IntN(n/10+1))
	}
	return fmt.Sprintf("bytes=%d-%d", at, at+w.rng.IntN(n/3+1))
}

// read compares what an object holds of rg with the truth; now and then the reader is left open.
func (w *world) read(why string, o *Object, rg Range) {
	w.Helper()
	r, err := o.NewReader(w.Context(), rg)
	if err != nil {
		w.Fatalf("%s: %v of %v: %v", why, rg, o.part, err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, w.content[rg.Start:min(rg.End, int64(len(w.content)))]) {
		w.Fatalf("%s: %v of %v: other bytes, %d, %v", why, rg, o.part, len(got), err)
	}
	var p Pieces
	if o.Pin(&p, rg) {
		var pinned []byte
		for b := p.Next(); b != nil; b = p.Next() {
			pinned = append(pinned, b...)
		}
		p.Close()
		if !bytes.Equal(pinned, got) {
			w.Fatalf("%s: %v of %v: other bytes pinned", why, rg, o.part)
		}
	}
	if w.rng.IntN(8) == 0 && len(w.open) < 10 {
		w.open = append(w.open, r)
		return
	}
	r.Close()
}

// origin answers a request for the range of value, as an origin does that knows ranges.
func (w *world) origin(value, ifRange string) (Response, []byte) {
	var specs []rangeSpec
	if value != "" && (ifRange == "" || ifRange == fmt.Sprintf("\"%d\"", w.version)) {
		specs, _ = rangeSet(fields("Range: "+value), nil)
	}
	if len(specs) != 1 {
		return answer(200, w.fields()...).at(epoch.Add(w.now)), w.content
	}
	rg, ok := specs[0].of(int64(len(w.content)))
	if !ok {
		return answer(416, w.fields("Content-Range: "+UnsatisfiedRange(int64(len(w.content))))...).at(epoch.Add(w.now)), nil
	}
	return answer(206, w.fields("Content-Range: "+rg.ContentRange(int64(len(w.content))))...).at(epoch.Add(w.now)), w.content[rg.Start:rg.End]
}

// fetch has the origin answer, and stores what comes.
func (w *world) fetch(r *message.Request, plan *Plan) *Object {
	var f *Fill
	var resp Response
	var body []byte
	var out *Writer
	if plan == nil {
		f, _ = w.Begin(epoch.Add(w.now), w.key(r), r)
		resp, body = w.origin("", "")
		out, _ = f.Respond(r, resp, w.policy)
	} else {
		f, _ = w.BeginPart(epoch.Add(w.now), w.key(r), r, plan.Ask)
		resp, body = w.origin(plan.Ask, plan.IfRange)
		out, _ = f.RespondPart(r, resp, plan.Have(), w.policy)
	}
	w.fetched++
	if out == nil {
		return nil
	}
	for len(body) > 0 {
		n := min(len(body), 1+w.rng.IntN(50<<10))
		if _, err := out.Write(body[:n]); err != nil {
			out.Abort(err)
			return nil
		}
		body = body[n:]
	}
	out.Commit(nil)
	return out.Object()
}

func (w *world) step() {
	r := get("/a")
	if ask := w.ask(); ask != "" {
		r.Fields.Add("range", ask)
	}
	res := w.look(w.now, r)
	var buf [MaxRanges]Range
	switch res.State {
	case Hit:
		w.hits++
		ranges, status := ParseRanges(r, res.Object, buf[:0])
		if status == 200 {
			ranges = []Range{{0, int64(len(w.content))}}
		}
		for _, rg := range ranges {
			w.read(fmt.Sprint("a hit for ", r.Fields), res.Object, rg)
		}
	case Miss, Stale:
		w.fetch(r, nil)
	case Part:
		plan := res.Part
		var o *Object
		if plan.Ask != "" {
			if o = w.fetch(r, plan); o == nil || o.part == nil || len(plan.Pieces) == 0 {
				return
			}
			if !plan.Fits(o) {
				w.Fatalf("%+v: the origin's answer %v does not fit", plan, o.part)
			}
		}
		at := plan.Want.Start
		for _, p := range plan.Pieces {
			if p.Range.Start != at || p.Range.Start >= p.Range.End {
				w.Fatalf("%+v has a gap", plan)
			}
			if at = p.Range.End; p.Object != nil {
				w.read("a piece", p.Object, p.Range)
			} else {
				w.read("what came", o, p.Range)
			}
		}
		if at != plan.Want.End {
			w.Fatalf("%+v ends early", plan)
		}
		w.combined++
	default:
		w.Fatalf("%v for %v", res.State, r.Fields)
	}
}

func (w *world) closeReaders() {
	for _, r := range w.open {
		r.Close()
	}
	w.open = nil
}

// TestRFC9111_3_4_RandomRangesEqualTheTrueBytes: whatever is stored, combined, replaced and evicted, each answer is of one version and right, and the
// budget is exact.
func TestRFC9111_3_4_RandomRangesEqualTheTrueBytes(t *testing.T) {
	for seed := range uint64(3) {
		w := &world{harness: harness{t, newCache(1<<20+1<<19, 1<<20), on()}, rng: rand.New(rand.NewPCG(seed, 1))}
		empty := w.budget.used.Load()
		w.change()
		for range 2000 {
			w.now += time.Second
			switch w.rng.IntN(60) {
			case 0: // the client's next answer is of the old version until what is stored is stale: tell the cache
				w.closeReaders()
				w.Purge(w.key(get("/a")))
				w.change()
			case 1:
				w.now += 1000 * time.Second
				w.closeReaders()
				w.change()
			case 2:
				w.closeReaders()
			}
			w.step()
			if used := w.budget.used.Load(); used > w.budget.limit || used < empty {
				t.Fatalf("%d bytes in use, of %d", used, w.budget.limit)
			}
		}
		w.closeReaders()
		w.Purge(w.key(get("/a")))
		if used, n := w.budget.used.Load(), w.objects.Load(); used != empty || n != 0 {
			t.Errorf("%d bytes of %d objects are left in use", used-empty, n)
		}
		if w.hits < 100 || w.combined < 20 || w.counters.combined.Get() < 20 {
			t.Errorf("%d hits, %d answers put together, %d parts combined: the test tests little", w.hits, w.combined, w.counters.combined.Get())
		}
	}
}

func TestRFC9111_3_4_SmallPartsBecomeLargePieces(t *testing.T) {
	h := newHarness(t)
	const n = 40 << 10
	content := make([]byte, n)
	for i := range content {
		content[i] = byte(i * 7)
	}
	for i := 0; i < n; i += 100 {
		rg := Range{int64(i), int64(min(i+100, n))}
		r := get("/a", fmt.Sprintf("Range: bytes=%d-%d", rg.Start, rg.End-1))
		f, _ := h.BeginPart(epoch, h.key(r), r, "bytes=x")
		w, reason := f.RespondPart(r, answer(206, "Cache-Control: max-age=60", `ETag: "a"`, "Content-Range: "+rg.ContentRange(n)), nil, h.policy)
		if w == nil {
			t.Fatal(reason)
		}
		w.Write(content[rg.Start:rg.End])
		w.Commit(nil)
	}
	res := h.want("all of it", 0, get("/a"), Hit, ReasonFresh)
	if res.Object.Status != 200 || h.body(res.Object, Whole) != string(content) {
		t.Errorf("%d, other bytes", res.Object.Status)
	}
	if c := len(res.Object.body.chunks); c > n/firstChunk+1 {
		t.Errorf("%d chunks", c)
	}
	if h.objects.Load() != 1 {
		t.Errorf("%d objects", h.objects.Load())
	}
}

func TestRFC9111_3_3_APartNeverServesTheWhole(t *testing.T) {
	o := &Object{Status: 206, Length: 10, part: &extent{Range{2, 5}, 0}, body: newBody(&budget{}, 0)}
	o.body.keep(nil, 0)
	for _, rg := range []Range{Whole, {0, 10}, {1, 3}, {2, 6}, {4, 4 + 2}} {
		var p Pieces
		if _, err := o.NewReader(t.Context(), rg); err != ErrNotHeld || o.Pin(&p, rg) {
			t.Errorf("%v: %v", rg, err)
		}
	}
	if _, status := ParseRange(get("/"), o); status != 200 {
		t.Error(status)
	}
}
