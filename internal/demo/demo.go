// Package demo shows the edge's main job on one machine, without root: three edges as processes on loopback addresses, an
// origin for each, and a router that takes their BGP sessions and forwards TCP and UDP for the anycast address to the
// nearest edge that announces it.
//
// The router is ours, small, and runs in this process; edges, origins and every byte between them are real. It decides by a
// table of distances instead of path attributes, and it keeps a connection on its edge while that drains.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Options say how to demonstrate.
type Options struct {
	// Stdout takes the screen. Default os.Stdout.
	Stdout io.Writer
	// Executable is the nearcast binary, which must have the subcommands `run -c FILE` and
	// `demo-origin --region NAME --listen ADDRESS` (see Origin). Default: this process's own.
	Executable string
	// Once ends after the tour. Otherwise the demonstration stays up until ctx ends and starts again what was killed.
	Once bool
	// BasePort is the first of five consecutive ports: HTTPS (TCP and UDP), HTTP, BGP, admin, origin.
	// Default: 8443, 8080, 1790, 9180 and 8000.
	BasePort uint16
}

// restartPause is how long after the tour a killed process stays away: long enough to watch.
const restartPause = 5 * time.Second

// Main runs the demonstration. With Once it returns nil when every step of the tour held, else when ctx has ended. Everything
// that it started has ended then, and its files are gone.
func Main(ctx context.Context, o Options) error {
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		o.Executable = exe
	}
	out := &screen{w: o.Stdout, start: time.Now()}
	c, err := newCluster(o, out)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	err = c.run(ctx, func(ctx context.Context) error {
		out.say("Three edges, three origins and a router are starting.")
		if err := c.ready(ctx); err != nil {
			return err
		}
		out.print(c.manual())
		held := (&tour{cluster: c}).run(ctx)
		if ctx.Err() != nil || o.Once {
			return held
		}
		if held != nil {
			out.say("%v", held)
		}
		out.say("The tour is over. Kill what you like: it is started again after %v. Ctrl-C ends it all.", restartPause)
		out.print(c.victims()) // the tour has killed some, and what took their place has other pids
		return c.revive(ctx)
	})
	if !o.Once && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// screen prints plain lines.
type screen struct {
	start time.Time

	mu sync.Mutex
	w  io.Writer
}

// say prints one line with the time since the start.
func (s *screen) say(format string, args ...any) {
	s.print(fmt.Sprintf("%6.2fs  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...)))
}

func (s *screen) print(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	io.WriteString(s.w, text)
}
