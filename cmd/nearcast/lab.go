package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"nearcast/internal/lab"
	"nearcast/internal/lab/origin"
)

type labCmd struct {
	Up   labUpCmd   `cmd:"" help:"Bring up the miniature internet and keep it until Ctrl-C."`
	Test labTestCmd `cmd:"" help:"Bring it up, run the scenarios, print what each took, take it down."`
	Down labDownCmd `cmd:"" help:"Take down a lab that is up, or what a crashed one left."`
}

type labUpCmd struct {
	LogDir string `placeholder:"DIR" help:"Keep the logs of the routers, edges and origins there. Without it they go with the lab."`
}

// Run keeps the lab up until it is told to stop.
func (c labUpCmd) Run(s std) error {
	ctx, stop := untilLabSignal()
	defer stop()
	l, err := labUp(ctx, s, c.LogDir)
	if err != nil {
		return err
	}
	l.WriteGuide(s.out)
	<-ctx.Done()
	return labClose(l)
}

type labTestCmd struct {
	Scenarios []string      `arg:"" optional:"" help:"Scenarios to run; all without any. The word failover alone measures events again and again instead, and the word quic what real QUIC clients live through."`
	List      bool          `help:"List the scenarios and what each proves, and the events of failover and of quic."`
	Runs      int           `help:"With failover and quic: how often each event is played; without, 10 with failover and 3 with quic."`
	Events    []string      `help:"With failover and quic: events to measure; all without any."`
	Rate      float64       `help:"With failover: requests a second of each protocol on new connections, and as many on kept ones; 100 without. With quic: of each client; 30 without."`
	Clients   []string      `help:"With quic: clients that take part, such as chromium; all without any."`
	Patience  time.Duration `help:"With quic: how long a route stays where it has moved, and requests go on after the last thing that happens; 3s without."`
	Plain     bool          `help:"With quic: with edges that do not rescue each other's connections, for comparison."`
	LogDir    string        `placeholder:"DIR" help:"Keep the logs of the routers, edges and origins there. Without it they go with the lab."`
	Output    string        `enum:"table,json,markdown" default:"table" help:"How to print the results: ${enum} (markdown: failover and quic only)."`
}

var (
	// errScenarios is a lab run in which something was not as it must be; the table has said what.
	errScenarios = errors.New("not all scenarios ended as they must")
	// errTargets is a measurement in which a target was missed; the table has said which.
	errTargets = errors.New("not all targets were met")
	// errInterrupted is a lab run that a signal ended: it proves nothing, so it is no success.
	errInterrupted = errors.New("interrupted before all scenarios had run")
)

// Run runs scenarios in a lab of its own.
func (c labTestCmd) Run(s std) error {
	if c.List {
		for _, sc := range lab.Scenarios() {
			fmt.Fprintf(s.out, "%-18s %s\n", sc.Name, sc.Proves)
		}
		fmt.Fprintln(s.out, "\nfailover measures:")
		for _, e := range lab.Events() {
			fmt.Fprintf(s.out, "%-18s %s: %s\n", e.Name, e.Does, e.Holds)
		}
		fmt.Fprintln(s.out, "\nquic measures:")
		for _, e := range lab.QUICEvents() {
			fmt.Fprintf(s.out, "%-18s %s: %s\n", e.Name, e.Does, e.Holds)
		}
		return nil
	}
	for _, m := range []struct {
		word string
		run  func(std) error
	}{{"failover", c.failover}, {"quic", c.quic}} {
		if !slices.Contains(c.Scenarios, m.word) {
			continue
		}
		if len(c.Scenarios) != 1 {
			return fmt.Errorf("%s is not a scenario among others: run it alone, and name what it measures with --events", m.word)
		}
		return m.run(s)
	}
	if c.Runs != 0 || len(c.Events) > 0 || c.Rate != 0 || len(c.Clients) > 0 || c.Patience != 0 || c.Plain || c.Output == "markdown" {
		return errors.New("--runs, --events, --rate, --clients, --patience, --plain and --output markdown are for `nearcast lab test failover` and `nearcast lab test quic`")
	}
	if err := lab.CheckScenarios(c.Scenarios...); err != nil {
		return err
	}
	return c.inLab(s, errScenarios, func(ctx context.Context, l *lab.Lab) (outcome, error) {
		report, err := l.RunScenarios(ctx, c.Scenarios...)
		write := report.WriteTable
		if c.Output == "json" {
			write = report.WriteJSON
		}
		return outcome{write, report.Failed()}, err
	})
}

