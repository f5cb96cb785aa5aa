// Package compare measures servers against each other: the same load on each in turn, round after round, so that what the machine does
// meanwhile meets all of them, and the figures of each round are compared with one another before any median is taken.
package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"nearcast/bench/load"
)

// MinRounds is the least number of rounds that says anything.
const MinRounds = 5

// Side is a server to compare.
type Side struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	PIDs []int  `json:"pids,omitempty"` // of its processes, if known
}

// ParseSide reads NAME=URL or NAME=URL@PID[,PID…].
func ParseSide(text string) (s Side, err error) {
	name, url, ok := strings.Cut(text, "=")
	if !ok || name == "" || url == "" {
		return s, fmt.Errorf("%q is not NAME=URL@PID, such as ours=https://127.0.0.1:8443/@4242", text)
	}
	s.Name, s.URL = name, url
	if at := strings.LastIndexByte(url, '@'); at >= 0 {
		if pids, ok := parsePIDs(url[at+1:]); ok {
			s.URL, s.PIDs = url[:at], pids
		}
	}
	return s, nil
}

func parsePIDs(text string) (pids []int, ok bool) {
	for word := range strings.SplitSeq(text, ",") {
		pid, err := strconv.Atoi(word)
		if err != nil || pid <= 0 {
			return nil, false
		}
		pids = append(pids, pid)
	}
	return pids, true
}

// Run measures one side once.
type Run func(ctx context.Context, s Side) (*load.Report, error)

// Result is a comparison of the first side with the others.
type Result struct {
	Rounds int         `json:"rounds"` // that all sides finished
	Sides  []SideStats `json:"sides"`
	Ratios []Ratio     `json:"ratios"` // of the first side to each other one
	Failed int64       `json:"failed"` // requests, of all sides
}

// SideStats are the runs of one side, and their medians.
type SideStats struct {
	Side
	Median Figures        `json:"median"`
	Runs   []*load.Report `json:"runs"`
}

// Figures are what is compared. CPU and RSS are 0 where the processes are not known.
type Figures struct {
	CPUMicros float64 `json:"cpu_us_per_request"`
	PerSecond float64 `json:"requests_per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	RSS       float64 `json:"rss_bytes"`
	CPUs      float64 `json:"cpus_used"`
}

// Ratio is the first side's figure divided by another's, round by round.
type Ratio struct {
	First     string  `json:"first"`
	Other     string  `json:"other"`
	CPU       *Spread `json:"cpu_us_per_request"` // null when a side's processes are not known
	PerSecond *Spread `json:"requests_per_second"`
	P99       *Spread `json:"p99_us"`
}

// Spread is the median of the rounds' ratios, with the least and the greatest.
type Spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Rounds []float64 `json:"rounds"`
}

// Compare has run measure each side in turn, in the order given, for that many rounds. It returns early when ctx ends, with the rounds that
// were finished, and at the first error, which is the side's.
func Compare(ctx context.Context, sides []Side, rounds int, run Run) (*Result, error) {
	if err := check(sides, rounds); err != nil {
		return nil, err
	}
	r := &Result{}
	for _, s := range sides {
		r.Sides = append(r.Sides, SideStats{Side: s})
	}
	for range rounds {
		reports, err := round(ctx, sides, run)
		if err != nil {
			return nil, err
		}
		if reports == nil {
			break
		}
		for i, report := range reports {
			r.Sides[i].Runs = append(r.Sides[i].Runs, report)
			r.Failed += report.Failed
		}
		r.Rounds++
	}
	if r.Rounds == 0 {
		return nil, errors.New("interrupted before a round was finished")
	}
	r.sum()
	return r, nil
}

func check(sides []Side, rounds int) error {
	names := make(map[string]bool)
	for _, s := range sides {
		if names[s.Name] {
			return fmt.Errorf("two sides are called %s", s.Name)
		}
		names[s.Name] = true
	}
	switch {
	case len(sides) < 2:
		return errors.New("a comparison needs two sides")
	case rounds < MinRounds:
		return fmt.Errorf("a comparison needs at least %d rounds", MinRounds)
	}
	return nil
}

// round measures every side once; nil when ctx ended meanwhile.
func round(ctx context.Context, sides []Side, run Run) (reports []*load.Report, err error) {
	for _, s := range sides {
		report, err := run(ctx, s)
		if ctx.Err() != nil {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		reports = append(reports, report)
	}
	return reports, nil
}

// sum computes medians and ratios.
func (r *Result) sum() {
	for i := range r.Sides {
		s := &r.Sides[i]
		s.Median = Figures{CPUMicros: s.median(cpu), PerSecond: s.median(perSecond), P50: s.median(p50), P99: s.median(p99),
			RSS: s.median(rss), CPUs: s.median(cpus)}
	}
	first := &r.Sides[0]
	for i := range r.Sides[1:] {
		other := &r.Sides[i+1]
		r.Ratios = append(r.Ratios, Ratio{First: first.Name, Other: other.Name,
			CPU: spread(first, other, cpu), PerSecond: spread(first, other, perSecond), P99: spread(first, other, p99)})
	}
}

// figure reads a figure from a report.
type figure func(r *load.Report) float64

func cost(of func(c *load.Cost) float64) figure {
	return func(r *load.Report) float64 {
		if r.Server == nil {
			return 0
		}
		return of(r.Server)
	}
}

var (
	cpu  = cost(func(c *load.Cost) float64 { return c.CPUMicros })
	rss  = cost(func(c *load.Cost) float64 { return float64(c.RSS) })
	cpus = cost(func(c *load.Cost) float64 { return c.CPUs })
)

func perSecond(r *load.Report) float64 { return r.PerSecond }
func p50(r *load.Report) float64       { return float64(r.Latency.P50) }
func p99(r *load.Report) float64       { return float64(r.Latency.P99) }

func (s *SideStats) median(f figure) float64 {
	var values []float64
	for _, r := range s.Runs {
		values = append(values, f(r))
	}
	return Median(values)
}

// Median is the middle value, or the mean of the two middle ones; 0 of none.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// spread divides the figures of the same round; nil when one of them is not there.
func spread(first, other *SideStats, f figure) *Spread {
	s := &Spread{}
	for i, r := range first.Runs {
		a, b := f(r), f(other.Runs[i])
		if a == 0 || b == 0 {
			return nil
		}
		s.Rounds = append(s.Rounds, a/b)
	}
	s.Median, s.Min, s.Max = Median(s.Rounds), slices.Min(s.Rounds), slices.Max(s.Rounds)
	return s
}
