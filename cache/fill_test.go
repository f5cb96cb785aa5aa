package cache

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// crowdOf starts n requests that do what the pipeline does: look up, begin, lead or wait. lead runs the leader's fetch.
// The outcome of each is sent on the channel, which is closed when all are done.
func (h harness) crowdOf(n int, r *message.Request, lead func(f *Fill, own chan<- *Object)) <-chan outcome {
	out := make(chan outcome, n)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { out <- h.one(r, lead) })
	}
	go func() {
		wg.Wait()
		close(out)
	}()
	return out
}

// outcome is what one request came to.
type outcome struct {
	body   string
	reason Reason // fetch for yourself
	err    error
}

func (h harness) one(r *message.Request, lead func(*Fill, chan<- *Object)) outcome {
	res := h.Lookup(time.Now(), h.key(r), r, h.policy)
	o, reason := res.Object, ReasonNone
	if res.State != Hit {
		f, leader := h.Begin(time.Now(), h.key(r), r)
		var err error
		if leader {
			own := make(chan *Object, 1)
			go lead(f, own) // detached from the client
			if o = <-own; o == nil {
				return outcome{reason: ReasonUnusable}
			}
		} else if o, reason, err = f.Wait(context.Background(), r); o == nil {
			return outcome{reason: reason, err: err}
		}
	}
	rd, err := o.NewReader(context.Background(), Whole)
	if err != nil {
		return outcome{err: err}
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	return outcome{body: string(b), err: err}
}

// now is a response received at the fake clock's time.
func now(status int, lines ...string) Response { return answer(status, lines...).at(time.Now()) }

func TestOneFetchForACrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		var fetches atomic.Int32
		body := strings.Repeat("0123456789", 20_000)
		out := h.crowdOf(100, get("/"), func(f *Fill, own chan<- *Object) {
			fetches.Add(1)
			time.Sleep(100 * time.Millisecond) // the way to the origin
			w, reason := f.Respond(get("/"), now(200, "Cache-Control: max-age=60"), h.policy)
			if w == nil {
				t.Error("not stored:", reason)
				return
			}
			own <- w.Object()
			for _, part := range []string{body[:70_000], body[70_000:]} {
				time.Sleep(time.Second)
				w.Write([]byte(part))
			}
			w.Commit(nil)
		})
		for o := range out {
			if o.body != body || o.err != nil {
				t.Errorf("%d bytes, %v, %v", len(o.body), o.reason, o.err)
			}
		}
		if fetches.Load() != 1 {
			t.Errorf("%d fetches", fetches.Load())
		}
		if got := h.counters.collapsed.Get(); got != 99 {
			t.Errorf("%d collapsed, want 99", got)
		}
	})
}

func TestALateRequestJoinsAResponseThatIsArriving(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	w.Write([]byte("first "))
	late, leader := h.Begin(epoch.Add(time.Second), h.key(r), r)
	if leader {
		t.Fatal("the response is on its way")
	}
	o, _, err := late.Wait(t.Context(), r)
	if err != nil || o == nil {
		t.Fatal("no object:", err)
	}
	rd, _ := o.NewReader(t.Context(), Whole)
	defer rd.Close()
	w.Write([]byte("second"))
	w.Commit(nil)
	if b, _ := io.ReadAll(rd); string(b) != "first second" {
		t.Errorf("%q", b)
	}
	if _, leader := h.Begin(epoch.Add(2*time.Second), h.key(r), get("/", "Cache-Control: no-cache")); !leader {
		t.Error("a reload does not make do with what has been stored")
	}
}

func TestAStaleResponseThatIsStillArrivingTakesNobodyMore(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	f.Respond(r, answer(200, "Cache-Control: max-age=10"), h.policy)
	if _, leader := h.Begin(epoch.Add(11*time.Second), h.key(r), r); !leader {
		t.Error("joined a response that is stale")
	}
}

func TestAWaiterThatLeavesCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		r := get("/")
		f, _ := h.Begin(time.Now(), h.key(r), r)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := f.Wait(ctx, r); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		w, _ := f.Respond(r, now(200, "Cache-Control: max-age=60"), h.policy)
		rd, _ := w.Object().NewReader(ctx, Whole)
		if _, err := rd.Next(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reader whose client has gone: %v", err)
		}
		rd.Close()
		rd.Close() // harmless
		w.Write([]byte("x"))
		if reason := w.Commit(nil); reason != ReasonStored {
			t.Errorf("%v: the fetch goes on without readers", reason)
		}
	})
}

func TestAnUncacheableAnswerReleasesTheCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		start := time.Now()
		lead := func(f *Fill, own chan<- *Object) {
			time.Sleep(time.Second)
			if w, _ := f.Respond(get("/"), now(200, "Cache-Control: no-store"), h.policy); w != nil {
				t.Error("stored")
			}
			own <- nil
		}
		released := 0
		for o := range h.crowdOf(50, get("/"), lead) {
			if o.err != nil {
				t.Error(o.err)
			}
			if o.reason == ReasonNoStore {
				released++
			}
		}
		if released != 49 || time.Since(start) != time.Second {
			t.Errorf("%d released after %v", released, time.Since(start))
		}
		var leaders atomic.Int32
		for range h.crowdOf(50, get("/"), func(f *Fill, own chan<- *Object) {
			leaders.Add(1)
			f.Respond(get("/"), now(200, "Cache-Control: no-store"), h.policy)
			own <- nil
		}) {
		}
		if leaders.Load() != 50 {
			t.Errorf("%d of 50 lead: the next crowd must not queue", leaders.Load())
		}
		time.Sleep(refusalTime + time.Second)
		h.Begin(time.Now(), h.key(get("/")), get("/"))
		if _, leader := h.Begin(time.Now(), h.key(get("/")), get("/")); leader {
			t.Error("the key is remembered for too long")
		}
	})
}

func TestARememberedKeyIsStoredOnceItCanBe(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(200, "Cache-Control: no-store"), "")
	if reason := h.store(get("/"), answer(200, "Cache-Control: max-age=60"), "x"); reason != ReasonStored {
		t.Error(reason)
	}
	h.want("as ever", 0, get("/"), Hit, ReasonFresh)
}

func TestCredentialsDoNotSpoilAKeyForOthers(t *testing.T) {
	h := newHarness(t)
	h.store(get("/", "Authorization: x"), answer(200, "Cache-Control: max-age=60"), "")
	h.Begin(epoch, h.key(get("/")), get("/"))
	if _, leader := h.Begin(epoch, h.key(get("/")), get("/")); leader {
		t.Error("requests without credentials do not collapse")
	}
}

func TestAFailingOriginIsNotRemembered(t *testing.T) {
	h := newHarness(t)
	h.store(get("/"), answer(503), "")
	h.Begin(epoch, h.key(get("/")), get("/"))
	if _, leader := h.Begin(epoch, h.key(get("/")), get("/")); leader {
		t.Error("the next crowd goes to the failing origin all at once")
	}
}

func TestNoCacheIsStoredButNotShared(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	waiter, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: no-cache", `ETag: "a"`), h.policy)
	if o, reason, err := waiter.Wait(t.Context(), r); o != nil || err != nil || reason != ReasonUnusable {
		t.Errorf("%v, %v, %v", o, reason, err)
	}
	w.Write([]byte("x"))
	w.Commit(nil)
	h.want("for validation", 0, r, Stale, ReasonNoCache)
}

func TestTheLeadersFailureReachesTheWaiters(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	waiter, leader := h.Begin(epoch, h.key(r), r)
	if leader {
		t.Fatal("two leaders")
	}
	down := errors.New("no origin")
	f.Fail(down)
	f.Fail(errors.New("harmless"))
	if _, reason, err := waiter.Wait(t.Context(), r); err != down || reason != ReasonFailed {
		t.Errorf("%v, %v", reason, err)
	}
	if _, leader := h.Begin(epoch, h.key(r), r); !leader {
		t.Error("a failed fill takes nobody more")
	}
}

