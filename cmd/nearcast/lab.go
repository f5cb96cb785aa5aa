package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
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

type labUpCmd struct{}

// Run keeps the lab up until it is told to stop.
func (labUpCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	l, err := labUp(ctx, s)
	if err != nil {
		return err
	}
	l.WriteGuide(s.out)
	<-ctx.Done()
	return labClose(l)
}

type labTestCmd struct {
	Scenarios []string `arg:"" optional:"" help:"Scenarios to run; all without any."`
	List      bool     `help:"List the scenarios and what each proves."`
}

// errScenarios is a lab run in which something was not as it must be; the table has said what.
var errScenarios = errors.New("not all scenarios ended as they must")

// Run runs scenarios in a lab of its own.
func (c labTestCmd) Run(s std) error {
	if c.List {
		for _, sc := range lab.Scenarios() {
			fmt.Fprintf(s.out, "%-18s %s\n", sc.Name, sc.Proves)
		}
		return nil
	}
	ctx, stop := untilSignal()
	defer stop()
	l, err := labUp(ctx, s)
	if err != nil {
		return err
	}
	report, err := l.RunScenarios(ctx, c.Scenarios...)
	err = errors.Join(err, report.WriteTable(s.out), labClose(l))
	if err == nil && report.Failed() {
		err = errScenarios
	}
	return err
}

type labDownCmd struct{}

// Run takes down whatever lab there is.
func (labDownCmd) Run(s std) error {
	ctx, stop := untilSignal()
	defer stop()
	return lab.Down(ctx)
}

func labUp(ctx context.Context, s std) (*lab.Lab, error) {
	if missing := lab.Missing(); len(missing) > 0 {
		return nil, fmt.Errorf("the lab needs what this machine or user lacks: %s; `make setup` as root installs it on Debian", strings.Join(missing, "; "))
	}
	return lab.Up(ctx, lab.Options{Log: slog.New(slog.NewTextHandler(s.err, nil))})
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

func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}
