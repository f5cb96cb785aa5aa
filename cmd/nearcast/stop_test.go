package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/bgp"
	"nearcast/internal/config"
)

// deaf is a speaker that is told of changes and never passes them on.
type deaf struct{}

func (deaf) Renew(time.Time) {}

func (deaf) SetRoutes([]bgp.Route) {}

func (deaf) Flush(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestAFailedWithdrawalClosesTheSessionsBeforeTheDrain: a neighbor that was not told sends clients here as long as its session lives.
func TestAFailedWithdrawalClosesTheSessionsBeforeTheDrain(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" { // not a probe
			close(arrived)
			<-release
		}
		io.WriteString(w, "from the origin")
	}))
	defer origin.Close()
	text := strings.NewReplacer(`"127.0.0.1:443", tls: true, http3: false`, `"`+freeAddress(t)+`"`, "tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }\n", "",
		"http://127.0.0.1:9", origin.URL).Replace(good) + `shutdown: { pause: 0s, settle: 0s }
anycast:
  prefixes: [192.0.2.0/24]
  bgp: { asn: 64500, router_id: 127.0.0.1, neighbors: [{ address: 127.0.0.1, port: 9, asn: 64501 }] }
`
	cfg, err := config.Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := build(cfg, std{io.Discard, io.Discard}, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	e.announcer = bgp.NewAnnouncer(cfg.Anycast, deaf{}, e.inputs, e.log, metrics.NewSet())
	e.start()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + e.front.Listeners()[0].Address.String() + "/slow")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		answer <- string(b)
	}()
	<-arrived

	stopped := make(chan struct{})
	go func() { defer close(stopped); e.stop("test", make(chan os.Signal)) }()
	for _, r := range e.running {
		if r.name != "bgp" {
			continue
		}
		select {
		case <-r.done:
		case <-time.After(20 * time.Second):
			t.Error("the BGP sessions live on while the last request is drained")
		}
	}
	close(release)
	if got := <-answer; got != "from the origin" {
		t.Errorf("the request in flight got %q", got)
	}
	<-stopped
}
