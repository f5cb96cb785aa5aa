package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nearcast/internal/lab/netns"
	"nearcast/internal/loopback"
)

// machine is a network namespace in which the real program runs.
type machine struct {
	netns.Namespace
	t      *testing.T
	client http.Client
}

func newMachine(t *testing.T, name string) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces")
	}
	m := &machine{netns.Namespace(fmt.Sprintf("addresses-%d-%s", os.Getpid(), name)), t, http.Client{Timeout: 5 * time.Second}}
	if err := m.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	m.client.Transport = &http.Transport{DialContext: m.DialContext, DisableKeepAlives: true}
	return m
}

func (m *machine) ip(commands ...string) {
	m.t.Helper()
	if err := m.IP(m.t.Context(), commands...); err != nil {
		m.t.Fatal(err)
	}
}

// has reports whether the loopback interface has the address.
func (m *machine) has(addr string) bool {
	m.t.Helper()
	out, err := m.Command(m.t.Context(), "", "ip", "-o", "addr", "show", "dev", "lo")
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Contains(out, " "+addr+"/")
}

// program is the real program, with what it logs.
type program struct {
	*exec.Cmd
	log buffer
}

// start runs the program on the machine; with before, through another program.
func (m *machine) start(config string, before ...string) *program {
	m.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	line := append(before, exe, "run", "-c", config)
	p := &program{Cmd: exec.Command(line[0], line[1:]...)}
	p.Env, p.Stderr = append(os.Environ(), asProgram+"=1"), &p.log
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.Start(p.Cmd); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { p.Process.Kill() })
	return p
}

// shown is the part of the status that these tests read.
type shown struct {
	Addresses []loopback.Status
	Listeners []targetStatus
}

// status asks the program for its status until it is as it should be.
func (m *machine) status(p *program, what string, ok func(shown) bool) shown {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var s shown
		if res, err := m.client.Get("http://127.0.0.1:9180/status"); err == nil {
			err = json.NewDecoder(res.Body).Decode(&s)
			res.Body.Close()
			if err == nil && ok(s) {
				return s
			}
		}
		if time.Now().After(end) {
			m.t.Fatalf("never %s: %+v\n%s", what, s, p.log.String())
		}
	}
}

// serving says that the edge has answered itself at every service address.
func serving(s shown) bool {
	at := map[string]int{}
	for _, l := range s.Listeners {
		if l.Status != "up" {
			return false
		}
		at[l.Address+" "+l.Protocol]++
	}
	for _, a := range []string{"192.0.2.1", "2001:db8:53::1"} {
		if at[a+" h1"] != 2 || at[a+" h2"] != 2 || at[a+" h3"] != 1 {
			return false
		}
	}
	return true
}

// end waits for the program's end.
func (m *machine) end(p *program, with os.Signal) {
	m.t.Helper()
	if err := p.Process.Signal(with); err != nil {
		m.t.Fatal(err)
	}
	_ = p.Wait()
}

// TestTheAddressesAreThereAsLongAsTheEdge through its whole life, a kill included, with the operator's own address beside them.
func TestTheAddressesAreThereAsLongAsTheEdge(t *testing.T) {
	m := newMachine(t, "life")
	file := writeConfig(t, strings.Replace(atServiceAddresses, "addresses: [", "addresses: [192.0.2.7, ", 1))
	m.ip("addr add 192.0.2.7/32 dev lo")
	wanted := func(when string, want bool) {
		t.Helper()
		for _, a := range []string{"192.0.2.1", "2001:db8:53::1"} {
			if m.has(a) != want {
				t.Errorf("%s: %s there: %v", when, a, !want)
			}
		}
		if !m.has("192.0.2.7") {
			t.Errorf("%s: the operator's own is gone", when)
		}
	}

	p := m.start(file)
	// rp_filter does not matter to what the edge sends itself.
	if err := m.Sysctl(map[string]string{"net/ipv4/conf/all/rp_filter": "1", "net/ipv4/conf/lo/rp_filter": "1"}); err != nil {
		t.Fatal(err)
	}
	s := m.status(p, "up at every address", serving)
	wanted("while it runs", true)
	for i, ours := range []bool{false, true, true} {
		if a := s.Addresses[i]; !a.Present || a.Ours != ours || a.Repairs != 0 {
			t.Errorf("status: %+v", a)
		}
	}

	m.ip("addr del 192.0.2.1/32 dev lo", "addr del 2001:db8:53::1/128 dev lo")
	m.status(p, "repaired", func(s shown) bool { return s.Addresses[1].Repairs == 1 && s.Addresses[2].Repairs == 1 })
	m.status(p, "up again", serving)
	wanted("after somebody removed them", true)

	m.end(p, syscall.SIGKILL)
	wanted("after a kill", true)

	p = m.start(file)
	m.status(p, "up after the kill", serving)
	if n := strings.Count(p.log.String(), "is taken over"); n != 2 {
		t.Errorf("%d of 2 taken over:\n%s", n, p.log.String())
	}
	m.end(p, syscall.SIGTERM)
	wanted("after the stop", false)
	order := []string{"routes withdrawn", "drained", "anycast address removed"}
	if at := places(p.log.String(), order); !slices.IsSorted(at) || slices.Contains(at, -1) {
		t.Errorf("the order of the stop is not %q:\n%s", order, p.log.String())
	}
}

