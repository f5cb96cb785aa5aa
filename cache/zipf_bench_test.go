//go:build unix

package cache

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/metrics"
	"testing"
	"time"
	"unsafe"
)

var unpackedObjects = flag.Bool("unpacked", false, "BenchmarkZipf stores its objects unpacked, for comparison")

// BenchmarkZipf measures hits by Zipf's law with exponent 0.9 on objects of about 1 KiB, while other work allocates 512 bytes a request.
//
//	go test ./cache -run '^$' -bench Zipf -benchtime 3s -timeout 20m
func BenchmarkZipf(b *testing.B) {
	for _, n := range []int{20_000, 100_000, 1_000_000} {
		zipf := newZipf(n, 0.9)
		for _, memory := range []Size{256 << 20, 2 << 30} {
			b.Run(fmt.Sprintf("n=%d/memory=%v", n, memory), func(b *testing.B) { benchZipf(b, n, memory, zipf) })
		}
	}
}

var garbage []byte

func benchZipf(b *testing.B, n int, memory Size, zipf []int) {
	c := New(Config{Memory: memory, MaxObject: 1 << 20}, nil)
	t, _, _ := storable(get("/"), &Response{Status: 200, Fields: benchFields, Requested: epoch, Received: epoch}, on())
	body := make([]byte, 1536)
	for i := range n {
		i := (i*7919 + 1) % n // the popular ones are not the oldest
		storeFast(c, t, benchRequest(i), body[:512+i*7919%1024], *unpackedObjects)
	}
	now, p := epoch.Add(time.Second), on()
	rnd := rand.New(rand.NewPCG(1, 1))
	path := make([]byte, 0, 64)
	r := *get("/")
	hits := 0
	warming := true
	look := func() {
		i := zipf[rnd.IntN(len(zipf))]
		path = appendPath(path[:0], i)
		r.Target.Path = unsafe.String(unsafe.SliceData(path), len(path))
		if res := c.Lookup(now, KeyOf("shop", &r), &r, p); res.State == Hit {
			var pieces Pieces
			if res.Object.Pin(&pieces, Whole) {
				pieces.Next()
				pieces.Close()
			}
			hits++
		} else if warming {
			storeFast(c, t, benchRequest(i), body[:512+i*7919%1024], *unpackedObjects)
		}
		garbage = make([]byte, 512)
	}
	for range 4 * n {
		look()
	}
	warming, hits = false, 0
	b.ReportAllocs()
	cpu, gc := cpuTime(), gcTime()
	for b.Loop() {
		look()
	}
	gc, cpu = gcTime()-gc, cpuTime()-cpu
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(gc*1e9/float64(b.N), "gc-ns/op")
	b.ReportMetric(100*float64(hits)/float64(b.N), "%hits")
	b.ReportMetric(float64(c.objects.Load()), "objects")
	b.ReportMetric(float64(c.views.Load()), "views")
}

// gcTime is the CPU time that the collector has used, in seconds.
func gcTime() float64 {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}}
	metrics.Read(s)
	return s[0].Value.Float64() - s[1].Value.Float64()
}
