package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"nearcast/bench/compare"
	bench "nearcast/bench/load"
	"nearcast/bench/process"
	"nearcast/cache"
	"nearcast/internal/pki"
)

type benchCmd struct {
	Run        benchRunCmd        `cmd:"" help:"Put load on a server: throughput, latency, and what a request costs its process."`
	Compare    benchCompareCmd    `cmd:"" help:"Put the same load on several servers in turn, and compare."`
	Handshakes benchHandshakesCmd `cmd:"" help:"Make TLS or QUIC handshakes, full or resumed."`
	Table      BenchTable         `cmd:"" help:"Measure nearcast and its peers side by side, in a network namespace of their own (root)."`
	Idle       benchIdleCmd       `cmd:"" help:"Hold connections that do nothing: what memory does one cost the server? Start the server afresh for each measurement: memory that it has freed counts as its own."`
	Cache      benchCacheCmd      `cmd:"" help:"Measure the cache in this process: hit ratio, the cost of hits and of storing, purges, memory."`
	Crash      benchCrashCmd      `cmd:"" help:"Kill an edge over and over under load, and look at every byte that it serves from its disk cache."`
	Flood      benchFloodCmd      `cmd:"" help:"Flood an edge with QUIC Initials that nobody stands behind: what do they cost it, and do honest clients still get in?"`
}

