package proxy

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"nearcast/cache"
)

// staleOnce is an edge whose origin's first answer is stale at once and may serve while it is revalidated; the others wait for release.
func staleOnce(t *testing.T) (e *edge, hits *atomic.Int32, release chan struct{}) {
	release = make(chan struct{})
	var n atomic.Int32
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if i := n.Add(1); i > 1 {
			<-release
			w.Header().Set("Cache-Control", "max-age=600")
			fmt.Fprint(w, i)
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		io.WriteString(w, "1")
	})
	e = newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	return e, hits, release
}

func TestRFC5861_3_QuickServesACrowdAndRevalidatesOnce(t *testing.T) {
	e, hits, release := staleOnce(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				r := request("GET", "/a", "accept", "*/*", "if-none-match", `"other"`)
				a := e.Quick(r)
				if a == nil {
					t.Error("left to Serve")
					return
				}
				e.want("of the crowd", take(a, r), 200, "1", "nearcast; hit; ttl=-")
			}
		})
	}
	wg.Wait()
	r := request("HEAD", "/a")
	if n := testing.AllocsPerRun(100, func() { a := e.Quick(r); a.Done(0, true) }); n != 0 && !raced {
		t.Errorf("%v allocations while another revalidates", n)
	}
	m := e.table.services[0].meters
	if got := m.cache[cacheStale].Get(); got < 500 {
		t.Errorf("%d counted as stale", got)
	}
	close(release)
	e.settle()
	if n := hits.Load(); n != 2 {
		t.Errorf("the origin was asked %d times", n)
	}
	r = request("GET", "/a")
	e.want("then", take(e.Quick(r), r), 200, "2", "nearcast; hit; ttl=")
	if e.revalidations.Load() != 0 {
		t.Errorf("%d are under way", e.revalidations.Load())
	}
}

func TestRevalidationsInTheBackgroundAreBounded(t *testing.T) {
	e, hits, release := staleOnce(t)
	close(release)
	e.revalidations.Store(maxRevalidations)
	r := request("GET", "/a")
	e.want("crowded", take(e.Quick(r), r), 200, "1", "nearcast; hit; ttl=-")
	e.settle()
	if hits.Load() != 1 || e.meters.crowdedOut.Get() != 1 || e.revalidations.Load() != maxRevalidations {
		t.Errorf("asked %d times, %d counted", hits.Load(), e.meters.crowdedOut.Get())
	}
	e.revalidations.Store(0)
	e.want("the next", take(e.Quick(r), r), 200, "1", "nearcast; hit; ttl=-")
	e.settle()
	e.want("then", take(e.Quick(r), r), 200, "2", "nearcast; hit; ttl=")
}

// TestTheRevalidationOutlivesWhatTheFrontEndLent scribbles over the request once its answer is done.
func TestTheRevalidationOutlivesWhatTheFrontEndLent(t *testing.T) {
	asked := make(chan string, 2)
	hold := make(chan struct{})
	var n atomic.Int32
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.Header.Get("X-A")
		if n.Add(1) > 1 {
			<-hold
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) {
		s.Cache.Key = cache.KeyRules{Device: true}
	})
	e.get("/a", "x-a", "one")
	e.settle()
	<-asked
	r := request("GET", "/a", "x-a", "two")
	lent := []byte("two")
	r.Fields[0].Value = text(lent)
	a := e.Quick(r)
	if a == nil {
		t.Fatal("left to Serve")
	}
	a.Done(a.BodyLength, true)
	copy(lent, "???")
	r.Fields[0].Name, r.Target.Path = "gone", "/gone"
	if got := <-asked; got != "/a two" {
		t.Errorf("asked for %q", got)
	}
	close(hold)
	e.settle()
	e.want("then", e.get("/a", "x-a", "one"), 200, "body", "nearcast; hit; ttl=")
}
