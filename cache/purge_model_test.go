package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// The model remembers when each fetch began and everything that was ever purged, and looks through all of it.

type modelPurge struct {
	at     int // the step
	soft   bool
	covers func(service, path string, tags []string) bool
}

type modelFetch struct {
	service, path string
	tags          []string
	began         int
}

// purgedBy is the hardest of the purges from since on that concern the fetch.
func (f *modelFetch) purgedBy(log []modelPurge) (hard, soft bool) {
	for _, p := range log {
		if p.at > f.began && p.covers(f.service, f.path, f.tags) {
			hard, soft = hard || !p.soft, soft || p.soft
		}
	}
	return hard, soft
}

// randomPurge purges something of the cache, and says what the model is to know of it.
func randomPurge(rnd *rand.Rand, c *Cache, now time.Time, step int) modelPurge {
	soft := rnd.IntN(2) == 0
	service := []string{"", "shop", "blog"}[rnd.IntN(3)]
	in := func(s string) bool { return service == "" || service == s }
	p := modelPurge{at: step, soft: soft}
	switch n := rnd.IntN(10); {
	case n == 0:
		c.PurgeAll(now, service, soft)
		p.covers = func(s, _ string, _ []string) bool { return in(s) }
	case n < 4:
		tag := fmt.Sprint("t", rnd.IntN(12))
		c.PurgeTag(now, service, tag, soft)
		p.covers = func(s, _ string, tags []string) bool {
			for _, x := range tags {
				if x == tag {
					return in(s)
				}
			}
			return false
		}
	case n < 7:
		prefix := fmt.Sprint("/", rnd.IntN(4), "/", rnd.IntN(4))
		prefix = prefix[:1+rnd.IntN(len(prefix))]
		c.PurgePrefix(now, service, "https://shop.example.com"+prefix, soft)
		p.covers = func(s, path string, _ []string) bool { return in(s) && strings.HasPrefix(path, prefix) }
	default:
		path := fmt.Sprint("/", rnd.IntN(4), "/", rnd.IntN(4))
		if service == "" {
			service = "shop"
		}
		c.PurgeURL(now, KeyOf(service, get(path)), soft)
		p.covers = func(s, at string, _ []string) bool { return in(s) && at == path }
	}
	return p
}

// rank is how much is left of what was stored.
var rank = map[State]int{Hit: 0, Stale: 1, Miss: 2}

// TestHistoriesAgreeWithTheModel: nothing that was purged after its fetch began is ever served as fresh, and everything else is, in random histories
// of stores, fetches under way, purges, sweeps and lookups.
func TestHistoriesAgreeWithTheModel(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		c, policy := small(), on()
		if seed%2 == 1 {
			c.purges.limit = 1 << 20 // nothing is forgotten: the model must agree exactly
		} else {
			c.purges.limit = 4
		}
		exact := seed%2 == 1
		var log []modelPurge
		stored := map[string]*modelFetch{}
		type pending struct {
			*modelFetch
			fill *Fill
		}
		var underWay []pending
		for step := range 400 {
			now := epoch.Add(time.Duration(step) * time.Millisecond)
			service, path := []string{"shop", "blog"}[rnd.IntN(2)], fmt.Sprint("/", rnd.IntN(4), "/", rnd.IntN(4))
			r, id := get(path), service+path
			key := KeyOf(service, r)
			switch rnd.IntN(8) {
			case 0:
				log = append(log, randomPurge(rnd, c, now, step))
			case 1:
				c.sweep(t.Context())
			case 2, 3:
				if f, leader := c.Begin(now, key, r); leader {
					underWay = append(underWay, pending{&modelFetch{service: service, path: path, began: step}, f})
				}
			case 4, 5:
				if len(underWay) == 0 {
					continue
				}
				i := rnd.IntN(len(underWay))
				p := underWay[i]
				underWay = append(underWay[:i], underWay[i+1:]...)
				for range rnd.IntN(4) {
					p.tags = append(p.tags, fmt.Sprint("t", rnd.IntN(12)))
				}
				resp := answer(200, "Cache-Control: max-age=3600", `ETag: "1"`, "Surrogate-Key: "+strings.Join(p.tags, " "), fmt.Sprint("X-Began: ", p.began)).at(now)
				w, _ := p.fill.Respond(get(p.path), resp, policy)
				reason := w.Commit(nil)
				hard, _ := p.purgedBy(log)
				if hard && reason == ReasonStored || exact && !hard && reason != ReasonStored {
					t.Fatalf("seed %d, step %d: purged %t, %v", seed, step, hard, reason)
				}
				if reason == ReasonStored {
					stored[p.service+p.path] = p.modelFetch
				}
			default:
				res := c.Lookup(now, key, r, policy)
				f := stored[id]
				if f == nil {
					if res.Object != nil {
						t.Fatalf("seed %d, step %d: found what was never stored", seed, step)
					}
					continue
				}
				hard, soft := f.purgedBy(log)
				want := Hit
				switch {
				case hard:
					want = Miss
				case soft:
					want = Stale
				}
				if rank[res.State] < rank[want] || exact && res.State != want { // a table that is full may purge too much
					t.Fatalf("seed %d, step %d: %s is %v, want %v", seed, step, id, res.State, want)
				}
			}
		}
		for _, p := range underWay {
			p.fill.Fail(nil)
		}
	}
}

// TestPurgesRaceWithEverything: after a hard purge has returned nobody gets what was fetched before, whatever else goes on.
func TestPurgesRaceWithEverything(t *testing.T) {
	c, policy := small(), on()
	ctx, stop := context.WithCancel(t.Context())
	var version sync.Map // path → the number that the origin's next answer has
	var background, wg sync.WaitGroup
	background.Go(func() {
		for ctx.Err() == nil {
			c.sweep(ctx)
		}
	})
	now := time.Now()
	for g := range 4 {
		wg.Go(func() {
			path := fmt.Sprint("/", g)
			r := get(path)
			key := KeyOf("shop", r)
			for n := range 300 {
				version.Store(path, n)
				if n%2 == 0 {
					c.PurgeTag(now, "", path, false)
				} else {
					c.PurgePrefix(now, "", "https://shop.example.com"+path, false)
				}
				for range 3 {
					res := c.Lookup(now, key, r, policy)
					if res.State != Hit {
						f, leader := c.Begin(now, key, r)
						if !leader {
							continue
						}
						v, _ := version.Load(path)
						w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=600", "Surrogate-Key: "+path, fmt.Sprint("V: ", v)).at(now), policy)
						w.Commit(nil)
						continue
					}
					if got := res.Object.Fields.Get("v"); got != fmt.Sprint(n) {
						t.Errorf("%s: version %s after the purge for %d", path, got, n)
					}
				}
			}
		})
		wg.Go(func() { // others, whose fetches begin and end at any time
			path := fmt.Sprint("/", g)
			r := get(path)
			key := KeyOf("shop", r)
			for range 300 {
				f, leader := c.Begin(now, key, r)
				if !leader {
					continue
				}
				v, ok := version.Load(path)
				if !ok {
					f.Fail(nil)
					continue
				}
				w, _ := f.Respond(r, answer(200, "Cache-Control: max-age=600", "Surrogate-Key: "+path, fmt.Sprint("V: ", v)).at(now), policy)
				if w != nil {
					w.Commit(nil)
				}
			}
		})
	}
	wg.Wait()
	stop()
	background.Wait()
}
