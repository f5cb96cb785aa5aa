package cachebench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bench/hitratio"
	"nearcast/cache"
)

// scan is a crawler: after so many requests of the others' come as many for what nobody else asks for.
const (
	scanEvery  = 20_000
	scanLength = 5_000
)

// hitRatio asks for keys that are as popular as Zipf has it, without scans and with them, and compares with LRU.
func (b *bench) hitRatio(ctx context.Context) error {
	popular := hitratio.NewPopularity(b.o.Keys, b.o.Zipf)
	for _, scans := range []bool{false, true} {
		for _, share := range []float64{0.01, 0.1} {
			if ctx.Err() != nil {
				return nil
			}
			what := fmt.Sprintf("room for %.0f %% of the keys", share*100)
			if scans {
				what += ", with scans"
			}
			ours, held := b.ourRatio(popular, share, scans)
			l := hitratio.NewLRU(int64(held))
			lru := b.play(popular, scans, func(key int) bool { return l.Get(hitratio.Request{Key: uint64(key), Size: 1}) })
			b.add("hit ratio", what, ours*100, "%", fmt.Sprintf("LRU of as many objects (%d): %.1f %%", held, lru*100))
		}
	}
	return nil
}

// play asks get with each key, and returns the share of hits among the requests for popular keys. The first half is to warm a cache.
func (b *bench) play(popular hitratio.Popularity, scans bool, get func(key int) (hit bool)) float64 {
	rnd := rand.New(rand.NewPCG(b.o.Seed, 3))
	once, hits, asked, n := b.o.Keys, 0, 0, 0
	for i := range b.o.Requests {
		hit := get(popular.Rank(rnd))
		if n++; n > b.o.Requests/2 {
			asked++
			if hit {
				hits++
			}
		}
		if scans && i%scanEvery == scanEvery-1 {
			for range scanLength {
				get(once)
				once++
				n++
			}
		}
	}
	return float64(hits) / float64(max(asked, 1))
}

// ourRatio is the share of hits of the cache, and how many objects there were in the end.
func (b *bench) ourRatio(popular hitratio.Popularity, share float64, scans bool) (ratio float64, held int) {
	body := make([]byte, b.o.Body)
	limit := max(cache.Size(float64(b.o.Keys)*share*float64(b.o.Body+bytesBesides)), 1<<20)
	set := metrics.NewSet()
	c := cache.New(cache.Config{Memory: limit, MaxObject: limit}, set)
	p, r, now := policy(), request(), time.Now()
	ratio = b.play(popular, scans, func(key int) bool {
		r.Target.Path = "/o/" + strconv.Itoa(key)
		if c.Lookup(now, p.KeyOf(service, r, nil), r, p).State == cache.Hit {
			return true
		}
		store(c, now, r, p, body)
		return false
	})
	return ratio, max(int(set.GetOrCreateGauge("nearcast_cache_objects", nil).Get()), 1)
}

// bytesBesides is about what an object takes besides its body, for choosing a budget.
const bytesBesides = 1200
