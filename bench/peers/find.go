package peers

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// sbin is where Debian keeps servers; it is not in everybody's PATH.
var sbin = []string{"/usr/local/sbin", "/usr/sbin", "/sbin"}

// Find returns the path of the peer's program: this program itself for Ours, else from the directory where bench-setup.sh puts what
// it builds, from PATH, or from the system's directories for servers, in this order.
func (p Peer) Find() (string, error) {
	if p.Name == Ours {
		return os.Executable()
	}
	if dir, err := builtDir(); err == nil && executable(filepath.Join(dir, p.Program)) {
		return filepath.Join(dir, p.Program), nil
	}
	if path, err := exec.LookPath(p.Program); err == nil {
		return path, nil
	}
	for _, dir := range sbin {
		if path := filepath.Join(dir, p.Program); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: `make bench-setup` does that", p.Program)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}

func builtDir() (string, error) {
	if dir := os.Getenv("NEARCAST_BENCH_CACHE"); dir != "" {
		return filepath.Join(dir, "bin"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache/nearcast-bench/bin"), err
}

// Version is the first line of what the program says of itself.
func (p Peer) Version(ctx context.Context) (string, error) {
	program, err := p.Find()
	if err != nil {
		return "", err
	}
	if p.version == nil {
		return goVersion(program)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, p.version...).CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) { // some end with an error after they have printed it
		return "", err
	}
	return versionLine(string(out)), nil
}

// goVersion reads the version of a Go program, and of the QUIC library in it, from the program.
func goVersion(program string) (string, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return "", err
	}
	version := filepath.Base(program) + " " + info.Main.Version
	for _, d := range info.Deps {
		if d.Path == "github.com/quic-go/quic-go" {
			version += ", quic-go " + d.Version
		}
	}
	return version + ", " + info.GoVersion, nil
}

// versionLine is the first line that has a digit, without what follows the version itself.
func versionLine(out string) string {
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "traffic_server: using") || !strings.ContainsAny(line, "0123456789") {
			continue
		}
		line = strings.TrimPrefix(line, "nginx version: ")
		line, _, _ = strings.Cut(line, " - https")
		line, _, _ = strings.Cut(line, " revision ")
		return strings.TrimPrefix(line, "varnishd (")
	}
	return "unknown"
}
