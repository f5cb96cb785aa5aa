package front

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

func TestListenersAreDescribedAsBound(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	ls := e.Listeners()
	if len(ls) != 3 {
		t.Fatalf("%d listeners, want TLS, plain and QUIC", len(ls))
	}
	tlsTCP, plain, udp := ls[0], ls[1], ls[2]
	if tlsTCP.Address.Port() == 0 || tlsTCP.Address != udp.Address {
		t.Errorf("TCP at %s, UDP at %s: want one real port for both", tlsTCP.Address, udp.Address)
	}
	if !tlsTCP.TLS || plain.TLS || !udp.TLS || udp.Protocols[0] != message.HTTP3 || tlsTCP.Name != "127.0.0.1:0" {
		t.Errorf("described as %+v", ls)
	}
}

// TestWithoutAHostBothFamiliesAreServed: ":443" must not leave IPv6 or IPv4 out, and a literal address must not take both.
func TestWithoutAHostBothFamiliesAreServed(t *testing.T) {
	if c, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6 loopback:", err)
	} else {
		c.Close()
	}
	tests := []struct {
		address string
		v4, v6  bool
	}{{":0", true, true}, {"0.0.0.0:0", true, false}, {"[::]:0", false, true}}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			f, err := Open([]ListenConfig{{Address: tt.address}}, TLSConfig{}, testLimits(), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close(context.Background())
			_, port, _ := net.SplitHostPort(f.tcp[0].ln.Addr().String())
			for host, want := range map[string]bool{"127.0.0.1": tt.v4, "::1": tt.v6} {
				c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), patience)
				if err == nil {
					c.Close()
				}
				if (err == nil) != want {
					t.Errorf("dialing %s: %v, want reachable: %t", host, err, want)
				}
			}
		})
	}
}

// udpOnly takes a UDP port whose number is free for TCP.
func udpOnly(t *testing.T) net.PacketConn {
	t.Helper()
	for range 100 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pc, err := net.ListenPacket("udp", ln.Addr().String())
		ln.Close()
		if err == nil {
			return pc
		}
	}
	t.Fatal("no port is free for both")
	return nil
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenUDP := udpOnly(t)
	defer takenUDP.Close()
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(time.Hour*24*90), "example.test")
	before := goroutines()
	_, err = Open([]ListenConfig{
		{Address: taken.Addr().String()},
		{Address: takenUDP.LocalAddr().String(), TLS: true},
		{Address: "192.0.2.1:80"},
		{Address: "nonsense"},
	}, TLSConfig{Certificates: []CertificateConfig{pair}}, testLimits(), nil, nil)
	if err == nil {
		t.Fatal("opened")
	}
	for _, want := range []string{
		`listen[0].address "` + taken.Addr().String() + `" (TCP): the port is in use by another process; stop that one or choose another port`,
		`listen[1].address "` + takenUDP.LocalAddr().String() + `" (UDP): the port is in use`,
		`listen[2].address "192.0.2.1:80" (TCP): this machine does not have the address`,
		`listen[3].address "nonsense" is not host:port`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(err)
	}
	noLeak(t, before)
	// Nothing that did open may stay open.
	c, err := net.Listen("tcp", takenUDP.LocalAddr().String())
	if err != nil {
		t.Fatalf("the TCP half of a listener whose UDP half failed is still open: %v", err)
	}
	c.Close()
}

func TestPrivilegedPort(t *testing.T) {
	refused := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", syscall.EACCES)}
	if err := listenError(0, &ListenConfig{Address: ":443"}, "TCP", refused); !strings.Contains(err.Error(), "CAP_NET_BIND_SERVICE") {
		t.Errorf("%v: does not say what to do", err)
	}
}

