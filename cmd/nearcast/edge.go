package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/admin"
	"nearcast/bgp"
	"nearcast/bgp/bfd"
	"nearcast/cache"
	"nearcast/cache/disk"
	"nearcast/fleet"
	"nearcast/geo"
	"nearcast/health"
	"nearcast/health/load"
	"nearcast/internal/config"
	"nearcast/internal/loopback"
	"nearcast/proxy"
	"nearcast/proxy/front"
	"nearcast/proxy/h3"
	"nearcast/proxy/h3/flood"
	"nearcast/proxy/h3/replay"
	"nearcast/proxy/h3/rescue"
)

// edge is one process's parts, wired.
type edge struct {
	cfg *config.Config
	log *slog.Logger

	places    *geo.DB
	cache     *cache.Cache
	proxy     *proxy.Proxy
	front     *front.Front
	monitor   *health.Monitor
	load      *load.Monitor
	speaker   *bgp.Speaker        // nil without an anycast section
	routes    *routes             // nil without an anycast section
	announcer *bgp.Announcer      // nil without an anycast section
	addresses *loopback.Addresses // nil without anycast.addresses
	fleet     *fleet.Fleet        // nil without a fleet section
	admin     *admin.Server
	pauses    pauses // of the listeners
	started   time.Time
	token     string // of the questions to itself

	hurried context.Context // ends when what a stop waits for is to be skipped
	hurry   context.CancelFunc

	stages  []stage
	running []running
	failed  chan error
}

// stage is a part that runs. The list of stages is the order of the start, and from its end the order of the stop.
type stage struct {
	name string
	run  func(context.Context) error
}

type running struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
}

// build makes everything that can fail: files are read, sockets opened. Nothing is announced or probed yet.
func build(cfg *config.Config, s std, log *slog.Logger, set *metrics.Set) (_ *edge, err error) {
	e := &edge{cfg: cfg, log: log, started: time.Now(), failed: make(chan error, 1)}
	e.hurried, e.hurry = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			e.abandon()
		}
	}()
	if cfg.Geo.DatabaseFile != "" {
		if e.places, err = geo.Open(cfg.Geo.DatabaseFile); err != nil {
			return nil, fmt.Errorf("geo.database_file: %w", err)
		}
	}
	e.monitor = health.New(log, set)
	e.cache = cache.New(cfg.Cache, set)
	access := accessOutput(cfg.Log.Access, s, set)
	if e.proxy, err = proxy.New(proxyOptions(cfg, e, log, access, set)); err != nil {
		return nil, err
	}
	if cfg.Anycast != nil {
		if err = cfg.Anycast.CheckStateFile(); err != nil {
			return nil, err
		}
		if e.speaker, err = bgp.NewSpeaker(cfg.Anycast, log, set); err != nil {
			return nil, err
		}
		beacon, _ := cfg.Anycast.Beacon()
		e.routes = newRoutes(e.speaker, beacon)
		e.announcer = bgp.NewAnnouncer(cfg.Anycast, e.routes, e.inputs, log, set)
		e.announcer.Gate, e.announcer.Told = e.gate, e.told
		if err = e.prepareAddresses(set); err != nil {
			return nil, err
		}
	}
	if e.fleet, err = openFleet(cfg, log, set); err != nil {
		return nil, err
	}
	if e.front, err = front.OpenInFleet(e.shared(log, set), cfg.Listen, cfg.TLS, cfg.Limits, log, set); err != nil {
		return nil, err
	}
	if e.routes != nil {
		e.routes.tell = e.front.SetState
		e.front.SetState(rescue.Draining) // until there is a route
	}
	e.load = e.loadMonitor(log, set)
	if e.admin, err = admin.Listen(cfg.Admin, e.source(set), log); err != nil {
		return nil, err
	}
	if d := cfg.Cache.Disk; d != nil { // last: what has failed before it leaves no store open
		if err := e.cache.OpenDisk(*d, log, set); err != nil {
			return nil, fmt.Errorf("cache.disk: %w", err)
		}
	}
	e.monitor.SetTargets(append(e.proxy.Targets(), e.selfTargets()...))
	e.list(access)
	return e, nil
}

// abandon closes what build had opened when it failed.
func (e *edge) abandon() {
	e.hurry()
	ended, end := context.WithCancel(context.Background())
	end()
	_ = e.admin.Run(ended) // which closes the socket
	_ = e.fleet.Run(ended)
	if e.front != nil {
		e.front.Close(ended)
	}
	if e.speaker != nil {
		e.speaker.Close()
	}
	e.addresses.Undo() // after the listeners that have them
	if e.proxy != nil {
		e.proxy.Close()
	}
	_ = e.places.Close()
}

