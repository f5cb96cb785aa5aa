package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"nearcast/bench/crash"
	"nearcast/cache"
)

type benchCrashCmd struct {
	Kills   int           `default:"20" help:"How often the edge is killed."`
	Between time.Duration `default:"2s" help:"Longest life between two kills."`
	Clients int           `default:"16" help:"Clients."`
	Keys    int           `default:"2000" help:"Objects."`
	MaxBody cache.Size    `default:"64KiB" help:"Largest body."`
	Memory  cache.Size    `default:"8MiB" help:"The edge's memory cache: small, so that the disk is used."`
	Disk    cache.Size    `default:"256MiB" help:"The edge's disk cache."`
	NoDisk  bool          `help:"Without a disk cache."`
	Seed    uint64        `default:"1" help:"Seed of all choices."`
	Dir     string        `type:"path" placeholder:"DIR" help:"Where the edge's configuration, log and disk cache are. Default: a temporary directory, removed afterwards."`
	Output  string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// Run kills edges and looks at what they serve.
func (c *benchCrashCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "nearcast-crash-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	if c.Kills < 1 || c.Between <= 0 || c.Clients < 1 || c.Keys < 2 || c.MaxBody < 256 {
		return errors.New("there must be a kill, a time between kills, a client, two objects, and bodies of 256 bytes")
	}
	r, err := crash.Run(ctx, crash.Options{Binary: self, Dir: dir, Kills: c.Kills, Between: c.Between, Clients: c.Clients, Keys: c.Keys, MaxBody: int(c.MaxBody),
		Memory: c.Memory.String(), Disk: c.Disk.String(), NoDisk: c.NoDisk, Seed: c.Seed,
		Progress: func(life int, r crash.Result) {
			fmt.Fprintf(s.err, "life %d of %d: %d answers, %d hits, %d of them warm, %d cut, %d wrong\n", life, c.Kills+1, r.Requests, r.Hits, r.Warm, r.Cut, r.Wrong)
		}})
	if err != nil {
		return err
	}
	if c.Output == "json" {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		_, err = fmt.Fprintf(s.out, "%d kills: %d answers, every byte looked at; %d hits, %d of them warm; %d cut off by a kill; %d wrong; ready after %v at most, first warm hit after %v at most\n",
			r.Kills, r.Requests, r.Hits, r.Warm, r.Cut, r.Wrong, r.Ready.Round(time.Millisecond), r.First.Round(time.Millisecond))
	}
	switch {
	case r.Wrong > 0:
		err = errors.Join(err, fmt.Errorf("%d answers were wrong: %s", r.Wrong, r.Fault))
	case r.Warm == 0 && !c.NoDisk:
		err = errors.Join(err, errors.New("nothing survived a kill"))
	}
	return err
}