func TestABodyThatBreaksOff(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	rd, _ := w.Object().NewReader(t.Context(), Whole)
	defer rd.Close()
	w.Write([]byte("half"))
	broke := errors.New("connection reset")
	w.Abort(broke)
	b, err := io.ReadAll(rd)
	if string(b) != "half" || err != broke {
		t.Errorf("%q, %v: what came, then the error", b, err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("written after the end")
	}
	h.want("nothing is stored", 0, r, Miss, ReasonNotStored)
	f.Fail(nil) // the deferred one
}

func TestRFC9112_8_ABodyOfAnotherLengthIsIncomplete(t *testing.T) {
	for _, body := range []string{"short", "much too long"} {
		h := newHarness(t)
		r := get("/")
		f, _ := h.Begin(epoch, h.key(r), r)
		resp := answer(200, "Cache-Control: max-age=60")
		resp.Length = 8
		w, _ := f.Respond(r, resp, h.policy)
		rd, _ := w.Object().NewReader(t.Context(), Whole)
		w.Write([]byte(body))
		w.Commit(nil)
		if _, err := io.ReadAll(rd); err != ErrIncomplete {
			t.Errorf("%q of 8: %v", body, err)
		}
		rd.Close()
		h.want("nothing is stored", 0, r, Miss, ReasonNotStored)
	}
}

func TestAnotherVariantsResponse(t *testing.T) {
	h := newHarness(t)
	de, en := get("/", "Accept-Language: de"), get("/", "Accept-Language: en")
	f, _ := h.Begin(epoch, h.key(de), de)
	waiter, leader := h.Begin(epoch, h.key(en), en)
	if leader {
		t.Fatal("nothing is known of variants yet")
	}
	w, _ := f.Respond(de, answer(200, "Cache-Control: max-age=60", "Vary: Accept-Language"), h.policy)
	if _, reason, _ := waiter.Wait(t.Context(), en); reason != ReasonOtherVariant {
		t.Errorf("%v", reason)
	}
	f2, leader := h.Begin(epoch, h.key(en), en)
	if !leader {
		t.Error("the second variant has a fetch of its own")
	}
	if _, leader := h.Begin(epoch, h.key(en), en); leader {
		t.Error("which others of its kind join")
	}
	f2.Fail(nil)
	w.Commit(nil)
	// From now on the resource is known to vary.
	h.Begin(epoch, h.key(en), en)
	fr := get("/", "Accept-Language: fr")
	if _, leader := h.Begin(epoch, h.key(fr), fr); !leader {
		t.Error("a third variant must not wait for the second")
	}
}

func TestHeadLeadsAlone(t *testing.T) {
	h := newHarness(t)
	head := request("HEAD", "/")
	f, _ := h.Begin(epoch, h.key(head), head)
	if _, leader := h.Begin(epoch, h.key(head), get("/")); !leader {
		t.Error("a GET waits for the answer to HEAD, which has no body")
	}
	if w, reason := f.Respond(head, answer(200, "Cache-Control: max-age=60"), h.policy); w != nil || reason != ReasonHead {
		t.Error(reason)
	}
	if _, leader := h.Begin(epoch, h.key(head), head); leader {
		t.Error("a HEAD may share a GET's fetch")
	}
}

func TestACrowdRevalidatesOnce(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	h.store(r, answer(200, "Cache-Control: max-age=10", `ETag: "a"`), "body")
	late := epoch.Add(20 * time.Second)
	res := h.look(20*time.Second, r)
	f, _ := h.Begin(late, h.key(r), r)
	waiter, leader := h.Begin(late, h.key(r), r)
	if leader {
		t.Fatal("two leaders")
	}
	f.NotModified(r, answer(304).at(late), res.Object, h.policy)
	o, _, err := waiter.Wait(t.Context(), r)
	if err != nil || o == nil || o.TTL(late) != 10*time.Second {
		t.Fatalf("%v, %v", o, err)
	}
	// Whoever looked up before the 304 and begins after it does not fetch again.
	f, leader = h.Begin(late, h.key(r), r)
	if leader {
		t.Fatal("fetched again")
	}
	if o, _, err := f.Wait(t.Context(), r); err != nil || h.body(o, Whole) != "body" {
		t.Error(err)
	}
}

func TestASlowReaderDoesNotHoldBackAFastOne(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	slow, _ := w.Object().NewReader(t.Context(), Whole)
	fast, _ := w.Object().NewReader(t.Context(), Whole)
	defer slow.Close()
	defer fast.Close()
	body := bytes.Repeat([]byte("x"), 500<<10)
	if _, err := w.Write(body); err != nil { // nobody has read a byte
		t.Fatal(err)
	}
	if w.Commit(nil) != ReasonStored {
		t.Error("not stored")
	}
	if n, err := io.Copy(io.Discard, fast); n != int64(len(body)) || err != nil {
		t.Errorf("fast: %d, %v", n, err)
	}
	if n, err := io.Copy(io.Discard, slow); n != int64(len(body)) || err != nil {
		t.Errorf("slow: %d, %v", n, err)
	}
}

// passThrough begins a response that is too large to store, with readers, and writes total bytes of it.
func (h harness) passThrough(total int, readers ...*Reader) (w *Writer, open func() *Reader) {
	f, _ := h.Begin(time.Now(), h.key(get("/")), get("/"))
	w, _ = f.Respond(get("/"), now(200, "Cache-Control: max-age=60"), h.policy)
	return w, func() *Reader {
		rd, err := w.Object().NewReader(context.Background(), Whole)
		if err != nil {
			h.Fatal(err)
		}
		return rd
	}
}

func TestABodyThatIsTooLargePassesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		base := h.budget.used.Load()
		const total = 20 << 20 // twenty times max_object, more than the whole memory
		w, open := h.passThrough(total)
		var wg sync.WaitGroup
		for i := range 3 {
			rd := open()
			wg.Go(func() {
				defer rd.Close()
				n := 0
				for {
					p, err := rd.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Errorf("reader %d after %d bytes: %v", i, n, err)
						return
					}
					for _, c := range p {
						if c != byte(n>>10) {
							t.Errorf("reader %d: byte %d is wrong", i, n)
							return
						}
						n++
					}
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				}
				if n != total {
					t.Errorf("reader %d got %d bytes of %d", i, n, total)
				}
			})
		}
		var most int64
		for i := range total >> 10 {
			if _, err := w.Write(bytes.Repeat([]byte{byte(i)}, 1<<10)); err != nil {
				t.Fatal(err)
			}
			most = max(most, h.budget.used.Load()-base)
		}
		if reason := w.Commit(nil); reason != ReasonTooLarge {
			t.Error(reason)
		}
		wg.Wait()
		if most > 2<<20 {
			t.Errorf("%d bytes held at once", most)
		}
		if left := h.budget.used.Load() - base; left != 0 {
			t.Errorf("%d bytes are still counted", left)
		}
		if res := h.Lookup(time.Now(), h.key(get("/")), get("/"), h.policy); res.State != Miss {
			t.Error(res.State)
		}
		if _, leader := h.Begin(time.Now(), h.key(get("/")), get("/")); !leader {
			t.Error("the next one fetches for itself")
		}
	})
}

func TestAReaderThatStallsAPassingBodyIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		w, open := h.passThrough(0)
		stalled, good := open(), open()
		defer stalled.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer good.Close()
			if n, err := io.Copy(io.Discard, good); n != 5<<20 || err != nil {
				t.Errorf("the good reader: %d, %v", n, err)
			}
		})
		start := time.Now()
		for range 5 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		w.Commit(nil)
		wg.Wait()
		if _, err := stalled.Next(); err != ErrLagging {
			t.Errorf("the stalled reader: %v", err)
		}
		if d := time.Since(start); d > 2*stallLimit {
			t.Errorf("held up for %v", d)
		}
	})
}

func TestAPassingBodyWithoutReadersIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		base := h.budget.used.Load()
		w, open := h.passThrough(0)
		rd := open()
		go func() {
			rd.Next()
			time.Sleep(time.Second)
			rd.Close() // the last client leaves
		}()
		var err error
		for range 10 {
			if _, err = w.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		if err != ErrAbandoned {
			t.Errorf("%v", err)
		}
		if _, err := w.Object().NewReader(t.Context(), Whole); err != ErrGone {
			t.Errorf("a reader that comes too late: %v", err)
		}
		w.Abort(err)
		if left := h.budget.used.Load() - base; left != 0 {
			t.Errorf("%d bytes are still counted", left)
		}
	})
}

