package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"nearcast/bench/flood"
	benchreport "nearcast/bench/report"
)

type benchFloodCmd struct {
	Rate     int           `short:"r" default:"4000" help:"Initials a second."`
	Duration time.Duration `short:"d" default:"12s" help:"Length of each flood."`
	Clients  int           `short:"c" default:"20" help:"Honest clients a second."`
	From     []string      `default:"random,hundreds" enum:"random,hundreds,net" help:"Where it comes from: random, a new address for each packet; hundreds, 200 addresses; net, one /24."`
	Defence  []string      `default:"guard,retry" enum:"guard,retry,none" help:"What the edge does about it: guard, what it does by default; retry, no more than Retry when many handshakes are in progress; none. None takes all of the machine and its memory: short floods only."`
	Seed     uint64        `default:"1" help:"Seed of all choices."`
	Dir      string        `type:"path" placeholder:"DIR" help:"Where the edge's configuration and log are. Default: a temporary directory, removed afterwards."`
	Results  string        `placeholder:"DIR" type:"path" help:"Write the report there: DATE-flood.json and .md."`
	Output   string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// Run floods edges.
func (c *benchFloodCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	if c.Rate < 1 || c.Rate > 1e6 || c.Duration < 3*time.Second || c.Clients < 1 || c.Clients > 1000 {
		return errors.New("there must be 1 to 1000000 Initials and 1 to 1000 clients a second, for 3s at least")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "nearcast-flood-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	r := flood.Report{Date: time.Now(), Commit: benchCommit(), Machine: benchreport.ThisMachine(runtime.NumCPU()), Duration: c.Duration, Clients: c.Clients,
		Command: fmt.Sprintf("nearcast bench flood --rate %d --duration %v --clients %d --from %s --defence %s", c.Rate, c.Duration, c.Clients, strings.Join(c.From, ","), strings.Join(c.Defence, ","))}
	r.Rows, err = flood.Run(ctx, flood.Options{Binary: self, Dir: dir, Rate: c.Rate, Duration: c.Duration, Clients: c.Clients, Sources: c.From, Defences: c.Defence, Seed: c.Seed,
		Progress: func(what string) { fmt.Fprintln(s.err, what) }})
	return errors.Join(err, publish(s, r, c.Output, c.Results, err == nil))
}
