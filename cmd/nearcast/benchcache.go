package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"nearcast/bench/cachebench"
	benchreport "nearcast/bench/report"
	"nearcast/cache"
)

type benchCacheCmd struct {
	Quick    bool       `help:"A few seconds: shows that everything works, not how fast it is."`
	Objects  []int      `placeholder:"N,..." help:"Sizes of the store. Default: 10000,1000000, quick 10000,100000. Ten million take some 10 GiB."`
	Body     cache.Size `default:"512" help:"Length of every body."`
	Requests int        `placeholder:"N" help:"Requests of a hit ratio, and hits that are timed. Default: 2000000, quick 200000."`
	Keys     int        `placeholder:"N" help:"Objects that a hit ratio's requests are for. Default: 200000, quick 50000."`
	Zipf     float64    `default:"0.9" help:"Exponent of their Zipf distribution."`
	Pass     cache.Size `placeholder:"SIZE" help:"Length of the body that passes through. Default: 4GiB, quick 256MiB."`
	Seed     uint64     `default:"1" help:"Seed of all choices."`
	Disk     string     `placeholder:"DIR" type:"path" help:"Where the disk's objects are for a while. Default: a temporary directory."`
	NoDisk   bool       `help:"Nothing on disk."`
	Results  string     `placeholder:"DIR" type:"path" help:"Write the report there: DATE-cache.json and .md."`
	Output   string     `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// waysToPurge are those that take no longer with more objects.
var waysToPurge = []cachebench.Purge{
	{Name: "tag", Do: func(c *cache.Cache, now time.Time) error { _, err := c.PurgeTag(now, "", "all", false); return err }},
	{Name: "prefix", Do: func(c *cache.Cache, now time.Time) error {
		_, err := c.PurgePrefix(now, "", "https://shop.example/o/", false)
		return err
	}},
	{Name: "everything", Do: func(c *cache.Cache, now time.Time) error { c.PurgeAll(now, "", false); return nil }},
}

// complete fills in the defaults.
func (c *benchCacheCmd) complete() error {
	objects, requests, keys, pass := []int{10_000, 1_000_000}, 2_000_000, 200_000, cache.Size(4<<30)
	if c.Quick {
		objects, requests, keys, pass = []int{10_000, 100_000}, 200_000, 50_000, 256<<20
	}
	if len(c.Objects) == 0 {
		c.Objects = objects
	}
	if c.Requests == 0 {
		c.Requests = requests
	}
	if c.Keys == 0 {
		c.Keys = keys
	}
	if c.Pass == 0 {
		c.Pass = pass
	}
	for _, n := range c.Objects {
		if n < 1 {
			return errors.New("a store has an object at least")
		}
	}
	if c.Requests < 1 || c.Keys < 2 || c.Body < 1 || c.Body > 1<<20 || c.Zipf < 0 {
		return errors.New("there must be a request, two keys, bodies of 1 byte to 1MiB, and an exponent that is not negative")
	}
	return nil
}

// Run measures the cache in this process.
func (c *benchCacheCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	if err := c.complete(); err != nil {
		return err
	}
	r := cachebench.Report{Date: time.Now(), Commit: benchCommit(), Machine: benchreport.ThisMachine(runtime.NumCPU()), Quick: c.Quick}
	rows, err := cachebench.Run(ctx, cachebench.Options{Objects: c.Objects, Body: int(c.Body), Requests: c.Requests, Keys: c.Keys, Zipf: c.Zipf, Pass: int64(c.Pass), Seed: c.Seed, Purges: waysToPurge, Warm: !c.NoDisk, Dir: c.Disk,
		Progress: func(what string) { fmt.Fprintln(s.err, what) }})
	r.Rows, r.Took = rows, time.Since(r.Date).Seconds()
	return errors.Join(err, publish(s, r, c.Output, c.Results, err == nil))
}
