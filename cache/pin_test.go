package cache

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// kept has the path answered by a body and returns the object.
func (h harness) kept(path, body string) *Object {
	h.Helper()
	r := get(path)
	if reason := h.store(r, answer(200, "Cache-Control: max-age=60", "ETag: \"1\""), body); reason != ReasonStored {
		h.Fatal("not stored:", reason)
	}
	return h.want("just stored", 0, r, Hit, ReasonFresh).Object
}

// gather reads what is pinned.
func gather(p *Pieces) string {
	var b strings.Builder
	for {
		piece := p.Next()
		if piece == nil {
			return b.String()
		}
		b.Write(piece)
	}
}

func TestPinnedPiecesAreThePart(t *testing.T) {
	h := newHarness(t)
	body := strings.Repeat("0123456789", 20_000) // several chunks
	o := h.kept("/", body)
	n := int64(len(body))
	for _, rg := range []Range{Whole, {0, 1}, {n - 1, n}, {firstChunk - 1, firstChunk + 1}, {firstChunk, 3 * maxChunk}, {5, 5}} {
		var p Pieces
		if !o.Pin(&p, rg) {
			t.Fatal("a stored body can be pinned")
		}
		want := body[rg.Start:min(rg.End, n)]
		if got := gather(&p); got != want {
			t.Errorf("%v: %d bytes, want %d", rg, len(got), len(want))
		}
		p.Close()
		p.Close()
	}
	if o.body.inUse() {
		t.Errorf("%d pins left", o.body.pins.Load())
	}
}

func TestAPinnedBodyIsCountedUntilItIsClosed(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	o := h.kept("/", strings.Repeat("x", 1000))
	var p Pieces
	if !o.Pin(&p, Whole) {
		t.Fatal("not pinned")
	}
	if h.evictOne() {
		t.Error("a pinned object was evicted")
	}
	key := h.key(get("/"))
	charge := h.shard(key.hash(h.seed)).views.bytes.Load()
	h.Purge(h.key(get("/")))
	if got := h.budget.used.Load() - base - h.slots(); got != charge || got < 2000 {
		t.Errorf("%d bytes counted after the purge, want the body's 1000 and the head's", got)
	}
	var late Pieces
	if o.Pin(&late, Whole) {
		t.Error("what has left the store can't be pinned: its bytes are no longer counted")
	}
	if got := gather(&p); got != strings.Repeat("x", 1000) {
		t.Errorf("got %d bytes", len(got))
	}
	p.Close()
	if got := h.budget.used.Load() - base - h.slots(); got != 0 {
		t.Errorf("%d bytes counted after the end", got)
	}
}

func TestOnlyACompleteBodyWithoutTrailersIsPinned(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	w.Write([]byte("x"))
	var p Pieces
	if w.Object().Pin(&p, Whole) {
		t.Error("a body that is arriving was pinned")
	}
	w.Commit(fields("Digest: 1"))
	if h.want("stored", 0, r, Hit, ReasonFresh).Object.Pin(&p, Whole) {
		t.Error("a body with trailers was pinned")
	}
}

// plain is an encoder that counts its calls.
func plain(calls *int) func([]byte, message.Fields) []byte {
	return func(dst []byte, f message.Fields) []byte {
		*calls++
		for _, x := range f {
			dst = fmt.Appendf(dst, "%s: %s\r\n", x.Name, x.Value)
		}
		return dst
	}
}

func TestAFieldSectionIsEncodedOnceForEachProtocol(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	o := h.kept("/", "x")
	before := h.budget.used.Load()
	calls, total := 0, int64(0)
	for _, p := range []message.Protocol{message.HTTP1, message.HTTP2, message.HTTP3} {
		first := o.Encoded(p, plain(&calls))
		total += int64(len(first)) + encodedOverhead
		if again := o.Encoded(p, plain(&calls)); &again[0] != &first[0] || !bytes.Contains(first, []byte("etag: \"1\"\r\n")) {
			t.Errorf("%v: %q, then %q", p, first, again)
		}
	}
	if calls != 3 {
		t.Errorf("encoded %d times", calls)
	}
	if got := h.budget.used.Load() - before; got != total {
		t.Errorf("%d bytes counted for forms of %d", got, total)
	}
	h.Purge(h.key(get("/")))
	if got := h.budget.used.Load() - base - h.slots(); got != 0 {
		t.Errorf("%d bytes counted when all is gone", got)
	}
	o.Encoded(message.HTTP1, plain(&calls))
	if kept := o.encoded.charged; kept != 0 {
		t.Errorf("%d bytes are kept for what is gone", kept)
	}
}

