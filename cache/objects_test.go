//go:build unix

package cache

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"nearcast/proxy/message"
)

var objectCounts = flag.String("objects", "10000", "the numbers of objects for BenchmarkObjects, separated by commas")

// BenchmarkObjects measures a store of many small objects: 10 fields of 300 bytes in all, bodies of 100 to 500.
//
//	go test ./cache -run '^$' -bench Objects -objects 10000,1000000,10000000 -cpu 1,2 -timeout 20m
func BenchmarkObjects(b *testing.B) {
	for _, s := range strings.Split(*objectCounts, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("n="+s, func(b *testing.B) { benchObjects(b, n) })
	}
}

func benchObjects(b *testing.B, n int) {
	zipf := newZipf(n, 1)
	before := resident()
	c := New(Config{Memory: Size(n)*3000 + 8<<20, MaxObject: 1 << 20}, nil)
	empty := c.budget.used.Load()
	start := time.Now()
	content := fillObjects(b, c, n)
	took := time.Since(start)
	if got := c.objects.Load(); got != int64(n) {
		b.Fatalf("%d objects of %d stored", got, n)
	}
	b.Run("memory", func(b *testing.B) {
		runtime.GC()
		for b.Loop() {
		}
		b.ReportMetric(float64(took.Nanoseconds())/float64(n), "ns/insert")
		b.ReportMetric(float64(content)/float64(n), "content-B/object")
		b.ReportMetric(float64(c.budget.used.Load()-empty-content)/float64(n), "charged-beyond-B/object")
		b.ReportMetric(float64(resident()-before-content)/float64(n), "resident-beyond-B/object")
	})
	b.Run("collection", benchCollection)
	b.Run("churn", func(b *testing.B) { benchChurn(b, c, n) })
	for name, pick := range map[string]func(r *rand.Rand) int{
		"uniform": func(r *rand.Rand) int { return r.IntN(n) },
		"zipf1":   func(r *rand.Rand) int { return zipf[r.IntN(len(zipf))] },
		"hot1000": func(r *rand.Rand) int { return r.IntN(1000) },
	} {
		b.Run("hit/"+name, func(b *testing.B) { benchHits(b, c, pick) })
	}
	b.Run("collection-with-views", benchCollection)
	runtime.KeepAlive(c)
}

func benchCollection(b *testing.B) {
	cpu := cpuTime()
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/1000/float64(b.N), "cpu-ms/cycle")
}

// benchChurn stores new objects while hits go on, with the collector at work; the pauses and assists are what is of interest.
func benchChurn(b *testing.B, c *Cache, n int) {
	now, p := epoch.Add(time.Second), on()
	from := sampleGC()
	next := n
	b.ReportAllocs()
	for b.Loop() {
		storeObject(b, c, next)
		next++
		for i := range 10 {
			r := benchRequest((next*7919 + i*104729) % n)
			c.Lookup(now, KeyOf("shop", r), r, p)
		}
	}
	to := sampleGC()
	b.ReportMetric(1e6*to.pauses.quantile(from.pauses, 0.99), "p99-pause-us")
	b.ReportMetric(1e6*to.pauses.quantile(from.pauses, 1), "max-pause-us")
	b.ReportMetric(100*(to.assist-from.assist)/(to.total-from.total), "assist-%cpu")
	b.ReportMetric(100*(to.mark-from.mark)/(to.total-from.total), "mark-%cpu")
}

