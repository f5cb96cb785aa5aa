package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/internal/config"
)

// TestPurgeFromTheCommandLine goes the whole way: command line, admin listener, cache, and the next request.
func TestPurgeFromTheCommandLine(t *testing.T) {
	var asked atomic.Int32
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Key", "page")
		fmt.Fprint(w, asked.Add(1))
	}))
	defer origin.Close()
	adminAddress := freeAddress(t)
	text := strings.NewReplacer(`, tls: true, http3: false`, ``, "tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }\n", "",
		`["http://127.0.0.1:9"] }`, `["`+origin.URL+`"] }, cache: { purge_from: [127.0.0.0/8] }`).Replace(good) + "admin: { address: \"" + adminAddress + "\" }\n"
	file := writeConfig(t, text)
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	var log buffer
	e, err := build(cfg, std{io.Discard, io.Discard}, slog.New(slog.NewTextHandler(&log, nil)), metrics.NewSet())
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	go func() { ended <- e.live(signals) }()
	defer func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	url := "http://" + e.front.Listeners()[0].Address.String() + "/page"
	fetched := func() bool {
		before := asked.Load()
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		io.Copy(io.Discard, res.Body)
		return asked.Load() > before
	}
	store := func() {
		for fetched() { // until it is stored, a moment after its client has it
		}
	}
	store()
	for _, c := range []struct {
		args []string
		code int
		gone bool
		out  string // of it, on standard output
		err  string // on standard error
	}{
		{[]string{"-c", file, url}, exitOK, true, "url   " + url + "  1        purged", "hard purge in every service, asked of " + adminAddress},
		{[]string{"--admin", adminAddress, "--tag", "page", "-o", "json"}, exitOK, true, `{"seq":2,"items":[{"kind":"tag","target":"page","soft":false}]}`, "  tag page"},
		{[]string{"-c", file, "--prefix", strings.TrimSuffix(url, "age"), "--soft", "--service", "shop"}, exitOK, true, "stale", "soft purge in service shop"},
		{[]string{"-c", file, "--all", "--yes"}, exitOK, true, "all   -       1        purged", "everything"},
		{[]string{"-c", file, "--tag", "other"}, exitOK, false, "tag   other   -        purged", ""},
		{[]string{"-c", file, "--all", "--dry-run"}, exitOK, false, "everything", ""},
		{[]string{"-c", file, "--all", "--service", "absent", "--yes"}, exitFailed, false, "", `the edge refused: there is no service "absent"`},
		{[]string{"-c", file, "page"}, exitFailed, false, "must be a URL", "not everything was purged"},
		{[]string{"--admin", freeAddress(t), "--tag", "page"}, exitFailed, false, "", "asking the edge"},
		{[]string{"--admin", "nowhere", "--tag", "page"}, exitFailed, false, "", "must be host:port"},
		{[]string{"-c", file + "x", "--tag", "page"}, exitConfig, false, "", "does not exist"},
		{[]string{"-c", writeConfig(t, good), "--tag", "page"}, exitFailed, false, "", "has no admin.address"},
		{nil, exitUsage, false, "", "nothing is named"},
		{[]string{"--all", "--tag", "page"}, exitUsage, false, "", "all leaves nothing else"},
		{[]string{"--tag", "page", "-o", "xml"}, exitUsage, false, "", "output"},
	} {
		store()
		code, out, errs := run(append([]string{"purge"}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errs, c.err) {
			t.Errorf("%q: exit %d\n%s\n%s", c.args, code, out, errs)
		}
		if fetched() != c.gone {
			t.Errorf("%q: gone is not %t", c.args, c.gone)
		}
	}
	store()
	r, err := http.NewRequest("PURGE", url, strings.NewReader("a body that nobody reads"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(b), `"objects":1`) || !fetched() {
		t.Errorf("PURGE: %d %s", res.StatusCode, b)
	}
	if !strings.Contains(log.String(), "msg=purged kind=tag target=page") || !strings.Contains(log.String(), `by="admin 127.0.0.1:`) {
		t.Errorf("not logged: %s", log.String())
	}
}

func TestEverythingIsPurgedAfterAYesAlone(t *testing.T) {
	var asked atomic.Int32
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		io.WriteString(w, `{"seq":1,"items":[{"kind":"all","soft":false}]}`)
	}))
	defer edge.Close()
	for answer, want := range map[string]int32{"yes\n": 1, "yes": 1, "y\n": 0, "no\n": 0, "": 0, strings.Repeat("x", 1000): 0} {
		asked.Store(0)
		var out, errs bytes.Buffer
		c := purgeCmd{All: true, adminTarget: adminTarget{Admin: strings.TrimPrefix(edge.URL, "http://")}, in: strings.NewReader(answer)}
		if err := c.Run(std{&out, &errs}); (err == nil) != (want == 1) || asked.Load() != want || !strings.Contains(errs.String(), "Go on?") {
			t.Errorf("%q: %v, asked %d times: %s", answer, err, asked.Load(), errs.String())
		}
	}
}

func TestTheEdgeIsAskedWhereItListens(t *testing.T) {
	for in, want := range map[string]string{"": defaultAdmin, ":9180": "127.0.0.1:9180", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1", "10.0.0.1:2": "10.0.0.1:2", "localhost:3": "localhost:3"} {
		if got, err := (&adminTarget{Admin: in}).address(); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
