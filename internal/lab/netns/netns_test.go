package netns

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

func fresh(t *testing.T, name string) Namespace {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	n := Namespace(fmt.Sprintf("nct-%d-%s", os.Getpid(), name))
	if err := n.Create(t.Context()); err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	t.Cleanup(func() {
		if err := n.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func self(t *testing.T) string {
	t.Helper()
	link, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	return link
}

func TestSocketsStayWhereTheyWereMade(t *testing.T) {
	n := fresh(t, "sock")
	l, err := n.Listen(t.Context(), "tcp", "127.0.0.1:7")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c, err := net.Dial("tcp", "127.0.0.1:7"); err == nil {
		c.Close()
		t.Error("the listener is reachable from outside its namespace")
	}
	c, err := n.DialContext(t.Context(), "tcp", "127.0.0.1:7")
	if err != nil {
		t.Fatalf("the listener is not reachable from inside: %v", err)
	}
	c.Close()
	u, err := n.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	u.Close()
}

func TestThreadsComeHome(t *testing.T) {
	n := fresh(t, "home")
	home := self(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			err := n.Do(func() error {
				if there, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || there == home {
					return fmt.Errorf("not inside: %s %v", there, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now != home {
				t.Errorf("a goroutine ran on a thread that stayed in the namespace: %s %v", now, err)
			}
		})
	}
	wg.Wait()
}

func TestCommandAndList(t *testing.T) {
	n := fresh(t, "cmd")
	if err := n.IP(t.Context(), "addr add 192.0.2.1/32 dev lo", "addr add 2001:db8:53::1/128 dev lo nodad"); err != nil {
		t.Fatal(err)
	}
	out, err := n.Command(t.Context(), "", "ip", "-br", "addr", "show", "lo")
	if err != nil || !strings.Contains(out, "192.0.2.1/32") || !strings.Contains(out, "2001:db8:53::1/128") {
		t.Errorf("addresses missing: %q %v", out, err)
	}
	if err := n.IP(t.Context(), "addr add rubbish dev lo"); err == nil || !strings.Contains(err.Error(), "rubbish") {
		t.Errorf("a failed command must say what it was: %v", err)
	}
	found, err := List(string(n))
	if err != nil || len(found) != 1 || found[0] != n {
		t.Errorf("List = %v, %v", found, err)
	}
}

func TestMissingNamespace(t *testing.T) {
	n := Namespace("nct-that-never-was")
	if err := n.Do(func() error { t.Error("must not run"); return nil }); err == nil || !strings.Contains(err.Error(), string(n)) {
		t.Errorf("the error must name the namespace: %v", err)
	}
	if err := n.Delete(t.Context()); err != nil {
		t.Errorf("deleting what is not there is no error: %v", err)
	}
}
