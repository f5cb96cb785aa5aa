// Package netns makes named network namespaces and runs code, sockets and processes inside them. Linux, root only.
//
// A socket belongs for good to the namespace of the thread that created it, and a process starts in the namespace of the thread
// that forks it. So it is enough to move one thread there for the moment of creation.
package netns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// dir is where iproute2 keeps the named namespaces.
const dir = "/run/netns"

// Namespace is a named network namespace. The zero value is the caller's own.
type Namespace string

// Path is the file that stands for the namespace.
func (n Namespace) Path() string { return filepath.Join(dir, string(n)) }

// Exists reports whether the namespace is there.
func (n Namespace) Exists() bool {
	_, err := os.Stat(n.Path())
	return err == nil
}

// List returns the namespaces whose names begin with prefix.
func List(prefix string) ([]Namespace, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var found []Namespace
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			found = append(found, Namespace(e.Name()))
		}
	}
	return found, err
}

// Create makes the namespace, with its loopback interface up and without IPv6 duplicate address detection, which would keep
// every address unusable for a second. The reverse path filter is off: anycast paths are asymmetric.
func (n Namespace) Create(ctx context.Context) error {
	if err := run(ctx, "", "ip", "netns", "add", string(n)); err != nil {
		return err
	}
	err := n.Sysctl(map[string]string{
		"net/ipv6/conf/all/accept_dad":     "0",
		"net/ipv6/conf/default/accept_dad": "0",
		"net/ipv4/conf/all/rp_filter":      "0",
		"net/ipv4/conf/default/rp_filter":  "0",
	})
	if err != nil {
		return err
	}
	return n.IP(ctx, "link set lo up")
}

// Delete removes the name. The namespace itself goes with its last process and socket.
func (n Namespace) Delete(ctx context.Context) error {
	if !n.Exists() {
		return nil
	}
	return run(ctx, "", "ip", "netns", "del", string(n))
}

// IP runs ip(8) commands in the namespace, all in one process.
func (n Namespace) IP(ctx context.Context, commands ...string) error {
	return run(ctx, strings.Join(commands, "\n")+"\n", "ip", "-n", string(n), "-batch", "-")
}

// Command runs a program in the namespace to its end and returns its standard output.
func (n Namespace) Command(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	return output(cmd, stdin, n.Start)
}

// Start starts cmd in the namespace.
func (n Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Sysctl writes kernel parameters, by their path below /proc/sys, as the namespace sees them.
func (n Namespace) Sysctl(values map[string]string) error {
	return n.Do(func() error {
		for key, value := range values {
			if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0o644); err != nil {
				return fmt.Errorf("namespace %s: %w", n, err)
			}
		}
		return nil
	})
}

// DialContext connects from inside the namespace. The address must be a literal one: with a host name, or with several
// addresses, the dialer would create its sockets on other threads.
func (n Namespace) DialContext(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.Do(func() error {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen announces on an address inside the namespace.
func (n Namespace) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	err = n.Do(func() error {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err = lc.Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenUDP opens a UDP socket inside the namespace.
func (n Namespace) ListenUDP(network string, local *net.UDPAddr) (conn *net.UDPConn, err error) {
	err = n.Do(func() error {
		conn, err = net.ListenUDP(network, local)
		return err
	})
	return conn, err
}

// Do runs fn on a thread inside the namespace and waits for it. Goroutines that fn starts run outside.
func (n Namespace) Do(fn func() error) error {
	if n == "" {
		return fn()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		result <- n.enter(fn)
	}()
	return <-result
}

// enter moves the calling, locked thread into the namespace for the time of fn. The thread is unlocked only if it is certainly
// back home; otherwise it ends with its goroutine.
func (n Namespace) enter(fn func() error) error {
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("own network namespace: %w", err)
	}
	defer unix.Close(home)
	there, err := unix.Open(n.Path(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", n, err)
	}
	defer unix.Close(there)
	if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", n, err)
	}
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return fn()
}

func run(ctx context.Context, stdin, name string, args ...string) error {
	_, err := output(exec.CommandContext(ctx, name, args...), stdin, (*exec.Cmd).Start)
	return err
}

func output(cmd *exec.Cmd, stdin string, start func(*exec.Cmd) error) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		what := strings.Join(cmd.Args, " ")
		if stdin != "" {
			what += " < " + strings.ReplaceAll(strings.TrimSpace(stdin), "\n", "; ")
		}
		err = fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}