// benchTarget are the flags that say how to reach a server.
type benchTarget struct {
	Protocol   string        `short:"p" enum:"h1,h2,h3" default:"h1" help:"h1, h2 or h3: HTTP/1.1, HTTP/2 (of an http URL: with prior knowledge), HTTP/3."`
	Address    string        `placeholder:"HOST:PORT" help:"Connect to this address instead of the URL's."`
	CAFile     string        `name:"ca-file" placeholder:"FILE" help:"Trust the certificates in this PEM file, instead of the system's."`
	ServerName string        `placeholder:"NAME" help:"Host that the certificate is for, and the server name to send, instead of the URL's host."`
	Insecure   bool          `help:"Take any certificate."`
	Timeout    time.Duration `default:"10s" help:"Longest time for a request and for connecting."`
	CPU        string        `name:"cpu" placeholder:"LIST" help:"Run only on these CPUs, such as 1 or 0,2-3. The server should have others."`
	Children   bool          `default:"true" negatable:"" help:"Count the descendants of a server's process too."`
	Output     string        `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// benchLoad are the flags that say what load to make.
type benchLoad struct {
	Connections int           `short:"c" default:"32" help:"Connections that share the load."`
	Streams     int           `short:"m" help:"Requests at once on a connection. Default: 32 for h2 and h3; h1 has 1."`
	Duration    time.Duration `short:"d" default:"10s" help:"How long to measure."`
	Requests    int64         `short:"n" help:"Measure so many requests, instead of for a time."`
	Warmup      time.Duration `short:"w" default:"1s" help:"How long to make load before measuring."`
	Rate        float64       `short:"r" help:"Open loop: start so many requests a second, answered or not. Latency counts from the moment at which a request was to start. Default: closed loop, each answer makes room for the next request."`
	Sizes       []cache.Size  `placeholder:"SIZE,..." help:"Put these sizes in bytes in place of {size} in the URL, at random; the bodies must be as long. 1KiB and 1MiB are understood."`
	Keys        int           `default:"1" help:"Put so many keys, from 0, in place of {key} in the URL."`
	Zipf        float64       `help:"Exponent of the keys' Zipf distribution. 0: all as often."`
	HitRatio    float64       `default:"1" help:"Fraction of the requests that ask for the keys; the others ask for what was never asked for before."`
	Seed        uint64        `default:"1" help:"Seed of the choice of keys and sizes."`
	Method      string        `short:"X" default:"GET" help:"Method."`
	Header      []string      `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"Field to send. May be repeated."`
	BodySize    cache.Size    `help:"Send a body of this size."`
}

// prepare binds this process to its CPUs and returns the options for the target.
func (t *benchTarget) prepare(s std, url string) (o bench.Options, done func(), err error) {
	o = bench.Options{URL: url, Protocol: t.Protocol, Address: t.Address, Timeout: t.Timeout,
		TLS: &tls.Config{InsecureSkipVerify: t.Insecure, ServerName: t.ServerName}}
	if t.CAFile != "" {
		if o.TLS.RootCAs, err = pki.LoadPool(t.CAFile); err != nil {
			return o, nil, err
		}
	}
	if t.CPU != "" {
		cpus, err := process.ParseCPUs(t.CPU)
		if err != nil {
			return o, nil, err
		}
		if err := process.Pin(cpus); err != nil {
			return o, nil, err
		}
	}
	debug.SetGCPercent(400) // the generator's memory is not what is measured
	line := newProgressLine(s.err)
	o.Progress = line.show
	return o, line.clear, nil
}

// set are the server's processes.
func (t *benchTarget) set(pids []int) process.Set {
	if t.Children {
		return process.Set{PIDs: pids, Scope: process.Tree}
	}
	return process.Set{PIDs: pids}
}

// fill completes the options with the load.
func (l *benchLoad) fill(o *bench.Options) error {
	o.Connections, o.Streams, o.Rate, o.Warmup, o.Requests = l.Connections, l.Streams, l.Rate, l.Warmup, l.Requests
	o.Keys, o.Zipf, o.MissRatio, o.Seed, o.Method, o.BodySize = l.Keys, l.Zipf, 1-l.HitRatio, l.Seed, l.Method, int(l.BodySize)
	if l.Requests == 0 {
		o.Duration = l.Duration
	}
	if l.Streams == 0 && o.Protocol != bench.HTTP1 {
		o.Streams = 32
	}
	for _, size := range l.Sizes {
		o.Sizes = append(o.Sizes, int64(size))
	}
	for _, field := range l.Header {
		name, value, ok := strings.Cut(field, ":")
		if !ok {
			return fmt.Errorf("%q is not a header field such as Name: value", field)
		}
		o.Header = append(o.Header, bench.Field{Name: name, Value: strings.Trim(value, " \t")})
	}
	return nil
}

type benchRunCmd struct {
	URL string `arg:"" help:"What to fetch. {size} and {key} are replaced."`
	benchTarget
	benchLoad
	PID []int `name:"pid" placeholder:"PID" help:"The server's process, to read what a request costs it."`
}

// Run measures one server.
func (c *benchRunCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	o, done, err := c.prepare(s, c.URL)
	if err != nil {
		return err
	}
	if err := c.fill(&o); err != nil {
		return err
	}
	report, err := bench.Measure(ctx, o, c.set(c.PID))
	done()
	if err != nil {
		return err
	}
	return c.finish(s, report, report.Failed)
}

type benchCompareCmd struct {
	Sides []string `arg:"" name:"name=url@pid" help:"The servers, ours first: a name, what to fetch, and the process if its cost is to be read; several processes with commas."`
	benchTarget
	benchLoad
	Rounds int `default:"5" help:"How often each server is measured, at least 5."`
}

// Run compares servers.
func (c *benchCompareCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	var sides []compare.Side
	for _, text := range c.Sides {
		side, err := compare.ParseSide(text)
		if err != nil {
			return err
		}
		sides = append(sides, side)
	}
	o, done, err := c.prepare(s, "")
	if err != nil {
		return err
	}
	if err := c.fill(&o); err != nil {
		return err
	}
	progress, runs := o.Progress, 0
	result, err := compare.Compare(ctx, sides, c.Rounds, func(ctx context.Context, side compare.Side) (*bench.Report, error) {
		o, what := o, fmt.Sprintf("round %d of %d, %s: ", runs/len(sides)+1, c.Rounds, side.Name)
		runs++
		o.URL, o.Progress = side.URL, func(p bench.Progress) { p.Phase = what + p.Phase; progress(p) }
		return bench.Measure(ctx, o, c.set(side.PIDs))
	})
	done()
	if err != nil {
		return err
	}
	return c.finish(s, result, result.Failed)
}

type benchHandshakesCmd struct {
	URL string `arg:"" help:"An https URL. Nothing is fetched from it, except one answer a connection with h1."`
	benchTarget
	Resumed     bool          `help:"Resume sessions with tickets, instead of full handshakes."`
	Connections int           `short:"c" default:"16" help:"Handshakes under way at once."`
	Rate        float64       `short:"r" help:"Open loop: so many handshakes a second."`
	Duration    time.Duration `short:"d" default:"10s" help:"How long to measure."`
	Requests    int64         `short:"n" help:"Measure so many handshakes, instead of for a time."`
	Warmup      time.Duration `short:"w" default:"1s" help:"How long to make handshakes before measuring."`
	PID         []int         `name:"pid" placeholder:"PID" help:"The server's process, to read what a handshake costs it."`
}

// Run measures handshakes.
func (c *benchHandshakesCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	o, done, err := c.prepare(s, c.URL)
	if err != nil {
		return err
	}
	o.Handshakes = bench.Full
	if c.Resumed {
		o.Handshakes = bench.Resumed
	}
	o.Connections, o.Rate, o.Requests, o.Warmup = c.Connections, c.Rate, c.Requests, c.Warmup
	if c.Requests == 0 {
		o.Duration = c.Duration
	}
	report, err := bench.Measure(ctx, o, c.set(c.PID))
	done()
	if err != nil {
		return err
	}
	return c.finish(s, report, report.Failed)
}

type benchIdleCmd struct {
	URL string `arg:"" help:"What each connection fetches once before it idles."`
	benchTarget
	Connections int           `short:"c" default:"1000" help:"How many connections to hold."`
	Settle      time.Duration `default:"10s" help:"How long they idle before the memory is read."`
	PID         []int         `name:"pid" required:"" placeholder:"PID" help:"The server's process."`
}

// Run measures idle connections.
func (c *benchIdleCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	o, done, err := c.prepare(s, c.URL)
	if err != nil {
		return err
	}
	o.Connections = c.Connections
	r, err := bench.Idle(ctx, bench.IdleOptions{Options: o, Server: c.set(c.PID), Settle: c.Settle})
	done()
	if err != nil {
		return err
	}
	return c.finish(s, r, r.Failed+int64(r.Connections-r.Alive))
}

// finish writes the result. Failures are an error; slowness is none.
func (t *benchTarget) finish(s std, result interface{ WriteTable(io.Writer) error }, failed int64) error {
	var err error
	if t.Output == "json" {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		err = e.Encode(result)
	} else {
		err = result.WriteTable(s.out)
	}
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d failed", failed))
	}
	return err
}