func TestKnownLengthTooLargeIsNotBegun(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	waiter, _ := h.Begin(epoch, h.key(r), r)
	resp := answer(200, "Cache-Control: max-age=60")
	resp.Length = 2 << 20
	if w, reason := f.Respond(r, resp, h.policy); w != nil || reason != ReasonTooLarge {
		t.Error(reason)
	}
	if _, reason, _ := waiter.Wait(t.Context(), r); reason != ReasonTooLarge {
		t.Error(reason)
	}
}

func TestABudgetInUseRefusesAndRecovers(t *testing.T) {
	h := newHarness(t)
	h.Cache = newCache(1<<20, 1<<20)
	var readers []*Reader
	for i := 0; ; i++ {
		r := get("/" + strings.Repeat("x", i+1))
		if reason := h.store(r, answer(200, "Cache-Control: max-age=60"), strings.Repeat("x", 100<<10)); reason != ReasonStored {
			if reason != ReasonNoMemory {
				t.Error(reason)
			}
			break
		}
		rd, err := h.look(0, r).Object.NewReader(t.Context(), Whole)
		if err != nil {
			t.Fatal(err)
		}
		if readers = append(readers, rd); i > 20 {
			t.Fatal("twice the budget is held")
		}
	}
	for _, rd := range readers {
		rd.Close()
	}
	if reason := h.store(get("/"), answer(200, "Cache-Control: max-age=60"), "x"); reason != ReasonStored {
		t.Errorf("after the readers have left: %v", reason)
	}
}

func TestTrailersAreStored(t *testing.T) {
	h := newHarness(t)
	r := get("/")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=60"), h.policy)
	w.Commit(fields("X-Checksum: 1"))
	if got := h.look(0, r).Object.Trailers().Get("x-checksum"); got != "1" {
		t.Errorf("%q", got)
	}
}

func TestSmallBodiesAreHadAtOnce(t *testing.T) {
	h := newHarness(t)
	for path, body := range map[string]string{"/empty": "", "/small": "x", "/large": strings.Repeat("x", 100<<10)} {
		h.store(get(path), answer(200, "Cache-Control: max-age=60"), body)
		b, ok := h.look(0, get(path)).Object.Bytes()
		if ok != (path != "/large") || ok && string(b) != body {
			t.Errorf("%s: %v, %d bytes", path, ok, len(b))
		}
	}
}

// TestRaces runs everything at once; the race detector and the budget judge.
func TestRaces(t *testing.T) {
	h := newHarness(t)
	h.Cache = newCache(1<<20, 128<<10)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 150 {
				r := get("/"+string(rune('a'+(n*7+i)%12)), "Accept: "+string(rune('a'+n%2)))
				if n%20 == 0 {
					h.Purge(h.key(r))
				}
				h.one(r, func(f *Fill, own chan<- *Object) {
					defer close(own)
					defer f.Fail(nil)
					if n%9 == 0 {
						return
					}
					w, _ := f.Respond(r, now(200, "Cache-Control: max-age=60", "Vary: Accept"), h.policy)
					if w == nil {
						return
					}
					own <- w.Object()
					for range n % 40 {
						if _, err := w.Write(make([]byte, 5000)); err != nil {
							w.Abort(err)
							return
						}
					}
					w.Commit(nil)
				})
				if used := h.budget.used.Load(); used > h.budget.limit {
					t.Errorf("%d bytes of %d in use", used, h.budget.limit)
				}
			}
		})
	}
	wg.Wait()
	if got := h.fills.Load(); got != 0 {
		t.Errorf("%d fills are left", got)
	}
}

func TestTheWriterOutlivesItsRequest(t *testing.T) {
	h := newHarness(t)
	lines := []string{"Cache-Control: max-age=60", "Vary: Accept"}
	h.store(get("/", "Accept: a"), answer(200, lines...), "old a")
	h.store(get("/", "Accept: b"), answer(200, lines...), "b")
	r := get("/", "Accept: a", "Cache-Control: no-cache")
	f, _ := h.Begin(epoch, h.key(r), r)
	w, _ := f.Respond(r, answer(200, lines...), h.policy)
	r.Fields[0].Value = "b" // the front end has taken its memory back
	w.Commit(nil)
	if got := h.objects.Load(); got != 2 {
		t.Errorf("%d variants, want 2", got)
	}
	if got := h.body(h.look(0, get("/", "Accept: b")).Object, Whole); got != "b" {
		t.Errorf("variant b serves %q", got)
	}
	if got := h.body(h.look(0, get("/", "Accept: a")).Object, Whole); got != "" {
		t.Errorf("variant a serves %q", got)
	}
}

