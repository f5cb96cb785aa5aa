package cache

import (
	"fmt"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// part stores a part of a resource, and returns why it was not.
func (h harness) storePart(r *message.Request, rg Range, total int64, content string, lines ...string) Reason {
	h.Helper()
	r.Fields.Set("range", fmt.Sprintf("bytes=%d-%d", rg.Start, rg.End-1))
	f, leader := h.BeginPart(epoch, h.key(r), r, r.Fields.Get("range"))
	if !leader {
		h.Fatal("it is being fetched")
	}
	w, reason := f.RespondPart(r, answer(206, append(lines, "Cache-Control: max-age=60", "Content-Range: "+rg.ContentRange(total))...), nil, h.policy)
	if w == nil {
		return reason
	}
	if _, err := w.Write([]byte(content)); err != nil {
		h.Fatal(err)
	}
	return w.Commit(nil)
}

// extentsOf are the stored parts that r selects.
func (h harness) extentsOf(r *message.Request) []*entry {
	key := h.key(r)
	hash := key.hash(h.seed)
	s := h.shard(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	return selected(h.variants(s, hash, key.extents()), r)
}

// TestWhoReadsAPartAsItIsTakenLeavesItsChargeAlone: a part can be opened, by who looked it up before, while it is being joined with another.
func TestWhoReadsAPartAsItIsTakenLeavesItsChargeAlone(t *testing.T) {
	h := newHarness(t)
	empty := h.budget.used.Load()
	h.storePart(get("/a"), Range{0, 5}, 10, "01234", `ETag: "a"`)
	e := h.extentsOf(get("/a"))[0]
	before, charged := h.budget.used.Load(), e.body.charged
	held, ok := e.body.seize()
	if !ok || held != charged {
		t.Fatalf("seized %v, with %d of %d bytes", ok, held, charged)
	}
	rd, err := e.obj.NewReader(t.Context(), Range{0, 5})
	if err != nil {
		t.Fatal(err)
	}
	rd.Close()
	var p Pieces
	if e.obj.Pin(&p, Range{0, 5}) {
		t.Error("pinned what is being taken")
	}
	if used := h.budget.used.Load(); used != before {
		t.Errorf("the reader gave %d bytes back that are not its own", before-used)
	}
	e.body.unseize(held)
	if e.body.charged != charged || !e.obj.Pin(&p, Range{0, 5}) {
		t.Errorf("it is stored with %d of %d bytes charged", e.body.charged, charged)
	}
	p.Close()
	h.Purge(h.key(get("/a")))
	if used := h.budget.used.Load(); used != empty {
		t.Errorf("%d bytes are left in use", used-empty)
	}
}

func TestJoinedPartsPayForTheTagsOfBoth(t *testing.T) {
	h := newHarness(t)
	empty := h.budget.used.Load()
	h.storePart(get("/a"), Range{0, 5}, 20, "01234", `ETag: "a"`, "Surrogate-Key: a b c d e f g h")
	h.storePart(get("/a"), Range{5, 10}, 20, "56789", `ETag: "a"`, "Surrogate-Key: i j k l m n o p")
	all := h.extentsOf(get("/a"))
	if len(all) != 1 {
		t.Fatalf("%d parts", len(all))
	}
	e := all[0]
	if want := metaCost(e.key, e.obj, e.sel); len(e.obj.tags.hashes) != 16 || e.cost != want || e.body.charged != want+10 {
		t.Errorf("%d tags; it costs %d and is charged %d, want %d and 10 more", len(e.obj.tags.hashes), e.cost, e.body.charged, want)
	}
	h.Purge(h.key(get("/a")))
	if used := h.budget.used.Load(); used != empty {
		t.Errorf("%d bytes are left in use", used-empty)
	}
}

// RFC 9111 §4.1: a part that says nothing of Vary does not make one that does another's.
func TestRFC9111_4_1_PartsOfDifferentVaryStayApart(t *testing.T) {
	h := newHarness(t)
	h.storePart(get("/a", "X-Kind: 1"), Range{0, 5}, 20, "01234", `ETag: "a"`, "Vary: X-Kind")
	h.storePart(get("/a", "X-Kind: 1"), Range{5, 10}, 20, "56789", `ETag: "a"`)
	if n := len(h.extentsOf(get("/a", "X-Kind: 1"))); n != 2 {
		t.Errorf("%d parts for the kind they are of", n)
	}
	if n := len(h.extentsOf(get("/a", "X-Kind: 2"))); n != 1 {
		t.Errorf("%d parts for another kind", n)
	}
	if res := h.look(0, get("/a", "X-Kind: 1", "Range: bytes=3-6")); res.State != Part || res.Part.Ask != "" || len(res.Part.Pieces) != 2 {
		t.Errorf("%v, %+v", res.State, res.Part)
	}
}

// RFC 9111 §4: of what is stored the newest serves.
func TestRFC9111_4_ANewerPartTakesAnOlderWholesPlace(t *testing.T) {
	for _, tt := range []struct {
		why, tag string
		after    time.Duration
		want     Reason
		whole    bool
	}{
		{"a newer version", `ETag: "b"`, time.Second, ReasonStored, false},
		{"an older version", `ETag: "b"`, -time.Second, ReasonSuperseded, true},
		{"the same version", `ETag: "a"`, time.Second, ReasonSuperseded, true},
		{"a version that can't be told", "X: y", time.Second, ReasonSuperseded, true},
	} {
		h := newHarness(t)
		empty := h.budget.used.Load()
		r := get("/a", "Range: bytes=0-4")
		f, _ := h.BeginPart(epoch, h.key(r), r, "bytes=0-4") // before the whole is stored
		w, _ := f.RespondPart(r, answer(206, "Cache-Control: max-age=60", "Content-Range: bytes 0-4/10", tt.tag).at(epoch.Add(tt.after)), nil, h.policy)
		h.store(get("/a"), answer(200, "Cache-Control: max-age=60", `ETag: "a"`), "0123456789")
		w.Write([]byte("abcde"))
		if got := w.Commit(nil); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.why, got, tt.want)
		}
		if res := h.look(0, get("/a")); (res.State == Hit) != tt.whole || h.objects.Load() != 1 {
			t.Errorf("%s: %v, %d objects", tt.why, res.State, h.objects.Load())
		}
		h.Purge(h.key(r))
		if used := h.budget.used.Load(); used != empty {
			t.Errorf("%s: %d bytes are left in use", tt.why, used-empty)
		}
	}
}

