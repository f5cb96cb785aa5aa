package main

import (
	"context"
	"os/signal"
	"syscall"

	"nearcast/internal/demo"
)

type demoCmd struct {
	Once     bool   `help:"Exit after the tour: 0 if every step held, else 1."`
	BasePort uint16 `help:"First of five consecutive ports to use instead of 8443, 8080, 1790, 9180 and 8000."`
}

// Run shows the main job on this machine until Ctrl-C.
func (c *demoCmd) Run(s std) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return demo.Main(ctx, demo.Options{Stdout: s.out, Once: c.Once, BasePort: c.BasePort})
}

type demoOriginCmd struct {
	Region string `required:"" help:"The origin's region."`
	Listen string `required:"" help:"host:port to serve on."`
}

// Run serves one of the demonstration's origins.
func (c *demoOriginCmd) Run() error {
	ctx, stop := untilSignal()
	defer stop()
	return demo.Origin(ctx, c.Region, c.Listen)
}
