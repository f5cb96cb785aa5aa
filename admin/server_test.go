package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metrics"
)

func start(t *testing.T, healthy bool) string {
	t.Helper()
	Expose()
	set := metrics.NewSet()
	set.GetOrCreateCounter(`nearcast_x_total{service="a"}`).Add(3)
	src := Source{Set: set, Help: map[string]string{"nearcast_x_total": "Counts x\nand \\."},
		Status:  func() any { return map[string]string{"edge": "fra-1"} },
		Healthy: func() (bool, string) { return healthy, "serving" }}
	s, err := Listen(Config{Address: "127.0.0.1:0"}, src, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addr().String()
}

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestMetricsHaveTypeAndHelp(t *testing.T) {
	_, body := fetch(t, start(t, true)+"/metrics")
	want := "# HELP nearcast_x_total Counts x\\nand \\\\.\n# TYPE nearcast_x_total counter\nnearcast_x_total{service=\"a\"} 3\n"
	if !strings.Contains(body, want) {
		t.Errorf("got %q, want in it %q", body, want)
	}
	for line := range strings.Lines(body) {
		if f := strings.Fields(line); f[0] == "#" && len(f) < 4 {
			t.Errorf("no text: %q", line)
		}
	}
	if !strings.Contains(body, "process_resident_memory_bytes") {
		t.Error("the process's own metrics are missing")
	}
}

func TestStatusIsJSONAndHealthzSpeaksInStatusCodes(t *testing.T) {
	if code, body := fetch(t, start(t, true)+"/status"); code != 200 || !strings.Contains(body, `"edge": "fra-1"`) {
		t.Errorf("got %d %q", code, body)
	}
	if code, _ := fetch(t, start(t, true)+"/healthz"); code != 200 {
		t.Errorf("healthy: got %d", code)
	}
	if code, body := fetch(t, start(t, false)+"/healthz"); code != 503 || body != "serving\n" {
		t.Errorf("unhealthy: got %d %q", code, body)
	}
}

func TestAPortInUseIsOneClearSentence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(Config{Address: l.Addr().String()}, Source{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+`": the port is in use`) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAnAddressThereIsNoListener(t *testing.T) {
	s, err := Listen(Config{}, Source{}, nil)
	if s != nil || err != nil || s.Addr() != nil {
		t.Errorf("got %v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}
