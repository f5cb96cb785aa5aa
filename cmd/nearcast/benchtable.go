package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
	benchreport "nearcast/bench/report"
	"nearcast/bench/room"
	benchstage "nearcast/bench/stage"
	"nearcast/bench/table"
)

// BenchTable measures nearcast and its peers side by side.
type BenchTable struct {
	Row      []string      `placeholder:"NAME" help:"Measure this case (h1-1k) or row (h1-1k/nginx) only; may be given again. See --list."`
	Peer     string        `placeholder:"NAME" help:"Measure against this peer only."`
	List     bool          `help:"List the rows and their targets, and measure nothing."`
	Quick    bool          `help:"A few seconds a row: shows that everything works, not how fast it is."`
	Rounds   int           `placeholder:"N" help:"Pairs of runs a row. Default: 5, quick 1."`
	Duration time.Duration `placeholder:"TIME" help:"How long a run measures. Default: 5s, quick 500ms."`
	Results  string        `placeholder:"DIR" type:"path" help:"Write the report there: DATE-peers.json, .md and .svg. Default: only to the terminal."`
	What     string        `default:"peers" placeholder:"WORD" help:"What the files are called after their date."`
}

// coresVar tells the process in the room how many cores the one outside may use.
const coresVar = "NEARCAST_BENCH_CORES"

// Run measures, in a room of its own: this process opens the room and runs the program again inside it.
func (c *BenchTable) Run(s std) error {
	rows, err := table.Select(table.Rows(), c.Row, c.Peer)
	if err != nil {
		return err
	}
	if err := c.complete(); err != nil {
		return err
	}
	if c.List {
		for _, r := range rows {
			fmt.Fprintf(s.out, "%-22s %-50s target %s\n", r.ID(), r.Title, target(r))
		}
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if place, ok := room.Inside(); ok {
		return c.measure(ctx, s, place, rows)
	}
	return c.enter(ctx, s)
}

func target(r table.Row) string {
	if r.Target == 0 {
		return "none"
	}
	return fmt.Sprintf("%.2f", r.Target)
}

// complete fills in the defaults.
func (c *BenchTable) complete() error {
	if c.Rounds == 0 {
		c.Rounds = benchreport.EnoughRounds
		if c.Quick {
			c.Rounds = 1
		}
	}
	if c.Duration == 0 {
		c.Duration = 5 * time.Second
		if c.Quick {
			c.Duration = 500 * time.Millisecond
		}
	}
	if c.Rounds < 0 || c.Duration < 100*time.Millisecond {
		return errors.New("there must be at least one round, and a run takes at least 100ms: CPU time is counted in hundredths of a second")
	}
	return nil
}

// enter runs this command again in the measuring room, and removes the room afterwards.
func (c *BenchTable) enter(ctx context.Context, s std) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := room.Open(ctx)
	if err != nil {
		return err
	}
	if err := os.Setenv(coresVar, strconv.Itoa(runtime.NumCPU())); err != nil {
		return err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, s.out, s.err
	err = r.Run(ctx, cmd)
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		err = errors.New("the measurement failed, as said above")
	}
	return errors.Join(err, r.Close(undo))
}

// measure is what happens inside the room.
func (c *BenchTable) measure(ctx context.Context, s std, place *room.Place, rows []table.Row) error {
	st, err := benchstage.New(place)
	if err != nil {
		return err
	}
	cores, err := strconv.Atoi(os.Getenv(coresVar))
	if err != nil {
		return fmt.Errorf("%s: %w", coresVar, err)
	}
	debug.SetGCPercent(400) // the generator's memory is not what is measured
	commit := benchreport.Commit()
	if commit == "" {
		commit = version
	}
	rep := benchreport.Report{Date: time.Now(), Commit: commit, Machine: benchreport.ThisMachine(cores), Versions: versions(ctx, rows),
		Rounds: c.Rounds, Duration: c.Duration.Seconds(), Warmup: c.warmup().Seconds()}
	runner := table.Runner{Stage: st, Loader: st.Loader(), Rounds: c.Rounds, Warmup: c.warmup(), Duration: c.Duration,
		Progress: func(line string) { fmt.Fprintln(s.err, line) }}
	if c.Quick {
		rows = quick(rows)
	}
	rep.Rows = runner.Run(ctx, rows)
	rep.Took = time.Since(rep.Date).Seconds()
	if ctx.Err() != nil { // what there is may be of interest, but is no report
		return errors.Join(rep.WriteTable(s.out), ctx.Err())
	}
	return errors.Join(c.publish(s, rep), unmeasured(rep))
}

func (c *BenchTable) warmup() time.Duration { return min(time.Second, c.Duration/2) }

// quick makes the rows of idle connections short.
func quick(rows []table.Row) []table.Row {
	for i := range rows {
		if rows[i].Idle {
			rows[i].Connections /= 10
		}
	}
	return rows
}

// publish writes the report to the terminal, and to files when that is wanted.
func (c *BenchTable) publish(s std, rep benchreport.Report) error {
	if err := rep.WriteTable(s.out); err != nil || c.Results == "" {
		return err
	}
	files, err := rep.WriteFiles(c.Results, c.What)
	for _, f := range files {
		fmt.Fprintln(s.out, f)
	}
	return err
}

// unmeasured is an error when a row could not be measured. That a target was missed is a result.
func unmeasured(rep benchreport.Report) error {
	failed := 0
	for _, r := range rep.Rows {
		if r.Verdict == table.Failed {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d rows could not be measured", failed, len(rep.Rows))
}

// versions are those of all servers in the rows.
func versions(ctx context.Context, rows []table.Row) map[string]string {
	found := map[string]string{peers.Ours: version + ", " + runtime.Version()}
	for _, r := range rows {
		if _, done := found[r.Peer]; done {
			continue
		}
		found[r.Peer] = "not installed"
		if p, err := peers.Get(r.Peer); err == nil {
			if v, err := p.Version(ctx); err == nil {
				found[r.Peer] = v
			}
		}
	}
	return found
}

// benchOriginCmd is the origin of a measurement. The stage starts it.
type benchOriginCmd struct {
	Address string `arg:""`
}

// Run serves until SIGTERM or SIGINT.
func (c *benchOriginCmd) Run(std) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", c.Address)
	if err != nil {
		return err
	}
	return origin.New().Serve(ctx, l)
}
