package cache

import (
	"context"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// purges are every means by which a response to /a with the tag "t" is purged hard.
var purges = map[string]func(h harness){
	"url":    func(h harness) { h.PurgeURL(epoch, h.key(get("/a")), false) },
	"prefix": func(h harness) { h.PurgePrefix(epoch, "", "https://shop.example.com/", false) },
	"tag":    func(h harness) { h.PurgeTag(epoch, "", "t", false) },
	"all":    func(h harness) { h.PurgeAll(epoch, "", false) },
}

// TestA304BringsNothingPurgedBack: between lookup and the fetch the stored response was purged; the origin confirms it, but the operator
// wanted its bytes gone.
func TestA304BringsNothingPurgedBack(t *testing.T) {
	for by, purge := range purges {
		h := newHarness(t)
		r := get("/a")
		h.store(r, answer(200, "Cache-Control: max-age=1", "Surrogate-Key: t", `ETag: "1"`), "old")
		old := h.want(by, 2*time.Second, r, Stale, ReasonExpired).Object
		purge(h)
		now := epoch.Add(2 * time.Second)
		f, _ := h.Begin(now, h.key(r), r)
		if f.NotModified(r, answer(304, "Cache-Control: max-age=100", `ETag: "1"`).at(now), old, h.policy) == nil {
			t.Errorf("%s: the leader, who came before the purge, may have it", by)
		}
		if o, reason, err := f.Wait(context.Background(), r); o != nil || reason != ReasonInvalidated || err != nil {
			t.Errorf("%s: those who came after it got %v, %v, %v", by, o, reason, err)
		}
		h.want(by, 3*time.Second, r, Miss, ReasonNotStored)
	}
}

// TestA304OfWhatWasEvictedServesThoseWhoWait: it is not purged, it is only not stored any more.
func TestA304OfWhatWasEvictedServesThoseWhoWait(t *testing.T) {
	h := newHarness(t)
	r := get("/a")
	h.store(r, answer(200, "Cache-Control: max-age=1", `ETag: "1"`), "old")
	old := h.look(2*time.Second, r).Object
	h.PurgeTag(epoch, "", "other", false)
	h.Cache.Purge(h.key(r)) // an eviction leaves the same behind
	now := epoch.Add(2 * time.Second)
	f, _ := h.Begin(now, h.key(r), r)
	f.NotModified(r, answer(304, "Cache-Control: max-age=100", `ETag: "1"`).at(now), old, h.policy)
	if o, _, _ := f.Wait(context.Background(), r); o == nil {
		t.Error("nobody got it")
	}
}

// TestAPartKeepsItsTags: a 206 that completes what is stored is of the same tags, whether it repeats them or not.
func TestAPartKeepsItsTags(t *testing.T) {
	h := newHarness(t)
	r := get("/a", "Range: bytes=0-3")
	part := func(r *message.Request, ask, rg string, have *Object, lines ...string) {
		f, _ := h.BeginPart(epoch, h.key(r), r, ask)
		w, reason := f.RespondPart(r, answer(206, append(lines, "Cache-Control: max-age=100", `ETag: "1"`, "Content-Range: "+rg)...), have, h.policy)
		if w == nil {
			t.Fatal(reason)
		}
		w.Write([]byte("abcd"))
		w.Commit(nil)
	}
	part(r, "bytes=0-3", "bytes 0-3/12", nil, "Surrogate-Key: t")
	have := h.firstExtent(r)
	r = get("/a", "Range: bytes=8-11")
	part(r, "bytes=8-11", "bytes 8-11/12", have)
	h.PurgeTag(epoch, "", "t", false)
	if left := h.firstExtent(r); left != nil {
		t.Errorf("%v is left of a resource that is purged by its tag", left.part.Range)
	}
}

func (h harness) firstExtent(r *message.Request) *Object {
	key := h.key(r)
	all, _ := h.extents(h.shard(key.hash(h.seed)), key.hash(h.seed), key, r)
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// TestTheHeadOfSlicesIsPurgedToo: it answers ranges that can't be satisfied, by a length that may be another one now.
func TestTheHeadOfSlicesIsPurgedToo(t *testing.T) {
	for by, purge := range purges {
		h := newHarness(t)
		h.policy.Slice = 64 << 10
		r := get("/a", "Range: bytes=0-3")
		slice := func(first func()) {
			f, leader := h.BeginSlice(epoch, h.key(r), r, 0, 4)
			if !leader {
				t.Fatal("not the leader")
			}
			first()
			w, reason := f.RespondSlice(r, answer(206, "Cache-Control: max-age=100", "Surrogate-Key: t", `ETag: "1"`, "Content-Range: bytes 0-3/12"), h.policy)
			if w == nil {
				t.Fatal(reason)
			}
			w.Write([]byte("abcd"))
			w.Commit(nil)
		}
		slice(func() {})
		if head, fresh := h.SliceHead(epoch, h.key(r), r, h.policy); head == nil || !fresh {
			t.Fatal("no head")
		}
		purge(h)
		if head, _ := h.SliceHead(epoch, h.key(r), r, h.policy); head != nil {
			t.Errorf("%s: the head is left", by)
		}
		slice(func() { purge(h) })
		if head, _ := h.SliceHead(epoch, h.key(r), r, h.policy); head != nil {
			t.Errorf("%s: the head is from before the purge", by)
		}

		large := answer(200, "Cache-Control: max-age=100", "Surrogate-Key: t", `ETag: "2"`)
		large.Length = 100 << 20
		f, _ := h.Begin(epoch, h.key(get("/a")), get("/a"))
		purge(h)
		f.NoteLarge(get("/a"), large, h.policy)
		f.Fail(nil)
		if head, _ := h.SliceHead(epoch, h.key(r), r, h.policy); head != nil {
			t.Errorf("%s: a head of what was asked for before the purge", by)
		}
	}
}