// list is the order of the start; a stop goes the other way.
func (e *edge) list(access *logWriter) {
	always := func(run func(context.Context)) func(context.Context) error {
		return func(ctx context.Context) error { run(ctx); return nil }
	}
	if access != nil {
		e.stages = append(e.stages, stage{"access log", always(access.Run)})
	}
	if e.addresses != nil {
		e.stages = append(e.stages, stage{"anycast addresses", always(e.addresses.Run)})
	}
	e.stages = append(e.stages,
		stage{"admin", e.admin.Run},
		stage{"cache", always(e.cache.Run)},
		stage{"health", always(e.monitor.Run)},
		stage{"load", always(e.load.Run)},
		stage{"http", func(ctx context.Context) error { return e.front.Run(ctx, e.proxy) }},
		stage{"fleet", e.fleet.Run})
	if e.speaker != nil {
		e.stages = append(e.stages,
			stage{"bgp", e.speaker.Run},
			stage{"announce", always(e.announcer.Run)},
			stage{"health to routes", always(e.wakeAnnouncer)},
			stage{"routes to clients", always(func(ctx context.Context) { e.sendClientsOn(ctx, e.routes.moved) })})
	}
}

// wakeAnnouncer makes the announcer look again whenever something that it decides from has changed.
func (e *edge) wakeAnnouncer(ctx context.Context) {
	health, fleet, load := e.monitor.Subscribe(), e.fleet.Subscribe(), e.load.Subscribe()
	for {
		e.announcer.Wake()
		select {
		case <-ctx.Done():
			return
		case <-health:
		case <-fleet:
		case <-load:
		case <-e.speaker.ViewChanged():
		}
	}
}

func accessOutput(where string, s std, set *metrics.Set) *logWriter {
	to := s.out
	switch where {
	case "off":
		return nil
	case "stderr":
		to = s.err
	}
	return newLogWriter(to, set.GetOrCreateCounter("nearcast_access_log_dropped_lines_total"))
}

func proxyOptions(cfg *config.Config, e *edge, log *slog.Logger, access *logWriter, set *metrics.Set) proxy.Options {
	if asked := cfg.Cache.Memory; cfg.Cache.Fit() {
		log.Warn("cache.memory is more than GOMEMLIMIT leaves room for, and has been reduced", "memory", asked.String(), "reduced", cfg.Cache.Memory.String())
	}
	o := proxy.Options{
		Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Regions: cfg.Regions, Services: cfg.Services,
		MaxBody: int64(cfg.Limits.MaxBodySize), MaxHeader: int64(cfg.Limits.MaxHeaderSize),
		Cache: e.cache, Health: e.monitor, Places: e.places,
		SelfToken: rand.Text(), Log: log, Set: set,
	}
	e.token = o.SelfToken
	if access != nil {
		o.AccessLog = access
	}
	return o
}

// helpTexts joins the packages' metric texts.
func helpTexts() map[string]string {
	all := map[string]string{
		"nearcast_access_log_dropped_lines_total":  "Access log lines dropped because the log's reader was too slow or gone.",
		"nearcast_process_log_dropped_lines_total": "Process log lines dropped because the log's reader was too slow or gone.",
		"nearcast_info": "1, with this edge's name, region and version.",
	}
	for _, m := range []map[string]string{proxy.MetricHelp, front.MetricHelp, h3.MetricHelp, flood.MetricHelp, health.MetricHelp, load.MetricHelp, cache.MetricHelp, disk.MetricHelp,
		bgp.MetricHelp, bfd.MetricHelp, loopback.MetricHelp, fleet.MetricHelp, rescue.MetricHelp, replay.MetricHelp} {
		maps.Copy(all, m)
	}
	return all
}

func (e *edge) source(set *metrics.Set) admin.Source {
	admin.Expose()
	set.GetOrCreateGauge(fmt.Sprintf(`nearcast_info{edge=%q,region=%q,version=%q}`, e.cfg.Edge.Name, e.cfg.Edge.Region, version), func() float64 { return 1 })
	s := admin.Source{Set: set, Help: helpTexts(), Status: func() any { return e.status() }, Healthy: e.healthy,
		Purger: e.proxy, Inspector: e.proxy}
	if e.announcer != nil {
		s.Orderer = orderer{e}
	}
	return s
}