func TestARefreshedObjectIsEncodedAnew(t *testing.T) {
	h := newHarness(t)
	base := h.budget.used.Load()
	old := h.kept("/", "x")
	calls := 0
	old.Encoded(message.HTTP1, plain(&calls))
	r := get("/")
	f, leader := h.Begin(epoch.Add(time.Minute), h.key(r), r)
	if !leader {
		t.Fatal("not the leader")
	}
	f.NotModified(r, answer(304, "Cache-Control: max-age=60", "X-New: 1").at(epoch.Add(time.Minute)), old, h.policy)
	o := h.want("refreshed", time.Minute, r, Hit, ReasonFresh).Object
	if got := o.Encoded(message.HTTP1, plain(&calls)); !bytes.Contains(got, []byte("x-new: 1")) {
		t.Errorf("got %q", got)
	}
	h.Purge(h.key(r))
	if got := h.budget.used.Load() - base - h.slots(); got != 0 {
		t.Errorf("%d bytes counted when all is gone", got)
	}
}

func TestAFullBudgetKeepsNoForm(t *testing.T) {
	h := harness{t, newCache(1<<20, 1<<20), on()}
	o := h.kept("/", "x")
	var p Pieces
	o.Pin(&p, Whole) // so that it is not what makes room
	defer p.Close()
	h.reserve(h.budget.limit - h.budget.used.Load())
	calls := 0
	o.Encoded(message.HTTP1, plain(&calls))
	if got := o.Encoded(message.HTTP1, plain(&calls)); calls != 2 || len(got) == 0 {
		t.Errorf("encoded %d times: %q", calls, got)
	}
}

// TestPinsAgainstEviction runs hits, encodings, purges and fills in a store that is too small at once; the race detector judges, and the
// bytes, which must stay what they were as long as they are pinned.
func TestPinsAgainstEviction(t *testing.T) {
	h := harness{t, newCache(1<<20, 1<<20), on()}
	base := h.budget.used.Load()
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			calls := 0
			for i := range 400 {
				path := fmt.Sprintf("/%d", (i*7+g*13)%40)
				r := get(path)
				res := h.look(0, r)
				if res.State == Hit {
					var p Pieces
					if res.Object.Pin(&p, Whole) {
						res.Object.Encoded(message.HTTP2, plain(&calls))
						if i%5 == 0 {
							h.Purge(h.key(r))
						}
						if got := gather(&p); got != strings.Repeat(path[len(path)-1:], 60_000) {
							t.Errorf("%s: %d other bytes", path, len(got))
						}
						p.Close()
					}
					continue
				}
				f, leader := h.Begin(epoch, h.key(r), r)
				if !leader {
					continue
				}
				if w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy); w != nil {
					w.Write([]byte(strings.Repeat(path[len(path)-1:], 60_000)))
					w.Commit(nil)
				}
			}
		})
	}
	wg.Wait()
	for i := range 40 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if got := h.budget.used.Load() - base - h.slots(); got != 0 {
		t.Errorf("%d bytes counted when all is gone", got)
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	h := newHarness(t)
	h.kept("/a?b=1", "hello")
	o := h.look(0, get("/a?b=1")).Object
	o.Encoded(message.HTTP1, plain(new(int)))
	encode := plain(new(int))
	r := get("/a?b=1", "If-None-Match: \"2\"", "If-Modified-Since: Sun, 01 Mar 2026 11:00:00 GMT", "Range: bytes=1-2", "Accept-Encoding: gzip", "Cache-Control: max-age=100")
	r2 := get("/a?b=1", "If-Modified-Since: Sun, 01 Mar 2026 11:00:00 GMT")
	if n := testing.AllocsPerRun(200, func() {
		res := h.Lookup(epoch, KeyOf("shop", r), r, h.policy)
		var p Pieces
		if res.State != Hit || EvaluateConditional(r, res.Object) != 0 || EvaluateConditional(r2, res.Object) != 0 {
			t.Fatal("not a hit")
		}
		rg, _ := ParseRange(r, res.Object)
		if !res.Object.Pin(&p, rg) || string(p.Next()) != "el" {
			t.Fatal("not the range")
		}
		res.Object.Encoded(message.HTTP1, encode)
		p.Close()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestTheFastDateIsTheDate(t *testing.T) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "sun, 06 nov 1994 08:49:37 gmt", "Mon, 06 Nov 1994 08:49:37 GMT", "Tue, 29 Feb 2000 23:59:59 GMT",
		"Thu, 29 Feb 2001 00:00:00 GMT", "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:49:60 GMT", "Sun, 06 Nob 1994 08:49:37 GMT",
		"Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 UTC", "Sun, 06-Nov-1994 08:49:37 GMT", "Sat, 01 Jan 0000 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GM", ""} {
		got, ok := parseFixdate(s)
		want, wantOK := parseLayout(s, imfFixdate)
		if ok != wantOK || ok && !got.Equal(want) {
			t.Errorf("%q: %v, %v; time.Parse has %v, %v", s, got, ok, want, wantOK)
		}
	}
}

func TestTooEarlyIsNobodyElses(t *testing.T) {
	h := newHarness(t)
	if reason := h.store(get("/"), answer(425, "Cache-Control: max-age=60"), ""); reason != ReasonStatus {
		t.Errorf("stored: %v", reason)
	}
	if h.Refused(epoch, h.key(get("/")), get("/"), "") {
		t.Error("an answer to early data says nothing about other requests")
	}
}
