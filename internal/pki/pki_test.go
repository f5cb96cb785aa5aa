package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLeafIsTrustedForItsNamesAndAddresses(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	a, err := NewAuthority(now, "test authority", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.key")
	if err := a.WriteFile(ca); err != nil {
		t.Fatal(err)
	}
	if err := a.Issue("tyo-1", []string{"www.lab.example"}, []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8:53::1")}, cert, key); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := LoadPool(ca)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: now.Add(23 * time.Hour)}); err != nil {
		t.Errorf("by the authority's own pool: %v", err)
	}
	if pair.Leaf.Subject.CommonName != "tyo-1" {
		t.Errorf("common name %q", pair.Leaf.Subject.CommonName)
	}
	for name, trusted := range map[string]bool{"www.lab.example": true, "192.0.2.1": true, "2001:db8:53::1": true, "elsewhere.example": false} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); (err == nil) != trusted {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v %v", info.Mode(), err)
	}
	if hash, err := KeyHash(cert); err != nil || len(hash) != 44 {
		t.Errorf("KeyHash = %q, %v", hash, err)
	}
	if _, err := LoadPool(key); err == nil {
		t.Error("a key was taken for a certificate")
	}
}
