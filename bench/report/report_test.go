package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"nearcast/bench/peers"
	"nearcast/bench/table"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a report with a row of each kind.
func sample() Report {
	side := func(value, perSecond float64) table.Sample {
		return table.Sample{Value: value, Requests: 250000, PerSecond: perSecond, P50: 812.5, P99: 2400, Server: 0.93, ServerCore: 0.97, LoadCore: 0.884}
	}
	result := func(name, title, peer string, target float64, ours, theirs table.Sample, v table.Verdict) table.Result {
		ratio := ours.Value / theirs.Value
		return table.Result{Row: table.Row{Name: name, Title: title, Peer: peer, Protocol: peers.HTTP1, Body: 1024, Connections: 64, Streams: 1, Target: target},
			Ours: ours, Peer: theirs, Ratio: ratio, Lowest: ratio * 0.9, Highest: ratio * 1.25, Verdict: v, Seconds: 61.5,
			Pairs: []table.Pair{{Ours: ours, Peer: theirs, OursFirst: true, Ratio: ratio}}}
	}
	idle := result("idle", "idle HTTPS connection", "caddy", 0.5, table.Sample{Value: 21.25, Requests: 4000}, table.Sample{Value: 40.3, Requests: 4000}, table.Missed)
	idle.Row.Idle = true
	return Report{
		Date: time.Date(2026, 11, 28, 9, 30, 0, 0, time.UTC), Commit: "0123456789ab",
		Machine:  Machine{CPU: "Some CPU <9000>", Cores: 2, Memory: 23.5, Kernel: "Linux 6.18.0 x86_64", Load: "0.01 0.02 0.00", Go: "go1.26.8"},
		Versions: map[string]string{"nginx": "nginx/1.22.1", "nearcast": "devel", "caddy": "caddy v2.11.9"},
		Rounds:   5, Duration: 5, Warmup: 1, Took: 1503,
		Rows: []table.Result{
			result("h1-1k", "cached 1 KiB, HTTP/1.1", "nginx", 0.6, side(7.9, 101234.4), side(15.8, 61675), table.Met),
			result("h1-1k", "cached 1 KiB, HTTP/1.1", "varnish", 0, side(8.1, 99000), side(31.2, 31012), table.Information),
			result("h2-1k", "cached 1 KiB, HTTP/2", "nginx", 0.25, side(30.1, 60000), side(13.4, 73070), table.Missed),
			{Row: table.Row{Name: "h3-1k", Title: "cached 1 KiB, HTTP/3", Peer: "caddy", Target: 0.2}, Verdict: table.Failed, Pairs: []table.Pair{},
				Error: "caddy: it ended instead of serving; its log ends with: a\n\nb"},
			idle,
		},
	}
}

func TestFormats(t *testing.T) {
	r := sample()
	for name, write := range map[string]func(io.Writer) error{
		"report.json": r.WriteJSON,
		"report.md":   func(w io.Writer) error { return r.WriteMarkdown(w, "2026-11-28-peers") },
		"report.svg":  r.WriteSVG,
		"report.txt":  r.WriteTable,
	} {
		for range 3 { // maps have no order
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
		}
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what was written; go test ./bench/report -update writes it anew:\n%s", file, got)
	}
}

func TestQuickReportSaysSo(t *testing.T) {
	r := sample()
	r.Rounds = 2
	var md, txt bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&md, "x"), r.WriteTable(&txt)); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{md.String(), txt.String()} {
		if !strings.Contains(out, "2 pairs") || !strings.Contains(out, "too few for a verdict, which needs 5") {
			t.Errorf("not said:\n%s", out)
		}
	}
}

func TestDisturbedRowsAreNamed(t *testing.T) {
	r := sample()
	r.Rows[1].Peer.Server = 0.5
	r.Rows[4].Peer.ServerCore = 1 // an idle row: what its core does says nothing about memory
	var md, txt bytes.Buffer
	if err := errors.Join(r.WriteMarkdown(&md, "x"), r.WriteTable(&txt)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"to something else in h1-1k/varnish.**", "to something else: h1-1k/varnish\n"} {
		if !strings.Contains(md.String()+txt.String(), want) {
			t.Errorf("%q is not in\n%s\n%s", want, &md, &txt)
		}
	}
}

func TestSVGIsXML(t *testing.T) {
	for name, r := range map[string]Report{"full": sample(), "empty": {}} {
		var b bytes.Buffer
		if err := r.WriteSVG(&b); err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(&b); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

func TestJSONIsReadBack(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	got, err := ReadJSON(&b)
	if err != nil || !reflect.DeepEqual(got, sample()) {
		t.Errorf("%v\n%+v", err, got)
	}
}

func TestFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "results")
	for range 2 { // the second replaces the first
		names, err := sample().WriteFiles(dir, "peers")
		if err != nil || len(names) != 3 {
			t.Fatalf("%v, %v", names, err)
		}
	}
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "2026-11-28-peers.json 2026-11-28-peers.md 2026-11-28-peers.svg" {
		t.Errorf("%s, %v", got, err)
	}
	md, err := os.ReadFile(filepath.Join(dir, "2026-11-28-peers.md"))
	if err != nil || !bytes.Contains(md, []byte("](2026-11-28-peers.svg)")) {
		t.Errorf("the plot is not shown: %v", err)
	}
	failing := func(io.Writer) error { return io.ErrShortWrite }
	file := filepath.Join(dir, names[0])
	before, _ := os.ReadFile(file)
	if err := writeFile(file, failing); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("%v", err)
	}
	after, _ := os.ReadFile(file)
	if entries, _ := os.ReadDir(dir); len(entries) != 3 || !bytes.Equal(before, after) {
		t.Error("a report that failed left something or took something away")
	}
}

func TestThisMachine(t *testing.T) {
	m := ThisMachine(2)
	if m.Cores != 2 || m.Memory <= 0 || !strings.HasPrefix(m.Kernel, "Linux ") || m.Load == "unknown" || !strings.HasPrefix(m.Go, "go") {
		t.Errorf("%+v", m)
	}
	if v := valueOf("processor\t: 0\nmodel name\t: A CPU: fast\n", "model name", "?"); v != "A CPU: fast" {
		t.Errorf("%q", v)
	}
}