// places are where the words are in a text.
func places(text string, words []string) (at []int) {
	for _, w := range words {
		at = append(at, strings.Index(text, w))
	}
	return at
}

func TestAStartThatFailsLeavesNoAddress(t *testing.T) {
	m := newMachine(t, "fail")
	taken, err := m.Listen(t.Context(), "tcp", "127.0.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := m.start(writeConfig(t, atServiceAddresses))
	if err := p.Wait(); err == nil || !strings.Contains(p.log.String(), "127.0.0.1:8080") {
		t.Fatalf("%v:\n%s", err, p.log.String())
	}
	if m.has("192.0.2.1") || m.has("2001:db8:53::1") {
		t.Error("the addresses are left")
	}
}

func TestAStartWithoutTheCapabilitySaysSo(t *testing.T) {
	m := newMachine(t, "caps")
	p := m.start(writeConfig(t, atServiceAddresses), "setpriv", "--bounding-set=-net_admin")
	if err := p.Wait(); err == nil || !strings.Contains(p.log.String(), "anycast.manage_addresses: adding addresses to the loopback interface needs CAP_NET_ADMIN") {
		t.Errorf("%v:\n%s", err, p.log.String())
	}
}

func TestValidateChangesNoAddress(t *testing.T) {
	m := newMachine(t, "validate")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "validate", "-c", writeConfig(t, atServiceAddresses))
	var log buffer
	cmd.Env, cmd.Stderr = append(os.Environ(), asProgram+"=1"), &log
	if err := m.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, log.String())
	}
	if m.has("192.0.2.1") || m.has("2001:db8:53::1") {
		t.Error("it added the addresses")
	}
}

// TestAnotherEdgeDoesNotAnswerForThisOne: packets to an address that this machine does not have go to the next edge, which has it.
func TestAnotherEdgeDoesNotAnswerForThisOne(t *testing.T) {
	here, there := newMachine(t, "here"), newMachine(t, "there")
	here.ip("link add up0 type veth peer name up0 netns "+string(there.Namespace), "link set up0 up", "addr add 198.51.100.2/30 dev up0", "addr add 2001:db8:1::2/64 dev up0 nodad")
	there.ip("link set up0 up", "addr add 198.51.100.1/30 dev up0", "addr add 2001:db8:1::1/64 dev up0 nodad")
	here.ip("route add default via 198.51.100.1", "route add ::/0 via 2001:db8:1::1")
	other := there.start(writeConfig(t, atServiceAddresses))
	there.status(other, "the other edge up", serving)
	for _, addr := range []string{"192.0.2.1:80", "[2001:db8:53::1]:80"} { // the way there is open
		c, err := here.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}

	onlyPlain := strings.NewReplacer("manage_addresses: true", "manage_addresses: false", `  - { address: "192.0.2.1:443", tls: true }`+"\n", "",
		`  - { address: "[2001:db8:53::1]:443", tls: true }`, `  - { address: ":443", tls: true }`).Replace(atServiceAddresses)
	for _, routeLocalnet := range []string{"0", "1"} {
		if err := here.Sysctl(map[string]string{"net/ipv4/conf/all/route_localnet": routeLocalnet}); err != nil {
			t.Fatal(err)
		}
		p := here.start(writeConfig(t, onlyPlain))
		down := func(s shown) bool {
			n := 0
			for _, l := range s.Listeners {
				if l.Address != "" && l.Status == "up" {
					t.Fatalf("another edge answered: %+v", l)
				}
				if l.Address != "" && l.Status == "down" {
					n++
				}
			}
			return n == 10 // h1 and h2 twice, h3 once, at two addresses
		}
		s := here.status(p, "down at every address", down)
		if s.Addresses[0].Present || s.Addresses[1].Present {
			t.Errorf("status: %+v", s.Addresses)
		}
		here.end(p, syscall.SIGTERM)
	}
}
