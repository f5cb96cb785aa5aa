package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"nearcast/bench/cachebench"
)

func TestBenchCache(t *testing.T) {
	dir := t.TempDir()
	code, out, errOut := run("bench", "cache", "--quick", "--objects", "300", "--requests", "1000", "--keys", "500", "--pass", "20MiB", "--results", dir, "-o", "json")
	var r cachebench.Report
	if code != exitOK || json.Unmarshal([]byte(out), &r) != nil || len(r.Rows) < 10 || !r.Quick || r.Commit == "" {
		t.Fatalf("%d: %s%s", code, out, errOut)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*-cache.*"))
	if len(files) != 2 {
		t.Errorf("%q", files)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, r.Date.Format("2006-01-02")+"-cache.md")); !strings.Contains(string(text), "quick run") {
		t.Errorf("%s", text)
	}
	if code, _, errOut = run("bench", "cache", "--keys", "1"); code != exitFailed || !strings.Contains(errOut, "two keys") {
		t.Errorf("%d: %s", code, errOut)
	}
	if code, _, errOut = run("bench", "crash", "--kills", "0"); code != exitFailed || !strings.Contains(errOut, "a kill") {
		t.Errorf("%d: %s", code, errOut)
	}
}