func benchHits(b *testing.B, c *Cache, pick func(*rand.Rand) int) {
	now, p := epoch.Add(time.Second), on()
	var seed, hits, all atomic.Int64
	b.ReportAllocs()
	cpu := cpuTime()
	b.RunParallel(func(pb *testing.PB) {
		rnd := rand.New(rand.NewPCG(uint64(seed.Add(1)), 1))
		path := make([]byte, 0, 64)
		found, total := int64(0), int64(0)
		r := *get("/")
		for pb.Next() {
			path = appendPath(path[:0], pick(rnd))
			r.Target.Path = unsafe.String(unsafe.SliceData(path), len(path))
			res := c.Lookup(now, KeyOf("shop", &r), &r, p)
			total++
			if res.State == Hit {
				var pieces Pieces
				if res.Object.Pin(&pieces, Whole) {
					pieces.Next()
					pieces.Close()
				}
				found++
			}
		}
		hits.Add(found)
		all.Add(total)
	})
	b.ReportMetric(float64((cpuTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op") // which a busy machine changes less
	b.ReportMetric(100*float64(hits.Load())/float64(all.Load()), "%hits")
}

func appendPath(b []byte, i int) []byte {
	return strconv.AppendInt(append(b, "/assets/images/product/"...), int64(i), 36)
}

func benchRequest(i int) *message.Request {
	r := get("/")
	r.Target.Path = string(appendPath(nil, i))
	return r
}

// benchFields are ten lines of 300 bytes in all.
var benchFields = fields("Date: Sun, 01 Mar 2026 12:00:00 GMT", "Content-Type: image/webp", "Cache-Control: public, max-age=600", "ETag: \"5f1b2c3d4e5f6071\"",
	"Last-Modified: Sat, 28 Feb 2026 12:00:00 GMT", "Server: origin", "X-Content-Type-Options: nosniff", "Accept-Ranges: bytes",
	"X-Edge-Node: fra-12", "X-Trace: 0123456789abcdef0123456789")

var benchBody = make([]byte, 512)

func storeObject(b *testing.B, c *Cache, i int) (content int64) {
	r := benchRequest(i)
	key := KeyOf("shop", r)
	f, leader := c.Begin(epoch, key, r)
	if !leader {
		return 0
	}
	size := 100 + i*7919%401
	w, reason := f.Respond(r, Response{Status: 200, Fields: benchFields, Length: int64(size), Requested: epoch, Received: epoch}, on())
	if w == nil {
		b.Fatal(reason)
	}
	w.Write(benchBody[:size])
	if reason := w.Commit(nil); reason != ReasonStored {
		b.Fatal(reason)
	}
	return int64(key.size() + stringBytes(benchFields) + size)
}

func fillObjects(b *testing.B, c *Cache, n int) (content int64) {
	if n >= 1_000_000 {
		return fillFast(c, n)
	}
	for i := range n {
		content += storeObject(b, c, i)
	}
	return content
}

// fillFast stores what storeObject does, without a fill for each: ten million of these take minutes.
func fillFast(c *Cache, n int) (content int64) {
	t, _, _ := storable(get("/"), &Response{Status: 200, Fields: benchFields, Requested: epoch, Received: epoch}, on())
	for i := range n {
		size := 100 + i*7919%401
		content += storeFast(c, t, benchRequest(i), benchBody[:size], false)
	}
	return content
}

func storeFast(c *Cache, t terms, r *message.Request, body []byte, unpacked bool) (content int64) {
	key := KeyOf("shop", r)
	o := &Object{Status: 200, Fields: benchFields, Length: int64(len(body)), received: epoch, terms: t}
	o.body = newBody(&c.budget, 0)
	e := &entry{obj: o}
	if unpacked {
		o.Fields = compact(benchFields)
		o.encoded = &encoded{c: c}
		e.cost = metaCost(key, o, nil)
		if !c.reserve(e.cost + int64(len(body))) {
			return 0
		}
		key, body = key.clone(), append([]byte(nil), body...)
		o.body.charged = int64(len(body))
	}
	o.body.chunks, o.body.size = []chunk{{data: body}}, int64(len(body))
	o.body.keep(nil, 0)
	if !unpacked {
		e.packed, _ = c.pack(key, o, nil)
	}
	hash := key.hash(c.seed)
	s := c.shard(hash)
	c.lockForInsert(s)
	c.insert(s, key, hash, r, e)
	s.mu.Unlock()
	return int64(key.size() + stringBytes(benchFields) + len(body))
}

// newZipf is a table of samples of popularity 1/rank^s.
func newZipf(n int, s float64) []int {
	sum, acc := 0.0, 0.0
	for i := range n {
		sum += math.Pow(float64(i+1), -s)
	}
	samples := make([]int, 0, 1<<20)
	for i := range n {
		acc += math.Pow(float64(i+1), -s)
		for len(samples) < int(acc/sum*float64(cap(samples))) {
			samples = append(samples, int(uint32(i)*2654435761%uint32(n)))
		}
	}
	return samples
}

// resident is the process's resident memory.
func resident() int64 {
	debug.FreeOSMemory()
	b, _ := os.ReadFile("/proc/self/statm")
	var size, rss int64
	fmt.Sscan(string(b), &size, &rss)
	return rss * int64(os.Getpagesize())
}

// cpuTime is what the process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type gcSample struct {
	mark, assist, total float64 // CPU seconds
	pauses              histogram
}

type histogram struct{ *metrics.Float64Histogram }

func sampleGC() gcSample {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/sched/pauses/total/gc:seconds"}}
	runtime.GC() // the CPU classes are worked out then
	metrics.Read(s)
	v := func(i int) float64 { return s[i].Value.Float64() }
	return gcSample{v(0) + v(1) + v(2), v(0), v(3), histogram{s[4].Value.Float64Histogram()}}
}

// quantile is of what h has more than before; the upper bound of its bucket.
func (h histogram) quantile(before histogram, q float64) float64 {
	total, seen := uint64(0), uint64(0)
	for i, n := range h.Counts {
		total += n - before.Counts[i]
	}
	for i, n := range h.Counts {
		if seen += n - before.Counts[i]; seen > 0 && float64(seen) >= q*float64(total) {
			return h.Buckets[i+1]
		}
	}
	return 0
}
