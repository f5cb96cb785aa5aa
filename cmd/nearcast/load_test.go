package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/health/load"
	"nearcast/internal/config"
)

// loaded builds an edge with that for its overload section.
func loaded(t *testing.T, overload string) *edge {
	t.Helper()
	text := strings.NewReplacer(`, tls: true, http3: false`, ``, "127.0.0.1:443", freeAddress(t), "tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }\n", "").Replace(good)
	cfg, err := config.Load(writeConfig(t, text+"limits: { max_connections: 100 }\noverload: "+overload+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var out buffer
	e, err := build(cfg, std{&out, &out}, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what was opened is closed by running it
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = e.front.Run(ctx, e.proxy)
		e.proxy.Close()
	})
	return e
}

func TestTheProxyShedsByTheLoadsSamples(t *testing.T) {
	e := loaded(t, "{ shed: true }")
	after, t0 := e.shed(), time.Unix(1e9, 0)
	for i, tt := range []struct {
		seconds       int
		level, latest load.Level
		uncacheable   float64
	}{
		{0, load.High, load.High, 0}, // nothing is known of the time before
		{2, load.High, load.High, 0.1},
		{4, load.High, load.OK, 0.08},
		{8, load.Critical, load.Critical, 0.88},
		{9, load.OK, load.OK, 0.78},
	} {
		after(load.State{At: t0.Add(time.Duration(tt.seconds) * time.Second), Level: load.Critical, Signals: []load.Signal{
			{Name: load.CPU, Level: load.OK, Latest: load.OK}, {Name: load.Memory, Level: tt.level, Latest: tt.latest},
			{Name: load.Connections, Level: load.Critical, Latest: load.Critical}, {Name: load.Descriptors}}})
		if u, f := e.proxy.Shedding(); u != tt.uncacheable || f != 0 {
			t.Errorf("sample %d: %v and %v, want %v", i, u, f, tt.uncacheable)
		}
	}
	if e := loaded(t, "{ shed: false }"); e.shed() != nil {
		t.Error("with shed: false the proxy is told of the load")
	}
}

func TestTheStatusTellsTheLoad(t *testing.T) {
	e := loaded(t, "{ interval: 100ms, descriptors: { high: 0.0001, critical: 1 } }")
	for range 3 {
		c, err := net.Dial("tcp", e.front.Listeners()[0].Address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	changed := e.load.Subscribe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.load.Run(ctx) }()
	defer func() { cancel(); <-done }()
	<-changed // some descriptors are open: the level becomes high
	text, err := json.Marshal(e.status())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Load struct {
			Level   string
			Detail  string
			Signals []struct {
				Name, Level, Detail string
				Value               float64
			}
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Load.Level != "high" || !strings.HasPrefix(got.Load.Detail, "descriptors 0.") {
		t.Errorf("%s", text)
	}
	for _, s := range got.Load.Signals {
		if (s.Name == load.AcceptQueue || s.Name == load.Connections) && s.Level != "ok" {
			t.Errorf("%+v", s)
		}
		if s.Name == load.Connections && s.Detail != "0 of 100" {
			t.Errorf("%+v", s)
		}
	}
}
