package cache

import (
	"fmt"
	"math/rand"
	"testing"
	"time"
)

// BenchmarkLookup is a hit with a view: of one object by the number of fields that it varies by, and of 100,000 by Zipf's law.
func BenchmarkLookup(b *testing.B) {
	lines := []string{"Accept-Encoding: gzip, deflate, br", "User-Agent: Mozilla/5.0", "Accept: */*", "Accept-Language: en-GB, en;q=0.5", "Origin: https://shop.example"}
	for _, vary := range []string{"", "Accept-Encoding", "Accept-Language, Origin, Accept, Accept-Encoding, User-Agent"} {
		b.Run("vary="+vary, func(b *testing.B) {
			h := newHarness(b)
			r := get("/a/path/of/ordinary/length.html?v=12345", lines...)
			h.store(r, answer(200, "Cache-Control: max-age=60", "Vary: "+vary), "body")
			now := epoch.Add(time.Second)
			b.ReportAllocs()
			for b.Loop() {
				if res := h.Lookup(now, KeyOf("shop", r), r, h.policy); res.State != Hit {
					b.Fatal(res.State)
				}
			}
		})
	}
	b.Run("zipf", func(b *testing.B) {
		h := newHarness(b)
		h.Cache = New(Config{Memory: 256 << 20, MaxObject: 1 << 20}, nil)
		zipf := rand.NewZipf(rand.New(rand.NewSource(1)), 1.1, 1, 99_999)
		for i := range 100_000 {
			h.store(get(fmt.Sprintf("/a/path/of/ordinary/length.html?v=%d", i)), answer(200, "Cache-Control: max-age=60"), "body")
		}
		r := get("/a/path/of/ordinary/length.html?v=1", lines...)
		queries := make([]string, 1<<16)
		for i := range queries {
			queries[i] = fmt.Sprintf("v=%d", zipf.Uint64())
		}
		now, hits, n := epoch.Add(time.Second), 0, 0
		b.ReportAllocs()
		for b.Loop() {
			r.Target.Query = queries[n%len(queries)]
			if n++; h.Lookup(now, KeyOf("shop", r), r, h.policy).State == Hit {
				hits++
			}
		}
		b.ReportMetric(float64(hits)/float64(n), "hits/op")
	})
}
