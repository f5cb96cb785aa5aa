package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"nearcast/internal/config"
)

type runCmd struct {
	Config string `short:"c" required:"" type:"path" help:"The configuration file."`
}

// Run is the edge's life: build everything that can fail, start from the top of the list, stop from its bottom.
func (c *runCmd) Run(s std) error {
	cfg, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: cfg.Log.Level})).With("edge", cfg.Edge.Name)
	e, err := build(cfg, s, log)
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

// stop takes the edge down: the routes are withdrawn, serving goes on while routers move the traffic, requests in flight
// end, then everything is closed from the bottom of the list up. Another signal skips what is being waited for.
func (e *edge) stop(why string, signals <-chan os.Signal) {
	hurry, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		for {
			select {
			case sig := <-signals:
				if sig != syscall.SIGHUP {
					e.log.Warn("stopping at once", "signal", signalName(sig))
					cancel()
				}
			case <-hurry.Done():
				return
			}
		}
	}()
	begun := time.Now()
	if e.announcer != nil {
		ctx, done := context.WithTimeout(hurry, withdrawTimeout)
		if err := e.announcer.Stop(ctx); err != nil {
			e.log.Warn("the withdrawal may not have reached every neighbor", "error", err)
		} else {
			e.log.Info("routes withdrawn", "took", time.Since(begun))
		}
		done()
		pause(hurry, e.cfg.Shutdown.Settle)
	}
	e.front.Drain()
	drain, done := context.WithTimeout(hurry, e.cfg.Shutdown.DrainTimeout)
	cut := e.front.Close(drain)
	done()
	e.log.Info("drained", "cut", cut, "took", time.Since(begun))
	if e.speaker != nil {
		ctx, done := context.WithTimeout(hurry, withdrawTimeout)
		if err := e.speaker.Stop(ctx, "nearcast "+e.cfg.Edge.Name+": "+why); err != nil {
			e.log.Warn("a BGP session did not close in time", "error", err)
		}
		done()
	}
	for i := len(e.running) - 1; i >= 0; i-- {
		e.running[i].cancel()
		<-e.running[i].done
	}
	select {
	case err := <-e.failed:
		e.log.Warn("a part of the edge failed while it was stopping", "error", err)
	default:
	}
	e.proxy.Close()
	_ = e.places.Close()
}

// withdrawTimeout bounds how long a stop waits for the neighbors: what they have not heard then they learn from the closed session.
const withdrawTimeout = 3 * time.Second

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
