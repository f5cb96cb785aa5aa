package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/internal/config"
)

// announcingEdge runs an edge with a route, a short ladder and an admin listener; its neighbor is not there.
func announcingEdge(t *testing.T) (e *edge, adminAddress string) {
	t.Helper()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(origin.Close)
	adminAddress = freeAddress(t)
	text := strings.NewReplacer(`"127.0.0.1:443", tls: true, http3: false`, `"`+freeAddress(t)+`"`, "tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }\n", "",
		"http://127.0.0.1:9", origin.URL).Replace(good) + `shutdown: { pause: 0s, settle: 0s }
admin: { address: "` + adminAddress + `" }
anycast:
  prefixes: [192.0.2.0/24, "2001:db8:53::/48"]
  bgp: { asn: 64500, router_id: 127.0.0.1, neighbors: [{ address: 127.0.0.1, port: 9, asn: 64501, next_hop_ipv6: "2001:db8::1" }] }
  self_probe: { interval: 100ms, timeout: 100ms }
  rise: { consecutive: 1, for: 0s }
  drain: [{ community: graceful-shutdown, for: 100ms }, { prepend: 2, for: 100ms }]
`
	cfg, err := config.Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	e, err = build(cfg, std{io.Discard, io.Discard}, slog.New(slog.DiscardHandler), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	go func() { ended <- e.live(signals) }()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e, adminAddress
}

// standsAt waits until the edge's first prefix has that level.
func standsAt(t *testing.T, address, level string) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		st, raw, err := askStatus(address)
		if err == nil && len(st.Prefixes) > 0 && st.Prefixes[0].Level == level {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not %s: %s %v", level, raw, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestDrainFromTheCommandLine goes the whole way, and back.
func TestDrainFromTheCommandLine(t *testing.T) {
	_, address := announcingEdge(t)
	standsAt(t, address, "full")
	code, out, errs := run("drain", "--admin", address, "--dry-run", "--prefix", "192.0.2.0/24")
	if code != exitOK || out != "" || !strings.Contains(errs, "community graceful-shutdown for 100ms, then 2 prepends for 100ms, then withdraw") || strings.Contains(errs, "2001:") {
		t.Errorf("dry run: exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs = run("drain", "--admin", address, "--dry-run", "--prefix", "2001:DB8:53:0::/48"); code != exitOK || !strings.Contains(errs, "2001:db8:53::/48  full") {
		t.Errorf("dry run of a prefix in another spelling: exit %d\n%s%s", code, out, errs)
	}
	standsAt(t, address, "full")
	if code, out, errs = run("drain", "--admin", address, "--yes", "--prefix", "2001:DB8:53::/48"); code != exitOK || !strings.Contains(out, "2001:db8:53::/48: withdrawn") {
		t.Errorf("drain of a prefix in another spelling: exit %d\n%s%s", code, out, errs)
	}
	if code, out, _ = run("status", "--admin", address); !strings.Contains(out, "DRAINING 2001:db8:53::/48, ordered") {
		t.Errorf("status: exit %d, does not say what is draining\n%s", code, out)
	}
	code, out, errs = run("drain", "--admin", address, "--yes", "--why", "new kernel")
	if code != exitOK || !strings.Contains(out, "192.0.2.0/24: withdrawn: draining") || !strings.Contains(out, "2001:db8:53::/48: withdrawn") {
		t.Errorf("drain: exit %d\n%s%s", code, out, errs)
	}
	code, out, _ = run("status", "--admin", address)
	if code != exitOK || !strings.Contains(out, "DRAINING, ordered") || !strings.Contains(out, "new kernel") || !strings.Contains(out, "connect") {
		t.Errorf("status: exit %d\n%s", code, out)
	}
	code, out, _ = run("status", "--admin", address, "-o", "json")
	if code != exitOK || !json.Valid([]byte(out)) {
		t.Errorf("status in JSON: exit %d\n%s", code, out)
	}
	if code, out, errs = run("undrain", "--admin", address); code != exitOK || !strings.Contains(out, "192.0.2.0/24") {
		t.Errorf("undrain: exit %d\n%s%s", code, out, errs)
	}
	standsAt(t, address, "full")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--prefix", "192.0.2.1"}, exitUsage, "is not a prefix"},
		{[]string{"--prefix", "198.51.100.0/24", "--yes"}, exitFailed, "not one of the prefixes"},
		{[]string{"--admin", "127.0.0.1:9"}, exitFailed, "asking the edge"},
	} {
		if code, _, errs := run(append([]string{"drain", "--admin", address}, c.args...)...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, errs)
		}
	}
}

// fakeStatus is enough of an edge's status for the plan.
const fakeStatus = `{"edge":"fra-1","region":"fra","prefixes":[{"prefix":"192.0.2.0/24","level":"full","reason":"serving","announced":true}],"drain":{"ladder":[]}}`

// TestDrainAsksAndObeysGuards: nothing is ordered without a yes, and a guard's refusal has an exit code of its own.
func TestDrainAsksAndObeysGuards(t *testing.T) {
	var ordered atomic.Int32
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			ordered.Add(1)
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"error":"192.0.2.0/24: no other edge is known to hold the route in good health"}`)
			return
		}
		io.WriteString(w, fakeStatus)
	}))
	defer edge.Close()
	for answer, want := range map[string]int32{"no\n": 0, "": 0, "yes\n": 1} {
		ordered.Store(0)
		var out, errs bytes.Buffer
		c := drainCmd{adminTarget: adminTarget{Admin: strings.TrimPrefix(edge.URL, "http://")}, in: strings.NewReader(answer)}
		err := c.Run(std{&out, &errs})
		if ordered.Load() != want || err == nil {
			t.Errorf("%q: %v, ordered %d times", answer, err, ordered.Load())
		}
		if code := report(&errs, err); want == 1 && (code != exitGuard || !strings.Contains(errs.String(), "no other edge")) {
			t.Errorf("refused by the guard: exit %d, %s", code, errs.String())
		}
	}
}

// TestAnEdgeThatTakesNoOrdersIsGivenNone: one that announces nothing, or has decided nothing yet, or is of an older version.
func TestAnEdgeThatTakesNoOrdersIsGivenNone(t *testing.T) {
	for answer, says := range map[string]string{
		`{"edge":"fra-1","version":"0.3","prefixes":[{"prefix":"192.0.2.0/24","announced":true,"reason":"serving"}]}`: "nearcast 0.3, which can't be drained",
		`{"edge":"fra-1","version":"0.5"}`:                       "fra-1 announces nothing",
		`{"edge":"fra-1","version":"0.5","drain":{"ladder":[]}}`: "only just started",
	} {
		edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				t.Errorf("it was given the order %s", r.URL.Path)
			}
			io.WriteString(w, answer)
		}))
		for _, args := range [][]string{{"drain", "--yes"}, {"undrain"}} {
			if code, _, errs := run(append(args, "--admin", strings.TrimPrefix(edge.URL, "http://"))...); code != exitFailed || !strings.Contains(errs, says) {
				t.Errorf("%s: exit %d, %s", args[0], code, errs)
			}
		}
		edge.Close()
	}
}

// TestUndrainShowsWhatCameOfIt and not how it was when the order was given: an edge in the middle of a step takes a moment.
func TestUndrainShowsWhatCameOfIt(t *testing.T) {
	var asked atomic.Int32
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		level := `"level":"full","reason":"serving"`
		if r.Method == http.MethodGet && asked.Add(1) < 3 {
			level = `"level":"draining","reason":"draining"`
		}
		io.WriteString(w, `{"edge":"fra-1","prefixes":[{"prefix":"192.0.2.0/24","announced":true,`+level+`}],"drain":{"ladder":[]}}`)
	}))
	defer edge.Close()
	code, out, errs := run("undrain", "--admin", strings.TrimPrefix(edge.URL, "http://"))
	if code != exitOK || out != "192.0.2.0/24  full: serving\n" {
		t.Errorf("exit %d, %q %s", code, out, errs)
	}
}

// TestADrainThatGoesNoFurtherSaysWhy to whoever follows it.
func TestADrainThatGoesNoFurtherSaysWhy(t *testing.T) {
	p := prefixView{Level: "draining", Reason: "last region standing", Detail: "no other edge is known to hold the route", Step: 2, Prepend: 3}
	if got := p.standing(); got != "draining: last region standing, step 2, 3 prepends (no other edge is known to hold the route)" {
		t.Error(got)
	}
}

func TestStatusSaysHowLong(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0s", 5400 * time.Millisecond: "5s", 61 * time.Second: "1m1s", 3*time.Hour + 61*time.Second: "3h1m", 72 * time.Hour: "3d"} {
		if got := roughly(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