func TestBadCertificates(t *testing.T) {
	dir := t.TempDir()
	soon := time.Now().Add(90 * 24 * time.Hour)
	good := writePair(t, dir, "good", soon, "example.test")
	other := writePair(t, dir, "other", soon, "other.test")
	expired := writePair(t, dir, "expired", time.Now().Add(-time.Hour), "example.test")
	future := writePair(t, dir, "future", time.Now().Add(400*24*time.Hour), "example.test")
	junk, empty, locked := filepath.Join(dir, "junk.pem"), filepath.Join(dir, "empty.pem"), filepath.Join(dir, "locked.key")
	writeFile(t, junk, []byte("not PEM at all"))
	writeFile(t, empty, nil)
	writeFile(t, locked, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))
	broken := filepath.Join(dir, "broken.pem")
	writeFile(t, broken, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))

	tests := []struct {
		name  string
		pairs []CertificateConfig
		want  string
	}{
		{"none configured", nil, `tls.certificates is empty, but a listener has tls: true; add a cert_file and a key_file`},
		{"no key file", []CertificateConfig{{CertFile: good.CertFile}}, `tls.certificates[0]: key_file is missing`},
		{"missing", []CertificateConfig{good, {CertFile: dir + "/none.pem", KeyFile: good.KeyFile}}, `tls.certificates[1]: cert_file ` + dir + `/none.pem does not exist`},
		{"unreadable", []CertificateConfig{{CertFile: dir, KeyFile: good.KeyFile}}, `cert_file ` + dir + ` cannot be read: `},
		{"not PEM", []CertificateConfig{{CertFile: junk, KeyFile: good.KeyFile}}, `cert_file ` + junk + ` holds no PEM block of type CERTIFICATE`},
		{"empty", []CertificateConfig{{CertFile: empty, KeyFile: good.KeyFile}}, `cert_file ` + empty + ` is empty`},
		{"broken inside", []CertificateConfig{{CertFile: broken, KeyFile: good.KeyFile}}, broken + ` and ` + good.KeyFile + ` cannot be used`},
		{"exchanged", []CertificateConfig{{CertFile: good.KeyFile, KeyFile: good.CertFile}}, `cert_file ` + good.KeyFile + ` holds a PRIVATE KEY, not a CERTIFICATE; are cert_file and key_file exchanged?`},
		{"encrypted key", []CertificateConfig{{CertFile: good.CertFile, KeyFile: locked}}, `key_file ` + locked + ` is encrypted; store it without a passphrase`},
		{"another's key", []CertificateConfig{{CertFile: good.CertFile, KeyFile: other.KeyFile}}, `the key in ` + other.KeyFile + ` does not belong to the first certificate in ` + good.CertFile},
		{"expired", []CertificateConfig{expired}, `the certificate in ` + expired.CertFile + ` expired on 20`},
		{"not valid yet", []CertificateConfig{future}, `the certificate in ` + future.CertFile + ` is not valid before 20`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open([]ListenConfig{{Address: "127.0.0.1:0", TLS: true}}, TLSConfig{Certificates: tt.pairs}, testLimits(), nil, nil)
			if err == nil {
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant one line with %s", err, tt.want)
			}
		})
	}
}

func TestCertificateByName(t *testing.T) {
	dir := t.TempDir()
	end := time.Now().Add(90 * 24 * time.Hour)
	e := startListeners(t, text(200, "ok"), testLimits(), []ListenConfig{{Address: "127.0.0.1:0", TLS: true}},
		writePair(t, dir, "first", end, "first.test"),
		writePair(t, dir, "wild", end, "*.example.test"),
		writePair(t, dir, "exact", end, "exact.example.test", "also.test"))
	for name, want := range map[string]string{
		"first.test": "first.test", "exact.example.test": "exact.example.test", "EXACT.example.test": "exact.example.test",
		"also.test": "exact.example.test", "any.example.test": "*.example.test", "a.b.example.test": "first.test",
		"example.test": "first.test", "unknown.test": "first.test", "": "first.test",
	} {
		c, err := tls.Dial("tcp", e.addr(tlsListener), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%q got the certificate of %q, want %q", name, got, want)
		}
		c.Close()
	}
}

func TestTLSIsModern(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	if c, err := tls.Dial("tcp", e.addr(tlsListener), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		c.Close()
		t.Error("TLS 1.1 was accepted")
	}
	if c, err := tls.Dial("tcp", e.addr(tlsListener), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"spdy/1"}}); err == nil {
		c.Close()
		t.Error("an unknown application protocol was accepted")
	}
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "example.test", ClientSessionCache: cache}
		c, err := tls.Dial("tcp", e.addr(tlsListener), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if resumed := c.ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("connection %d resumed: %t", i, resumed)
		}
		_, _ = c.Write([]byte("GET / HTTP/1.0\r\nHost: example.test\r\n\r\n"))
		_, _ = c.Read(make([]byte, 1024)) // the ticket comes before the response
		c.Close()
	}
	eventually(t, "two kinds of failed handshakes are counted", func() bool {
		got := e.metric("nearcast_front_handshake_failures_total")
		return strings.Contains(got, `reason="version"`) && strings.Contains(got, `reason="protocol"`)
	})
}

func TestEveryMetricHasHelp(t *testing.T) {
	set := metrics.NewSet()
	m := newFrontMetrics(set, func() int64 { return 0 }, func() int { return 0 })
	l := m.listener(":443")
	l.h2Error("some_error")
	m.protocolErrors(message.HTTP3, []string{"H3_FRAME_ERROR"})
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	pair.OCSPFile = "none"
	if _, err := loadCertificates(TLSConfig{Certificates: []CertificateConfig{pair}}, time.Now(), testLog(t), set); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	set.WritePrometheus(&b)
	seen := map[string]bool{}
	for _, name := range regexp.MustCompile(`(?m)^[a-z0-9_]+`).FindAllString(b.String(), -1) {
		seen[name] = true
		if MetricHelp[name] == "" {
			t.Errorf("%s has no help", name)
		}
	}
	for name := range MetricHelp {
		if !seen[name] {
			t.Errorf("%s is explained but does not exist", name)
		}
	}
}
