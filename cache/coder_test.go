package cache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

func TestTheCodingQueueIsBounded(t *testing.T) {
	h := newCoding(t)
	h.coder.running = maxCoding() // as if they were busy
	for i := range maxCodingQueue + 3 {
		r := get(fmt.Sprintf("/%d", i), "Accept-Encoding: br")
		h.store(get(fmt.Sprintf("/%d", i)), prosaic(), prose[:2<<10])
		h.look(0, r).Object.Form(r)
		h.look(0, r).Object.Form(r) // has asked already
	}
	if n := h.coder.waits.Load(); n != maxCodingQueue {
		t.Errorf("%d wait", n)
	}
	if n := h.counters.codingFull.Get(); n != 6 {
		t.Errorf("full %d times", n)
	}
	h.coder.running = 0
	h.StopCoding()
	if h.coder.waits.Load() != 0 || h.coder.queue != nil {
		t.Error("a closed cache has work to do")
	}
	r := get("/0", "Accept-Encoding: br")
	for range 2 {
		if h.form(r).Fields.Has("content-encoding") {
			t.Error("work after Close")
		}
	}
	for i := range maxCodingQueue + 3 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if h.objects.Load() != 0 {
		t.Error("something is still held")
	}
}

func TestTheBodiesThatWaitToBeCodedAreFew(t *testing.T) {
	h := newCoding(t) // with 8 MiB
	h.coder.running = maxCoding()
	for i := range 4 {
		path := fmt.Sprintf("/%d", i)
		h.store(get(path), prosaic(), strings.Repeat(prose, 13)) // 200 KiB
		h.look(0, get(path)).Object.Form(get(path, "Accept-Encoding: br"))
	}
	if n := h.coder.waits.Load(); n != 2 || h.coder.bytes > 8<<20/codingShare {
		t.Errorf("%d wait, %d bytes", n, h.coder.bytes)
	}
	h.coder.running = 0
}

// encoderFunc is an encoder that is only a function.
type encoderFunc func(p []byte) error

func (f encoderFunc) Write(p []byte) (int, error) { return len(p), f(p) }
func (f encoderFunc) Close() error                { return f(nil) }

func TestAnEncoderThatFails(t *testing.T) {
	for _, tt := range []struct {
		why string
		f   encoderFunc
	}{
		{"an error", func([]byte) error { return io.ErrShortBuffer }},
		{"an error at the end", func(p []byte) error {
			if p == nil {
				return io.ErrShortBuffer
			}
			return nil
		}},
		{"a panic", func([]byte) error { panic("x") }},
	} {
		h := newCoding(t)
		before := h.budget.used.Load()
		h.coder.encoder = func(_ coding.Coding, w io.Writer, _ int, _ int64) (io.WriteCloser, error) {
			w.Write([]byte("half of it"))
			return tt.f, nil
		}
		h.store(get("/"), prosaic(), prose)
		r := get("/", "Accept-Encoding: br")
		for range 3 {
			if h.form(r).Fields.Has("content-encoding") {
				t.Error(tt.why, "is served")
			}
		}
		if n := h.counters.codingError.Get(); n != 1 {
			t.Errorf("%s: %d failures", tt.why, n)
		}
		if h.Purge(h.key(r)); h.budget.used.Load() != before {
			t.Errorf("%s: %d bytes are lost", tt.why, h.budget.used.Load()-before)
		}
	}
}

func TestCloseEndsWhatIsBeingCoded(t *testing.T) {
	h := newCoding(t)
	before := h.budget.used.Load()
	begun := make(chan struct{})
	closing := func() bool { return h.coder.closed.Load() }
	h.coder.encoder = func(coding.Coding, io.Writer, int, int64) (io.WriteCloser, error) {
		return encoderFunc(func(p []byte) error {
			if p == nil {
				t.Error("it went on to the end")
				return nil
			}
			close(begun)
			for !closing() {
				runtime.Gosched()
			}
			return nil
		}), nil
	}
	h.store(get("/"), prosaic(), prose)
	r := get("/", "Accept-Encoding: br")
	h.look(0, r).Object.Form(r)
	<-begun
	h.StopCoding()
	if h.counters.codingError.Get() != 0 {
		t.Error("the end is no failure")
	}
	if h.Purge(h.key(r)); h.budget.used.Load() != before {
		t.Errorf("%d bytes are lost", h.budget.used.Load()-before)
	}
}

// TestFormsOfWhatComesAndGoes has objects stored, refreshed, purged and evicted while forms are made and read; the race detector judges, the
// bytes, and the budget, which must be even at the end.
func TestFormsOfWhatComesAndGoes(t *testing.T) {
	h := harness{t, newCache(1<<20, 1<<20), on()}
	h.policy.Compress.Enabled = true
	before := h.budget.used.Load()
	accepts := []string{"br", "gzip", "zstd", "gzip, br", ""}
	fetch := func(r *message.Request, stored *Object, body string, how int) {
		f, leader := h.Begin(epoch.Add(time.Hour), h.key(r), r)
		if !leader {
			return
		}
		if stored != nil && how < 4 && f.NotModified(r, answer(304, "Cache-Control: max-age=60").at(epoch.Add(time.Hour)), stored, h.policy) != nil {
			return
		}
		w, _ := f.Respond(r, prosaic(`ETag: "1"`), h.policy)
		if w == nil {
			return
		}
		w.Write([]byte(body))
		if how%4 == 0 {
			w.Abort(nil)
		}
		w.Commit(nil)
		w.Object().Form(r)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(g)))
			for range 250 {
				path := fmt.Sprintf("/%d", rng.IntN(12))
				r := get(path, "Accept-Encoding: "+accepts[rng.IntN(len(accepts))])
				body := path + prose[:rng.IntN(len(prose))]
				if rng.IntN(8) == 0 {
					body = path + strings.Repeat(prose, 12)
				}
				switch res := h.look(0, r); rng.IntN(8) {
				case 0:
					h.Purge(h.key(r))
				case 1, 2:
					fetch(r, res.Object, body, rng.IntN(8))
				default:
					if res.Object == nil {
						fetch(get(path), nil, body, 7)
						continue
					}
					o := res.Object.Form(r)
					o.Encoded(message.HTTP1, func(dst []byte, f message.Fields) []byte { return fmt.Append(dst, f) })
					var p Pieces
					if o.Pin(&p, Whole) {
						p.Close()
					}
					if got := h.decoded(o); !strings.HasPrefix(got, path) || !strings.HasSuffix(got, ". ") && !strings.HasPrefix(prose, got[len(path):]) {
						t.Errorf("%s: %d bytes", path, len(got))
					}
				}
			}
		})
	}
	wg.Wait()
	h.StopCoding()
	for i := range 12 {
		h.Purge(h.key(get(fmt.Sprintf("/%d", i))))
	}
	if got := h.budget.used.Load(); got != before {
		t.Errorf("%d bytes are lost", got-before)
	}
}
