package cache

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// filled is a cache with n objects of one tag each of a thousand.
func filled(b *testing.B, n int) harness {
	h := harness{b, newCache(8<<30, 1<<20), on()}
	for i := range n {
		h.store(get(fmt.Sprint("/d", i%100, "/", i)), answer(200, "Cache-Control: max-age=600", fmt.Sprint("Surrogate-Key: page t", i%1000)), "x")
	}
	return h
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
	h := filled(b, 1e6)
	for _, c := range []struct {
		name string
		do   func(i int)
	}{
		{"tag", func(i int) { h.PurgeTag(epoch, "", fmt.Sprint("t", i%1000), false) }},
		{"prefix", func(i int) { h.PurgePrefix(epoch, "", fmt.Sprint("https://shop.example.com/d", i%100, "/"), false) }},
		{"url", func(i int) { h.PurgeURL(epoch, h.key(get(fmt.Sprint("/d", i%100, "/", i))), false) }},
		{"all", func(int) { h.PurgeAll(epoch, "", false) }},
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
// frees everything. It takes one iteration (-benchtime 1x) and reports CPU time.
func BenchmarkSweep(b *testing.B) {
	const objects = 1e6
	h := filled(b, objects)
	runtime.GC()
	for _, c := range []struct{ name, tag string }{{"none", "other"}, {"thousandth", "t7"}, {"all", "page"}} {
		h.PurgeTag(epoch, "", c.tag, false)
		before := cpuTime()
		for i := range h.shards {
			for first := uint32(1); h.settleBatch(&h.shards[i], first); first += sweepBatch {
			}
		}
		b.ReportMetric(float64(cpuTime()-before)/objects, "cpu-ns/object("+c.name+")")
	}
}
