package cachebench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"golang.org/x/sys/unix"

	"nearcast/cache"
	"nearcast/geo"
	"nearcast/proxy"
)

// cost fills a store with each number of objects, and measures what it takes to store, to look up, to answer, to hold and to purge them.
func (b *bench) cost(ctx context.Context) error {
	for _, n := range b.o.Objects {
		if ctx.Err() != nil {
			return nil
		}
		if err := b.costAt(n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) costAt(n int) error {
	what := count(n) + " objects"
	limit := cache.Size(n)*cache.Size(b.o.Body+bytesBesides) + 64<<20 // room for all, and for views
	set := metrics.NewSet()
	before := heap()
	c := cache.New(cache.Config{Memory: limit, MaxObject: 1 << 20}, set)
	p, r, body := policy(), request(), make([]byte, b.o.Body)
	stored := 0
	ns, allocs := timed(n, func(i int) {
		r.Target.Path = "/o/" + strconv.Itoa(i)
		if store(c, time.Now(), r, p, body) {
			stored++
		}
	})
	if stored != n {
		return fmt.Errorf("%d of %d objects were stored", stored, n)
	}
	b.add("store", what, ns, "ns CPU", fmt.Sprintf("%.1f allocations", allocs))
	used := set.GetOrCreateGauge("nearcast_cache_bytes", nil).Get()
	b.add("memory", what, used/float64(n)-float64(b.o.Body), "bytes/object",
		fmt.Sprintf("of the budget, its fixed tables included, besides a body of %d bytes; the collector's heap grew by %d an object", b.o.Body, (heap()-before)/int64(n)))
	b.pause(what)

	edge, err := newEdge(c, set, "http://127.0.0.1:9")
	if err != nil {
		return err
	}
	defer edge.Close()
	for _, h := range []hits{{"popular", b.paths(min(n, popular), 1<<16), true}, {"any", b.paths(n, b.o.Requests), false}} {
		if err := b.hits(c, edge, what, h); err != nil {
			return err
		}
	}
	return b.purges(c, what, p, n)
}

// popular is how many objects are asked for again and again. All of them have a view: the store keeps unpacked what is asked for often.
const popular = 1000

// hits are the objects that are asked for.
type hits struct {
	of    string
	paths []string
	views bool // a hit must not allocate
}

// mayAllocate is for what else goes on in the process: so many allocations a hit, where one of our own would be at least one.
const mayAllocate = 0.1

// hits measures what a hit takes, of the lookup alone and of the whole answer without its connection.
func (b *bench) hits(c *cache.Cache, edge *proxy.Proxy, what string, h hits) error {
	p, r, now, missed := policy(), request(), time.Now(), 0
	lookup := func(i int) {
		r.Target.Path = h.paths[i%len(h.paths)]
		if c.Lookup(now, p.KeyOf(service, r, nil), r, p).State != cache.Hit {
			missed++
		}
	}
	quick := func(i int) {
		r.Target.Path = h.paths[i%len(h.paths)]
		a := edge.Quick(r)
		if a == nil {
			missed++
			return
		}
		for a.Body != nil && a.Body.Next() != nil {
		}
		a.Done(a.BodyLength, true)
	}
	if h.views { // which the first hits make
		timed(3*len(h.paths), quick)
	}
	for _, hit := range []struct {
		name string
		f    func(int)
	}{{"Lookup", lookup}, {"Quick", quick}} {
		ns, allocs := timed(b.o.Requests, hit.f)
		if missed > 0 {
			return fmt.Errorf("%d requests were no hits", missed)
		}
		if h.views && !raced && allocs > mayAllocate {
			return fmt.Errorf("a hit of an object with a view takes %.3f allocations (%s)", allocs, hit.name)
		}
		b.add("hit, "+hit.name, what+", "+h.of, ns, "ns CPU", fmt.Sprintf("%.1f allocations", allocs))
	}
	return nil
}

// purges measures each way to purge, and that nothing is left after it.
func (b *bench) purges(c *cache.Cache, what string, p *cache.Policy, n int) error {
	if len(b.o.Purges) == 0 {
		b.add("purge", what, 0, "µs", "not in this build")
		return nil
	}
	r, body := request(), make([]byte, b.o.Body)
	for _, purge := range b.o.Purges {
		start := time.Now()
		if err := purge.Do(c, start); err != nil {
			return err
		}
		took := time.Since(start)
		for i := range min(n, 1000) {
			r.Target.Path = "/o/" + strconv.Itoa(i)
			if c.Lookup(time.Now(), p.KeyOf(service, r, nil), r, p).State == cache.Hit {
				return fmt.Errorf("purged by %s, and still a hit: %s", purge.Name, r.Target.Path)
			}
			store(c, time.Now(), r, p, body)
		}
		b.add("purge", what+", by "+purge.Name, float64(took.Microseconds()), "µs", "the call")
	}
	return nil
}

// pause is the longest time that one collection stops everything.
func (b *bench) pause(what string) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	runtime.GC()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	b.add("collection", what, float64(after.PauseTotalNs-before.PauseTotalNs)/1e3, "µs", fmt.Sprintf("its pauses together; it took %v", took.Round(time.Millisecond)))
}

// paths are those of so many random objects of n, made beforehand.
func (b *bench) paths(n, many int) []string {
	rnd := rand.New(rand.NewPCG(b.o.Seed, 4))
	paths := make([]string, many)
	for i := range paths {
		paths[i] = "/o/" + strconv.Itoa(rnd.IntN(n))
	}
	return paths
}

// timed calls f n times, and returns what a call took: ns of CPU time of the process, the collector's part in it included, which others on the
// machine disturb less than time by the clock, and allocations.
func timed(n int, f func(i int)) (ns, allocs float64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpuTime()
	for i := range n {
		f(i)
	}
	took := cpuTime() - start
	runtime.ReadMemStats(&after)
	return float64(took) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)
}

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func count(n int) string {
	switch {
	case n%1_000_000 == 0:
		return strconv.Itoa(n/1_000_000) + " M"
	case n%1000 == 0:
		return strconv.Itoa(n/1000) + " k"
	}
	return strconv.Itoa(n)
}

// newEdge is the pipeline in front of an origin.
func newEdge(c *cache.Cache, set *metrics.Set, origin string) (*proxy.Proxy, error) {
	var s proxy.ServiceConfig
	s.SetDefaults()
	s.Hosts, s.Origins = []string{"shop.example"}, map[string][]string{"here": {origin}}
	return proxy.New(proxy.Options{Edge: "bench", Region: "here", Regions: map[string]geo.Region{"here": {}}, Services: map[string]proxy.ServiceConfig{service: s},
		MaxBody: 1 << 20, MaxHeader: 64 << 10, Cache: c, Set: set, AccessLog: io.Discard})
}
