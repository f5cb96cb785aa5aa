package cachebench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"nearcast/cache"
	"nearcast/cache/disk"
)

// warm fills a disk with the largest number of objects, closes it, and measures how soon a new process would serve from it.
func (b *bench) warm(ctx context.Context) error {
	if !b.o.Warm {
		return nil
	}
	n := 0
	for _, objects := range b.o.Objects {
		n = max(n, objects)
	}
	dir, err := os.MkdirTemp(b.o.Dir, "nearcast-warm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	size := cache.Size(n)*cache.Size(b.o.Body+2<<10) + 256<<20
	open := func() (*cache.Cache, error) {
		c := cache.New(cache.Config{Memory: cache.Size(n)*200 + 64<<20, MaxObject: 1 << 20}, nil)
		return c, c.OpenDisk(cache.DiskConfig{Path: dir, Size: size, MaxObject: 1 << 20}, nil, nil)
	}
	c, err := open()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := b.fillDisk(ctx, c, n); err != nil {
		return err
	}
	what := count(n) + " objects"
	b.add("disk, written", what, float64(n)/time.Since(began).Seconds(), "objects/s", "the one who stores waits for the disk")
	if err := c.Close(); err != nil {
		return err
	}
	began = time.Now()
	if c, err = open(); err != nil {
		return err
	}
	defer c.Close()
	b.add("disk, reopened", what, since(began), "ms", "until requests are taken")
	if err := b.firstHit(ctx, c, n); err != nil {
		return err
	}
	b.add("disk, first hit", what, since(began), "ms", "since the start, of the newest object")
	for c.Disk().State() == disk.Loading && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	b.add("disk, all known", what, since(began), "ms", fmt.Sprintf("since the start; %d of %d", c.Disk().Len(), n))
	return b.hitsFromDisk(ctx, c, n)
}

func since(t time.Time) float64 { return float64(time.Since(t)) / float64(time.Millisecond) }

// fillDisk stores n objects no faster than the disk takes them.
func (b *bench) fillDisk(ctx context.Context, c *cache.Cache, n int) error {
	p, r, body := policy(), request(), make([]byte, b.o.Body)
	for i := range n {
		r.Target.Path = "/o/" + strconv.Itoa(i)
		if !store(c, time.Now(), r, p, body) {
			return fmt.Errorf("object %d was not stored", i)
		}
		if i%1000 == 999 || i == n-1 {
			if err := c.Sync(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// firstHit asks for the last object until it is found.
func (b *bench) firstHit(ctx context.Context, c *cache.Cache, n int) error {
	for until := time.Now().Add(5 * time.Minute); !b.isHit(ctx, c, n-1); time.Sleep(100 * time.Microsecond) {
		if ctx.Err() != nil || time.Now().After(until) {
			return fmt.Errorf("no hit: %w", ctx.Err())
		}
	}
	return nil
}

func (b *bench) isHit(ctx context.Context, c *cache.Cache, i int) bool {
	p, r, now := policy(), request(), time.Now()
	r.Target.Path = "/o/" + strconv.Itoa(i)
	key := p.KeyOf(service, r, nil)
	return c.Load(ctx, now, key, r, p, c.Lookup(now, key, r, p)).State == cache.Hit
}

// hitsFromDisk times hits on what is not in memory.
func (b *bench) hitsFromDisk(ctx context.Context, c *cache.Cache, n int) error {
	hits, asked := 0, min(n, 20_000)
	began := time.Now()
	for i := range asked {
		if b.isHit(ctx, c, i*(n/asked)) {
			hits++
		}
	}
	b.add("disk, hit", count(n)+" objects", since(began)*1000/float64(asked), "µs", fmt.Sprintf("one after the other, stored in memory too; %d of %d were hits", hits, asked))
	if hits < asked*9/10 {
		return fmt.Errorf("%d of %d were hits", hits, asked)
	}
	return nil
}
