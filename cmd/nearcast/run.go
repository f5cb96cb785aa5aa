package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/internal/config"
)

type runCmd struct {
	Config string `short:"c" required:"" type:"path" help:"The configuration file."`
}

// Run is the edge's life: build everything that can fail, start from the top of the list, stop from its bottom.
func (c *runCmd) Run(s std) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	set := metrics.NewSet()
	log, flush := processLog(cfg, s.err, set)
	defer flush()
	e, err := build(cfg, s, log, set)
	if err != nil {
		return err
	}
	// A reader of the logs that dies must not take the edge with it: without this a write to standard output or error would.
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	return e.live(signals)
}

// processLog is the log of everything but requests. flush writes what is left of it.
func processLog(cfg *config.Config, to io.Writer, set *metrics.Set) (log *slog.Logger, flush func()) {
	w := newLogWriter(to, set.GetOrCreateCounter("nearcast_process_log_dropped_lines_total"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: cfg.Log.Level})).With("edge", cfg.Edge.Name)
	return log, func() { cancel(); <-done }
}

// live runs the edge until a signal or a failure, and takes it down in order.
func (e *edge) live(signals <-chan os.Signal) error {
	e.start()
	for _, l := range e.front.Listeners() {
		e.log.Info("listening", "listener", l.Name, "address", l.Address, "tls", l.TLS, "protocols", fmt.Sprint(l.Protocols))
	}
	var why string
	for why == "" {
		select {
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				e.log.Warn("SIGHUP does nothing: this version reads its configuration only at the start; restart it to change something")
				continue
			}
			why = "stopped by " + signalName(sig)
		case err := <-e.failed:
			e.log.Error("a part of the edge has failed; stopping", "error", err)
			e.stop("stopped after a failure", signals)
			return err
		}
	}
	e.log.Info(why)
	e.stop(why, signals)
	return nil
}

func signalName(s os.Signal) string {
	switch s {
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGINT:
		return "SIGINT"
	}
	return s.String()
}

// start runs the stages, top down.
func (e *edge) start() {
	for _, st := range e.stages {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		e.running = append(e.running, running{st.name, cancel, done})
		go func() {
			defer close(done)
			if err := st.run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				select {
				case e.failed <- fmt.Errorf("%s: %w", st.name, err):
				default:
				}
			}
		}()
	}
}
