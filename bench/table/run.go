package table

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nearcast/bench/peers"
	"nearcast/bench/process"
)

// Load is what the clients of one run do.
type Load struct {
	Protocol    peers.Protocol
	Address     string // of the server
	Size        int    // of every body, one of origin.Sizes; another length is a failure
	Connections int
	Streams     int
	Warmup      time.Duration // before what is measured
	Duration    time.Duration
	// Begin and End are called at the begin and at the end of what is measured.
	Begin, End func() error
}

// Loaded is what they saw between Begin and End.
type Loaded struct {
	Requests int64 // succeeded
	Failed   int64
	Failure  string // the first one's text
	Elapsed  time.Duration
	P50, P99 time.Duration
}

// Loader puts load on a server.
type Loader interface {
	// Load keeps Connections times Streams requests under way.
	Load(context.Context, Load) (Loaded, error)
	// Hold makes one request on each connection, leaves all of them idle for Duration, and returns how much more memory the server's
	// processes have then, in bytes for a connection.
	Hold(context.Context, Load, process.Set) (float64, error)
}

// Usage is what a server and the cores have used so far.
type Usage struct {
	CPU        time.Duration // of the server's processes
	ServerCore time.Duration // the core was not idle, whoever used it
	LoadCore   time.Duration
	At         time.Time
}

// Server is a server that was started for a row.
type Server interface {
	Address() string
	Usage() (Usage, error)
	Processes() process.Set
	// Check says why the run did not measure what the row is about, such as hits that the origin was asked for.
	Check(ctx context.Context, requests int64) error
	Stop(context.Context) error
}

// Stage brings up servers.
type Stage interface {
	// Start returns a server that does the row's work; that it does was tried with a request.
	Start(ctx context.Context, p peers.Peer, row Row) (Server, error)
}

// Runner measures.
type Runner struct {
	Stage    Stage
	Loader   Loader
	Rounds   int // pairs a row
	Warmup   time.Duration
	Duration time.Duration     // of a run
	Progress func(line string) // called with a line for people; nil: nothing is said
}

// Run measures the rows. A row that fails says so in its result, and the others go on. It ends early when ctx ends: the rows that were not
// measured are left out.
func (r *Runner) Run(ctx context.Context, rows []Row) []Result {
	results := make([]Result, 0, len(rows))
	for i, row := range rows {
		r.say("%2d/%d %s: %s, against %s", i+1, len(rows), row.ID(), row.Title, row.Peer)
		start := time.Now()
		pairs, err := r.row(ctx, row)
		if ctx.Err() != nil {
			break
		}
		result := summarise(row, pairs, time.Since(start), err)
		results = append(results, result)
		r.say("      %s", result.line())
	}
	return results
}

// row measures the pairs of a row. What was measured before an error is returned with it.
func (r *Runner) row(ctx context.Context, row Row) (pairs []Pair, err error) {
	b := &both{runner: r, row: row}
	defer func() { err = errors.Join(err, b.stop(ctx)) }()
	for round := range r.Rounds {
		if err := b.start(ctx); err != nil {
			return pairs, err
		}
		pair := Pair{OursFirst: round%2 == 0}
		turns := []func() error{
			func() (err error) { pair.Ours, err = r.sample(ctx, row, b.ours); return of(peers.Ours, err) },
			func() (err error) { pair.Peer, err = r.sample(ctx, row, b.peer); return of(row.Peer, err) },
		}
		if !pair.OursFirst {
			turns[0], turns[1] = turns[1], turns[0]
		}
		for _, turn := range turns {
			if err := turn(); err != nil {
				return pairs, err
			}
		}
		if pair.Peer.Value <= 0 || pair.Ours.Value <= 0 {
			return pairs, fmt.Errorf("nothing to compare: %.3g %s against %.3g", pair.Ours.Value, row.Unit(), pair.Peer.Value)
		}
		pair.Ratio = pair.Ours.Value / pair.Peer.Value
		pairs = append(pairs, pair)
		if row.Idle { // memory that was used once is not given back, so that every pair needs fresh servers
			if err := b.stop(ctx); err != nil {
				return pairs, err
			}
		}
	}
	return pairs, nil
}

// of says which server an error is about.
func of(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}

// both are the two servers of a row, which run side by side; the one whose turn it is not has nothing to do.
type both struct {
	runner     *Runner
	row        Row
	ours, peer Server
}

func (b *both) start(ctx context.Context) error {
	if b.ours != nil {
		return nil
	}
	for _, s := range []struct {
		name   string
		server *Server
	}{{peers.Ours, &b.ours}, {b.row.Peer, &b.peer}} {
		p, err := peers.Get(s.name)
		if err != nil {
			return err
		}
		server, err := b.runner.Stage.Start(ctx, p, b.row)
		if err != nil {
			return of(s.name, err)
		}
		*s.server = server
	}
	return nil
}

// stop ends both, even when ctx has ended.
func (b *both) stop(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	for _, server := range []*Server{&b.ours, &b.peer} {
		if *server != nil {
			err = errors.Join(err, (*server).Stop(ctx))
			*server = nil
		}
	}
	return err
}

func (r *Runner) say(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}

// line is the result in one line.
func (r Result) line() string {
	if r.Verdict == Failed {
		return "FAILED: " + r.Error
	}
	s := fmt.Sprintf("%.4g against %.4g %s: × %.2f (%.2f to %.2f)", r.Ours.Value, r.Peer.Value, r.Row.Unit(), r.Ratio, r.Lowest, r.Highest)
	if r.Row.Target > 0 {
		s += fmt.Sprintf(", target %.2f: %s", r.Row.Target, r.Verdict)
	}
	return s
}