// RFC 9110 §15.3.7.1: the answer to If-Range need not repeat the fields that what is stored has; the tags of that are its own too.
func TestWhatCompletesAPartHasItsTags(t *testing.T) {
	h := newHarness(t)
	h.storePart(get("/a"), Range{0, 5}, 20, "01234", `ETag: "a"`, "Surrogate-Key: k")
	first := h.extentsOf(get("/a"))[0].obj
	rd, err := first.NewReader(t.Context(), Range{0, 5}) // who reads keeps it from being joined
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	r := get("/a", "Range: bytes=0-9")
	plan := h.look(0, r).Part
	f, _ := h.BeginPart(epoch, h.key(r), r, plan.Ask)
	w, _ := f.RespondPart(r, answer(206, `ETag: "a"`, "Content-Range: bytes 5-9/20", "Cache-Control: max-age=60"), plan.Have(), h.policy)
	w.Write([]byte("56789"))
	if reason := w.Commit(nil); reason != ReasonStored || len(h.extentsOf(r)) != 2 {
		t.Fatal(reason, len(h.extentsOf(r)))
	}
	if _, err := h.PurgeTag(epoch, "shop", "k", false); err != nil {
		t.Fatal(err)
	}
	if res := h.look(0, get("/a", "Range: bytes=6-7")); res.State == Hit {
		t.Error("the part that came serves on")
	}
}

func TestTooManyPartsOfOneResourceAreCounted(t *testing.T) {
	h := newHarness(t)
	for i := range int64(maxVariants + 5) {
		h.storePart(get("/a"), Range{10 * i, 10*i + 1}, 1000, "x", `ETag: "a"`)
	}
	if n, evicted := h.objects.Load(), h.counters.crowded.Get(); n != maxVariants || evicted != 5 {
		t.Errorf("%d parts, %d made room", n, evicted)
	}
}
