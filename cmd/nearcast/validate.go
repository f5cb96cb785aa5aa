package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/geo"
	"nearcast/internal/config"
	"nearcast/proxy"
	"nearcast/proxy/front"
)

type validateCmd struct {
	Config string `short:"c" required:"" type:"path" help:"The configuration file."`
}

// Run checks what a start would check, except that it opens no socket.
func (c *validateCmd) Run(s std) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := check(cfg); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s is valid\n", c.Config)
	return nil
}

// check opens every file that the configuration names and builds what needs no socket.
func check(cfg *config.Config) error {
	var errs []error
	if cfg.Geo.DatabaseFile != "" {
		db, err := geo.Open(cfg.Geo.DatabaseFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("geo.database_file: %w", err))
		}
		_ = db.Close()
	}
	if err := front.Check(cfg.Listen, cfg.TLS); err != nil {
		errs = append(errs, err)
	}
	if cfg.Anycast != nil {
		if err := cfg.Anycast.CheckStateFile(); err != nil {
			errs = append(errs, err)
		}
		s, err := bgp.NewSpeaker(cfg.Anycast, slog.New(slog.DiscardHandler), metrics.NewSet())
		if err != nil {
			errs = append(errs, err)
		} else {
			s.Close()
		}
	}
	if cfg.Fleet != nil {
		if err := cfg.Fleet.CheckSecret(); err != nil {
			errs = append(errs, err)
		}
	}
	p, err := proxy.New(proxy.Options{Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Regions: cfg.Regions, Services: cfg.Services})
	if err != nil {
		errs = append(errs, err)
	} else {
		p.Close()
	}
	return errors.Join(errs...)
}
