package cache

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// filled is a cache with a million objects, each with one tag of a thousand. It is made once, as that takes longer than all that is measured.
func filled(b *testing.B) harness {
	million.once.Do(func() { million.c = fill(b, 1e6) })
	return harness{b, million.c, on()}
}

var million struct {
	once    sync.Once
	c       *Cache
	objects float64
}

func fill(b *testing.B, n int) *Cache {
	h := harness{b, newCache(8<<30, 1<<20), on()}
	for i := range n {
		h.store(get(fmt.Sprint("/d", i%100, "/", i)), answer(200, "Cache-Control: max-age=600", fmt.Sprint("Surrogate-Key: page t", i%1000)), "x")
	}
	return h.Cache
}

// BenchmarkHit is a lookup that hits: with purges that came before the object was compared, and with one before each lookup.
func BenchmarkHit(b *testing.B) {
	for _, c := range []struct {
		name    string
		pending int
		each    bool
	}{{"purges=0", 0, false}, {"purges=1000", 1000, false}, {"purge-before-each", 1000, true}} {
		b.Run(c.name, func(b *testing.B) {
			h := harness{b, newCache(1<<30, 1<<20), on()}
			r := get("/img/a/picture.jpg?w=100")
			h.store(r, answer(200, "Cache-Control: max-age=600", "Surrogate-Key: a b c d"), "x")
			for i := range c.pending {
				h.PurgeTag(epoch, "", fmt.Sprint("other", i), false)
				h.PurgePrefix(epoch, "", fmt.Sprint("https://shop.example.com/other/", i), false)
			}
			key, now := h.key(r), epoch.Add(time.Second)
			b.ReportAllocs()
			for b.Loop() {
				if c.each {
					n := h.purges.seq.Add(1) // as a purge of something else
					h.purges.lastOf[PurgeTag], h.purges.lastOf[PurgePrefix] = n, n
				}
				if res := h.Lookup(now, key, r, h.policy); res.State != Hit {
					b.Fatal(res.State)
				}
			}
		})
	}
}

// BenchmarkPurge is the call, with a million objects.
func BenchmarkPurge(b *testing.B) {
	h := filled(b)
	for _, c := range []struct {
		name string
		do   func(i int)
	}{
		{"tag", func(i int) { h.PurgeTag(epoch, "", fmt.Sprint("t", i%1000), true) }},
		{"prefix", func(i int) { h.PurgePrefix(epoch, "", fmt.Sprint("https://shop.example.com/d", i%100, "/"), true) }},
		{"url", func(i int) { h.PurgeURL(epoch, h.key(get(fmt.Sprint("/d", i%100, "/", i))), true) }},
		{"all", func(int) { h.PurgeAll(epoch, "", true) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				c.do(i)
				i++
			}
		})
	}
}

// BenchmarkSweep is a sweep through a million objects, without its pauses: one that frees nothing, one that frees a thousandth, one that
// frees everything. It is made once, however many iterations there are, and reports CPU time for each object.
func BenchmarkSweep(b *testing.B) {
	for _, c := range swept(b) {
		b.ReportMetric(float64(c.cost)/million.objects, "cpu-ns/object("+c.name+")")
	}
}

var swept = func() func(*testing.B) []sweepCost {
	var once sync.Once
	var costs []sweepCost
	return func(b *testing.B) []sweepCost {
		once.Do(func() {
			h := filled(b)
			million.objects = float64(h.objects.Load())
			for _, c := range []struct{ name, tag string }{{"none", "other"}, {"thousandth", "t7"}, {"all", "page"}} {
				h.PurgeTag(epoch, "", c.tag, false)
				runtime.GC()
				before := cpuTime()
				for i := range h.shards {
					for first := uint32(1); h.settleBatch(&h.shards[i], first); first += sweepBatch {
					}
				}
				costs = append(costs, sweepCost{c.name, cpuTime() - before})
			}
		})
		return costs
	}
}()

type sweepCost struct {
	name string
	cost time.Duration
}