// outcome is what came of a lab, and how to print it.
type outcome struct {
	write func(io.Writer) error
	bad   bool
}

// inLab plays something in a lab of its own and prints what came of it. bad is the error when all could be played, and was not as it must be.
func (c labTestCmd) inLab(s std, bad error, play func(context.Context, *lab.Lab) (outcome, error)) error {
	ctx, stop := untilLabSignal()
	defer stop()
	l, err := labUp(ctx, s, c.LogDir)
	if errors.Is(err, context.Canceled) {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	came, err := play(ctx, l)
	if errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	err = errors.Join(err, labClose(l), came.write(s.out)) // what reads the output may be gone already; the lab must not stay for that
	if err == nil && came.bad {
		err = bad
	}
	return err
}

// failover measures events in a lab of its own.
func (c labTestCmd) failover(s std) error {
	switch {
	case c.Runs < 0 || c.Rate < 0:
		return errors.New("--runs and --rate cannot be negative")
	case len(c.Clients) > 0 || c.Patience != 0 || c.Plain:
		return errors.New("--clients, --patience and --plain are for `nearcast lab test quic`")
	}
	if err := lab.CheckEvents(c.Events...); err != nil {
		return err
	}
	return c.inLab(s, errTargets, func(ctx context.Context, l *lab.Lab) (outcome, error) {
		report, err := l.MeasureFailover(ctx, lab.FailoverOptions{Runs: c.Runs, Events: c.Events, Rate: c.Rate})
		return outcome{c.choose(report), report.Missed()}, err
	})
}

// quic measures what real QUIC clients live through in a lab of its own.
func (c labTestCmd) quic(s std) error {
	if c.Runs < 0 || c.Rate < 0 || c.Patience < 0 {
		return errors.New("--runs, --rate and --patience cannot be negative")
	}
	if err := lab.CheckQUIC(c.Events, c.Clients); err != nil {
		return err
	}
	return c.inLab(s, errTargets, func(ctx context.Context, l *lab.Lab) (outcome, error) {
		report, err := l.MeasureQUIC(ctx, lab.QUICOptions{Runs: c.Runs, Events: c.Events, Clients: c.Clients, Rate: c.Rate, Patience: c.Patience, Plain: c.Plain})
		return outcome{c.choose(report), report.Missed()}, err
	})
}

// written is a report of measurements.
type written interface {
	WriteTable(io.Writer) error
	WriteJSON(io.Writer) error
	WriteMarkdown(io.Writer) error
}

// choose is how to write the report.
func (c labTestCmd) choose(report written) func(io.Writer) error {
	switch c.Output {
	case "json":
		return report.WriteJSON
	case "markdown":
		return report.WriteMarkdown
	}
	return report.WriteTable
}

type labDownCmd struct{}

// Run takes down whatever lab there is.
func (labDownCmd) Run(s std) error {
	ctx, stop := untilLabSignal()
	defer stop()
	return lab.Down(ctx)
}

func labUp(ctx context.Context, s std, logDir string) (*lab.Lab, error) {
	if missing := lab.Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("the lab needs what this machine or user lacks: %s; `make setup` as root installs it on Debian", strings.Join(missing, "; "))
	}
	if logDir != "" {
		abs, err := filepath.Abs(logDir)
		if err != nil {
			return nil, err
		}
		logDir = abs
	}
	return lab.Up(ctx, lab.Options{LogDir: logDir, Log: slog.New(slog.NewTextHandler(s.err, nil))})
}

// labClose takes the lab down, also when what ended it was a signal.
func labClose(l *lab.Lab) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return l.Close(ctx)
}

type labOriginCmd struct {
	Region string `required:""`
	Listen string `required:""`
}

// Run is an origin of the lab.
func (c labOriginCmd) Run() error {
	ctx, stop := untilSignal()
	defer stop()
	return origin.Run(ctx, c.Region, c.Listen)
}

// untilLabSignal ends also when the terminal is closed. A reader of the output that goes away ends nothing: the lab is taken down first.
func untilLabSignal() (context.Context, context.CancelFunc) {
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGPIPE) // not Ignore, which the programs of the lab would inherit
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
}

func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}
