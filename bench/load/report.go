package load

import (
	"context"
	"errors"
	"runtime"
	"time"

	"nearcast/bench/process"
)

// Report is what a run has measured, and what it has cost both sides.
type Report struct {
	*Result
	Server    *Cost `json:"server"` // null when its processes are not known
	Generator *Cost `json:"generator"`
}

// Cost is what processes paid for the measured part of a run.
type Cost struct {
	CPUMicros float64 `json:"cpu_us_per_request"`    // user and system time, for each good answer
	User      float64 `json:"user_us_per_request"`   //
	System    float64 `json:"system_us_per_request"` //
	CPUs      float64 `json:"cpus_used"`             // 1 is one CPU all the time
	Switches  float64 `json:"context_switches_per_request"`
	RSS       int64   `json:"rss_bytes"` // at the end
	Processes int     `json:"processes"`
	Threads   int     `json:"threads"`
}

func newCost(u process.Usage, requests int64, seconds float64) *Cost {
	c := &Cost{RSS: u.RSS, Processes: u.Processes, Threads: u.Threads}
	if requests > 0 {
		each := func(d time.Duration) float64 { return round(d.Seconds()*1e6/float64(requests), 1000) }
		c.CPUMicros, c.User, c.System = each(u.CPU()), each(u.User), each(u.System)
		c.Switches = round(float64(u.Voluntary+u.Involuntary)/float64(requests), 1000)
	}
	if seconds > 0 {
		c.CPUs = round(u.CPU().Seconds()/seconds, 1000)
	}
	return c
}

// Measure makes the load and reads what it costs the server's processes and this one. Begin and End of the options are its own.
func Measure(ctx context.Context, o Options, server process.Set) (*Report, error) {
	if _, err := server.Read(); err != nil { // before any load is made
		return nil, err
	}
	sets := [2]process.Set{server, process.Self()}
	var before, after [2]process.Usage
	var failure error
	read := func(into *[2]process.Usage) func() {
		return func() {
			for i, s := range sets {
				u, err := s.Read()
				failure = errors.Join(failure, err)
				into[i] = u
			}
		}
	}
	o.Begin, o.End = read(&before), read(&after)
	result, err := Run(ctx, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Result: result}
	cost := func(i int) *Cost { return newCost(after[i].Since(before[i]), result.OK, result.Seconds) }
	r.Generator = cost(1)
	if !server.Empty() {
		if failure != nil {
			return r, errors.Join(errors.New("the server's processes changed during the run"), failure)
		}
		r.Server = cost(0)
	}
	return r, nil
}

// Bottleneck reports that this process used nearly all of its CPUs, so that the server may have been able to do more.
func (r *Report) Bottleneck() bool {
	return r.Loop == "closed" && r.Generator.CPUs > 0.95*float64(runtime.GOMAXPROCS(0))
}
