package cachebench

import (
	"container/list"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
)

// scan is a crawler: after so many requests of the others' come as many for what nobody else asks for.
const (
	scanEvery  = 20_000
	scanLength = 5_000
)

// hitRatio asks for keys that are as popular as Zipf has it, without scans and with them, and compares with LRU.
func (b *bench) hitRatio(ctx context.Context) error {
	cdf := zipfSums(b.o.Keys, b.o.Zipf)
	for _, scans := range []bool{false, true} {
		for _, share := range []float64{0.01, 0.1} {
			if ctx.Err() != nil {
				return nil
			}
			what := fmt.Sprintf("room for %.0f %% of the keys", share*100)
			if scans {
				what += ", with scans"
			}
			ours, held := b.replayRatio(cdf, share, scans)
			lru := lruRatio(b.o, cdf, held, scans)
			b.add("hit ratio", what, ours*100, "%", fmt.Sprintf("LRU of as many objects (%d): %.1f %%", held, lru*100))
		}
	}
	return nil
}

func zipfSums(n int, s float64) []float64 {
	cdf, sum := make([]float64, n), 0.0
	for k := range cdf {
		sum += math.Pow(float64(k+1), -s)
		cdf[k] = sum
	}
	return cdf
}

// trace calls ask with each key, and whether it is one of the popular ones rather than a scan's.
func trace(o Options, cdf []float64, scans bool, ask func(key int, popular bool)) {
	rnd := rand.New(rand.NewPCG(o.Seed, 3))
	once := len(cdf)
	for i := range o.Requests {
		k, _ := slices.BinarySearch(cdf, rnd.Float64()*cdf[len(cdf)-1])
		ask(min(k, len(cdf)-1), true)
		if scans && i%scanEvery == scanEvery-1 {
			for range scanLength {
				ask(once, false)
				once++
			}
		}
	}
}

// replayRatio is the share of hits among the requests for popular keys, and how many objects there were in the end. The first half warms the cache.
func (b *bench) replayRatio(cdf []float64, share float64, scans bool) (ratio float64, held int) {
	body := make([]byte, b.o.Body)
	limit := max(cache.Size(float64(b.o.Keys)*share*float64(b.o.Body+bytesBesides)), 1<<20)
	set := metrics.NewSet()
	c := cache.New(cache.Config{Memory: limit, MaxObject: limit}, set)
	p, r, now := policy(), request(), time.Now()
	hits, asked, n := 0, 0, 0
	trace(b.o, cdf, scans, func(key int, popular bool) {
		n++
		r.Target.Path = "/o/" + strconv.Itoa(key)
		hit := c.Lookup(now, p.KeyOf(service, r, nil), r, p).State == cache.Hit
		if !hit {
			store(c, now, r, p, body)
		}
		if popular && n > b.o.Requests/2 {
			asked++
			if hit {
				hits++
			}
		}
	})
	return float64(hits) / float64(max(asked, 1)), max(int(set.GetOrCreateGauge("nearcast_cache_objects", nil).Get()), 1)
}

// bytesBesides is about what an object takes besides its body, for choosing a budget.
const bytesBesides = 1200

// lruRatio is what LRU of so many objects would have made of the same requests.
func lruRatio(o Options, cdf []float64, room int, scans bool) float64 {
	at, order := map[int]*list.Element{}, list.New()
	hits, asked, n := 0, 0, 0
	trace(o, cdf, scans, func(key int, popular bool) {
		n++
		e := at[key]
		if e != nil {
			order.MoveToFront(e)
		} else {
			at[key] = order.PushFront(key)
			if order.Len() > room {
				last := order.Back()
				delete(at, last.Value.(int))
				order.Remove(last)
			}
		}
		if popular && n > o.Requests/2 {
			asked++
			if e != nil {
				hits++
			}
		}
	})
	return float64(hits) / float64(max(asked, 1))
}
