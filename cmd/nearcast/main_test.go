package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// run executes one command line as the shell would see it.
func run(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = execute(args, &out, &err)
	return code, out.String(), err.String()
}

// writeConfig writes the text as a configuration file in a directory that has a certificate site.pem with its key.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	writeCertificate(t, dir)
	file := filepath.Join(dir, "config.yaml")
	text = strings.Replace(text, `"127.0.0.1:443"`, `"`+freeAddress(t)+`"`, 1) // with its quotes: a free port may begin with 443
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// freeAddress is a loopback address with a port that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "edge"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"site.pem": {Type: "CERTIFICATE", Bytes: der}, "site.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const good = `version: 1
edge: { name: fra-1, region: fra }
listen:
  - { address: "127.0.0.1:443", tls: true, http3: false }
tls: { certificates: [{ cert_file: site.pem, key_file: site.key }] }
regions: { fra: { location: [50.11, 8.68] } }
services:
  shop: { hosts: ["*"], origins: { fra: ["http://127.0.0.1:9"] } }
`

func TestValidateAcceptsWhatAStartWould(t *testing.T) {
	if code, out, err := run("validate", "-c", writeConfig(t, good)); code != exitOK || !strings.HasSuffix(out, "is valid\n") {
		t.Errorf("exit %d, %q, %q", code, out, err)
	}
}

func TestEachFaultIsOneClearSentenceAndItsExitCode(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	anycast := `anycast:
  prefixes: [192.0.2.0/24]
  bgp: { asn: 64500, router_id: 127.0.0.1, neighbors: [{ address: 127.0.0.1, asn: 64501, password_file: absent.key }] }
`
	for _, c := range []struct {
		what, text string
		code       int
		says       string
	}{
		{"a file that is no YAML", "version: [", exitConfig, "config.yaml:1:"},
		{"an unknown key", good + "cahce: {}\n", exitConfig, `did you mean "cache"`},
		{"no version", strings.Replace(good, "version: 1\n", "", 1), exitConfig, "version"},
		{"a port in use", strings.Replace(good, "127.0.0.1:443", busy.Addr().String(), 1), exitFailed, busy.Addr().String()},
		{"an absent certificate", strings.Replace(good, "site.pem", "absent.pem", 1), exitFailed, "absent.pem"},
		{"a certificate that is none", strings.Replace(good, "site.pem", "config.yaml", 1), exitFailed, "config.yaml"},
		{"a missing database", good + "geo: { database_file: absent.mmdb }\n", exitFailed, "absent.mmdb does not exist"},
		{"an absent password file", good + anycast, exitFailed, "absent.key"},
	} {
		code, _, stderr := run("run", "-c", writeConfig(t, c.text))
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d, want %d; said %q, want in it %q", c.what, code, c.code, stderr, c.says)
		}
		if c.code == exitFailed && strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: not one sentence: %q", c.what, stderr)
		}
	}
}

func TestAConfigurationThatCannotBeReadIsNoReasonToRestart(t *testing.T) {
	for _, cmd := range []string{"run", "validate"} {
		if code, _, stderr := run(cmd, "-c", filepath.Join(t.TempDir(), "absent.yaml")); code != exitConfig || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", cmd, code, stderr)
		}
	}
}

func TestACommandLineThatIsWrongIsUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"run"}, {"frobnicate"}, {"run", "--bogus"}} {
		if code, _, stderr := run(args...); code != exitUsage || stderr == "" {
			t.Errorf("%q: exit %d, %q", args, code, stderr)
		}
	}
	if code, out, _ := run("--help"); code != exitOK || !strings.Contains(out, "validate") {
		t.Errorf("--help: exit %d, %q", code, out)
	}
	if code, out, _ := run("version"); code != exitOK || !strings.HasPrefix(out, "nearcast ") {
		t.Errorf("version: exit %d, %q", code, out)
	}
}

func TestTheExampleConfigurationNamesFilesThatValidateMisses(t *testing.T) {
	code, _, stderr := run("validate", "-c", "../../config.yaml.example")
	if code != exitFailed {
		t.Fatalf("exit %d: the example is valid but for its files: %s", code, stderr)
	}
	for _, file := range []string{"site.pem", "city.mmdb", "bgp.key", "fleet.key"} {
		if !strings.Contains(stderr, file) {
			t.Errorf("%s is absent and not reported: %s", file, fmt.Sprint(stderr))
		}
	}
}
