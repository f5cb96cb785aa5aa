package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"nearcast/internal/config"
)

// basePort is below the range that kernels hand out, and differs between test processes.
func basePort() uint16 { return uint16(20000 + os.Getpid()%2000*5) }

// leftovers makes a temporary directory for Main's own, and checks at the end that it is empty.
func leftovers(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(dir, "nearcast-demo-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestTour runs the whole demonstration with the real binary.
func TestTour(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and takes half a minute")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs the whole of 127.0.0.0/8 on the loopback interface, as Linux has")
	}
	exe := filepath.Join(t.TempDir(), "nearcast")
	if out, err := exec.Command("go", "build", "-o", exe, "nearcast/cmd/nearcast").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(exe, "demo-origin", "--help").CombinedOutput(); err != nil {
		t.Fatalf("the binary has no demo-origin command: %s", out)
	}
	leftovers(t)
	said := new(lines)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	err := Main(ctx, Options{Stdout: said, Executable: exe, Once: true, BasePort: basePort()})
	t.Log("\n" + said.String())
	if err != nil {
		t.Fatal(err)
	}
}

func TestPortInUse(t *testing.T) {
	leftovers(t)
	l, err := net.Listen("tcp", at(places[fra].edgeAddr(), basePort()).String())
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	err = Main(t.Context(), Options{Stdout: io.Discard, Executable: "/nonexistent", BasePort: basePort()})
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+" is in use") || !strings.Contains(err.Error(), "--base-port") {
		t.Errorf("want one sentence that names the address and the way out, got %v", err)
	}
}

// script writes an executable shell script.
func script(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestEdgeThatDoesNotStart(t *testing.T) {
	leftovers(t)
	exe := script(t, "[ $1 = demo-origin ] && exec sleep 1000\necho this is why\nexit 3\n")
	err := Main(t.Context(), Options{Stdout: io.Discard, Executable: exe, BasePort: basePort()})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "this is why") {
		t.Errorf("want the exit status and what it said, got %v", err)
	}
}

func TestInterruptEndsTheChildren(t *testing.T) {
	leftovers(t)
	pids := t.TempDir()
	exe := script(t, "touch "+pids+"/$$\nexec sleep 1000\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Main(ctx, Options{Stdout: io.Discard, Executable: exe, BasePort: basePort()}) }()
	var started []os.DirEntry
	for deadline := time.Now().Add(patience); len(started) < 2*len(places); started, _ = os.ReadDir(pids) {
		if time.Now().After(deadline) {
			t.Fatalf("only %d children have started", len(started))
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("an interrupt is no failure: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Main has not returned")
	}
	for _, e := range started {
		pid, _ := strconv.Atoi(e.Name())
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("child %d is still there: %v", pid, err)
		}
	}
}

// The generated files are what `nearcast run` accepts.
func TestGeneratedConfiguration(t *testing.T) {
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, p := range places {
		text, err := edgeConfig(dir, p, portsFrom(0))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, p.edgeName()+".yaml")
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := issue(a, dir, p); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if cfg.Edge.Region != p.name || len(cfg.Anycast.Prefixes) != 2 || len(cfg.Services["demo"].Origins) != len(places) || cfg.Regions[p.name].Location != p.location {
			t.Errorf("%s: %+v", p.name, cfg)
		}
	}
}

func TestCertificatesAreForTheAnycastAddresses(t *testing.T) {
	a, err := newAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := issue(a, dir, places[tyo]); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tyo-1.pem"), filepath.Join(dir, "tyo-1.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), DNSName: p.anycastAddr().String()}); err != nil {
			t.Errorf("as %s: %v", p.anycastAddr(), err)
		}
	}
	ca := filepath.Join(dir, "ca.pem")
	if err := a.WriteFile(ca); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := pem.Decode(text); b == nil || pair.Leaf.Subject.CommonName != "tyo-1" {
		t.Errorf("the common name must name the edge: %v", pair.Leaf.Subject)
	}
}

func TestOrigin(t *testing.T) {
	s := httptest.NewServer(originHandler("tyo"))
	defer s.Close()
	for path, want := range map[string]string{
		"/": "no-store", "/dynamic": "no-store", "/static/a/b": "max-age=60", "/healthz": "", "/nothing": "404",
	} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		got := resp.Header.Get("Cache-Control")
		if resp.StatusCode != 200 {
			got = fmt.Sprint(resp.StatusCode)
		}
		if got != want || resp.Header.Get(originField) != "tyo" || err != nil || len(body) == 0 {
			t.Errorf("%s: %q, body %q, %v; want %q", path, got, body, err, want)
		}
	}
}

func TestOriginEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Origin(ctx, "tyo", "127.0.0.1:0"); err != nil {
		t.Error(err)
	}
	if err := Origin(t.Context(), "tyo", "256.0.0.1:80"); err == nil {
		t.Error("want the listener's error")
	}
}
