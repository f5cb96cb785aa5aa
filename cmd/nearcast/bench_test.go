package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bench "nearcast/bench/load"
)

// benchServer answers with as many bytes as the path says, and 404 for "/none".
func benchServer(t *testing.T) (plain, secure *httptest.Server, caFile string) {
	t.Helper()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 5
		if r.URL.Path == "/none" {
			w.WriteHeader(404)
		}
		fmt.Sscanf(r.URL.Path, "/%d", &n)
		io.WriteString(w, strings.Repeat("x", n))
	})
	plain, secure = httptest.NewServer(h), httptest.NewUnstartedServer(h)
	secure.EnableHTTP2 = true
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(func() { plain.Close(); secure.Close() })
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return plain, secure, caFile
}

func TestBenchRun(t *testing.T) {
	plain, secure, ca := benchServer(t)
	pid := fmt.Sprint(os.Getpid())
	code, out, errOut := run("bench", "run", "-p", "h2", "--ca-file", ca, "-c", "2", "-m", "3", "-n", "40", "-w", "0s", "--sizes", "1KiB,3", "-o", "json",
		"--pid", pid, secure.URL+"/{size}")
	var report bench.Report
	if code != exitOK || json.Unmarshal([]byte(out), &report) != nil || report.OK != 40 || report.Server == nil || report.Streams != 3 {
		t.Fatalf("%d: %s%s", code, out, errOut)
	}
	code, out, errOut = run("bench", "run", "-n", "10", "-w", "0s", plain.URL)
	if code != exitOK || !strings.Contains(out, "10 good, 0 failed") || errOut != "" { // no progress where there is no terminal
		t.Errorf("%d: %s%s", code, out, errOut)
	}
	code, out, errOut = run("bench", "run", "-n", "10", "-w", "0s", plain.URL+"/none")
	if code != exitFailed || !strings.Contains(out, "404      10") || !strings.Contains(errOut, "10 failed") {
		t.Errorf("failures: %d: %s%s", code, out, errOut)
	}
	code, _, errOut = run("bench", "run", "-n", "10", secure.URL)
	if code != exitFailed || !strings.Contains(errOut, "--ca-file") {
		t.Errorf("not trusted: %d: %s", code, errOut)
	}
}

func TestBenchRunSaysWhatIsWrongWithItsFlags(t *testing.T) {
	plain, _, _ := benchServer(t)
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-n 1 -H nonsense", "header field"},
		{"-n 1 --sizes 1", "{size}"},
		{"-n 1 --hit-ratio 2", "ratio"},
		{"-n 1 --cpu x", "list of CPUs"},
		{"-n 1 -m 2", "streams"},
		{"-n 1 --pid 1073741824", "no process"},
		{"-n 1 --ca-file /nowhere", "/nowhere"},
		{"-d 0s", "duration"},
	} {
		code, _, errOut := run(append([]string{"bench", "run", plain.URL}, strings.Fields(tt.args)...)...)
		if code != exitFailed || !strings.Contains(errOut, tt.want) {
			t.Errorf("%s: %d: %s", tt.args, code, errOut)
		}
	}
}

func TestBenchCompare(t *testing.T) {
	plain, _, _ := benchServer(t)
	pid := fmt.Sprint("@", os.Getpid())
	code, out, errOut := run("bench", "compare", "-n", "20", "-w", "0s", "one="+plain.URL+pid, "two="+plain.URL+"/9"+pid)
	if code != exitOK || !strings.Contains(out, "Medians of 5 rounds") || !strings.Contains(out, "one : two") {
		t.Errorf("%d: %s%s", code, out, errOut)
	}
	code, out, errOut = run("bench", "compare", "-n", "2", "-w", "0s", "-o", "json", "one="+plain.URL, "two="+plain.URL+"/none")
	var result struct{ Failed int }
	if code != exitFailed || json.Unmarshal([]byte(out), &result) != nil || result.Failed != 10 || !strings.Contains(errOut, "10 failed") {
		t.Errorf("failures: %d: %s%s", code, out, errOut)
	}
	for _, args := range [][]string{{"one=" + plain.URL}, {"one", "two"}, {"--rounds", "3", "one=" + plain.URL, "two=" + plain.URL}} {
		if code, _, _ := run(append([]string{"bench", "compare", "-n", "2"}, args...)...); code != exitFailed {
			t.Errorf("%v: %d", args, code)
		}
	}
}

func TestBenchHandshakesAndIdle(t *testing.T) {
	_, secure, ca := benchServer(t)
	for _, more := range [][]string{nil, {"--resumed"}} {
		code, out, errOut := run(append([]string{"bench", "handshakes", "-p", "h2", "--ca-file", ca, "-n", "5", "-c", "2", "-w", "0s", secure.URL}, more...)...)
		if code != exitOK || !strings.Contains(out, "handshakes") || !strings.Contains(out, "5 good, 0 failed") {
			t.Errorf("%v %d: %s%s", more, code, out, errOut)
		}
	}
	code, out, errOut := run("bench", "idle", "-p", "h2", "--insecure", "-c", "5", "--settle", "10ms", "--pid", fmt.Sprint(os.Getpid()), secure.URL)
	if code != exitOK || !strings.Contains(out, "5 connections, 5 alive") {
		t.Errorf("%d: %s%s", code, out, errOut)
	}
}

func TestProgressText(t *testing.T) {
	for _, tt := range []struct {
		p    bench.Progress
		want string
	}{
		{bench.Progress{Phase: "connecting"}, "connecting"},
		{bench.Progress{Phase: "measuring", Elapsed: 1500 * time.Millisecond, Total: 10 * time.Second, OK: 5, Failed: 1}, "measuring 1.5 of 10.0 s, 5 good, 1 failed"},
		{bench.Progress{Phase: "warming up", Elapsed: 2 * time.Second, Total: time.Second}, "warming up 1.0 of 1.0 s"},
	} {
		if got := progressText(tt.p); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