// TestAnAnswerThatIsNotStoredEndsStaleUse: an origin that has answered something else is not to be passed over for the rest of the time
// that its old answer allowed.
func TestAnAnswerThatIsNotStoredEndsStaleUse(t *testing.T) {
	for _, tt := range []struct {
		why      string
		lines    []string
		status   int
		request  []string
		goesOn   bool
		received time.Duration
	}{
		{"it has moved", nil, 302, nil, false, 20 * time.Second},
		{"no longer to be stored", []string{"Cache-Control: no-store"}, 200, nil, false, 20 * time.Second},
		{"a failing origin is what stale use is for", nil, 503, nil, true, 20 * time.Second},
		{"an answer to credentials says nothing about the others'", []string{"Cache-Control: max-age=60"}, 200, []string{"Authorization: x"}, true, 20 * time.Second},
		{"nor does a request's own no-store", nil, 200, []string{"Cache-Control: no-store"}, true, 20 * time.Second},
		{"nor a client's reload of what is fresh", []string{"Cache-Control: private"}, 200, nil, true, 5 * time.Second},
	} {
		h := newHarness(t)
		h.policy.StaleIfError = time.Hour
		r := get("/", tt.request...)
		h.store(get("/"), answer(200, "Cache-Control: max-age=10, stale-while-revalidate=600", `ETag: "a"`), "x")
		f, _ := h.Begin(epoch.Add(tt.received), h.key(r), get("/", "Cache-Control: no-cache"))
		if w, reason := f.Respond(r, answer(tt.status, tt.lines...).at(epoch.Add(tt.received)), h.policy); w != nil {
			t.Errorf("%s: stored (%v)", tt.why, reason)
		}
		res := h.want(tt.why, 21*time.Second, get("/"), Stale, ReasonExpired)
		if res.ServeStaleWhileRevalidate != tt.goesOn || !res.ServeStaleOnError {
			t.Errorf("%s: while revalidating: %t, on error: %t", tt.why, res.ServeStaleWhileRevalidate, res.ServeStaleOnError)
		}
	}
}

func TestARememberedKeyIsNotWorthARevalidation(t *testing.T) {
	h := newHarness(t)
	r := get("/", "Authorization: x")
	if h.Refused(epoch, h.key(r), r, "") {
		t.Error("nothing is known yet")
	}
	h.store(r, answer(200, "Cache-Control: max-age=60"), "mine")
	if !h.Refused(epoch.Add(time.Second), h.key(r), r, "") || h.Refused(epoch.Add(time.Second), h.key(r), get("/"), "") {
		t.Error("the next answer to credentials will hardly be another one; that to others may be")
	}
	if h.Refused(epoch.Add(time.Minute), h.key(r), r, "") {
		t.Error("remembered for too long")
	}
}

func TestWhoHasTheWholeFindsItStored(t *testing.T) {
	for _, length := range []int64{4, -1} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			r := get("/")
			f, _ := h.Begin(epoch, h.key(r), r)
			resp := answer(200, "Cache-Control: max-age=60")
			resp.Length = length
			w, _ := f.Respond(r, resp, h.policy)
			whole, _ := w.Object().NewReader(t.Context(), Whole)
			part, _ := w.Object().NewReader(t.Context(), Range{1, 3})
			defer whole.Close()
			defer part.Close()
			var got []byte
			over := false
			go func() {
				got, _ = io.ReadAll(whole)
				over = true
				h.want("with the whole in hand", 0, r, Hit, ReasonFresh)
			}()
			w.Write([]byte("ab"))
			w.Write([]byte("cd"))
			synctest.Wait()
			if b, err := io.ReadAll(part); string(b) != "bc" || err != nil {
				t.Errorf("a part waits for nothing: %q, %v", b, err)
			}
			if over {
				t.Errorf("length %d: the end came before it was stored", length)
			}
			w.Commit(nil)
			synctest.Wait()
			if string(got) != "abcd" {
				t.Errorf("length %d: %q", length, got)
			}
		})
	}
}
