package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"nearcast/internal/config"

	"github.com/VictoriaMetrics/metrics"
)

// buffer is a bytes.Buffer that a test may read while the edge writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestAPlainProxyServesAndStopsWithoutLosingARequest(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-release
		}
		io.WriteString(w, "from the origin")
	}))
	defer origin.Close()
	text := strings.NewReplacer(`, tls: true, http3: false`, ``, "tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }\n", "",
		"http://127.0.0.1:9", origin.URL).Replace(good) + "admin: { address: \"" + freeAddress(t) + "\" }\n"
	cfg, err := config.Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	var access, log buffer
	e, err := build(cfg, std{&access, &log}, slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	go func() { ended <- e.live(signals) }()

	base := "http://" + e.front.Listeners()[0].Address.String()
	slow := make(chan string, 1)
	go func() {
		res, err := http.Get(base + "/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		slow <- string(b)
	}()
	<-arrived
	signals <- syscall.SIGHUP // must not end it
	signals <- syscall.SIGTERM
	for !strings.Contains(log.String(), "stopped by SIGTERM") {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if got := <-slow; got != "from the origin" {
		t.Errorf("the request in flight got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(access.String(), `"target":"/slow","status":200`) {
		t.Errorf("the access log lacks the request: %q", access.String())
	}
	if !strings.Contains(log.String(), "SIGHUP does nothing") {
		t.Error("SIGHUP is to be answered in the log")
	}
	if _, err := http.Get(base + "/"); err == nil {
		t.Error("it still listens")
	}
}
