package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadTakesFilesFromItsOwnDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "edge.yaml")
	text := complete(`
edge: {name: e, region: here}
regions: {here: {location: [1, 2]}}
tls: {certificates: [{cert_file: tls/a.pem, key_file: /etc/b.key}]}
geo: {database_file: ../city.mmdb}
anycast:
  prefixes: [192.0.2.0/24]
  bgp:
    asn: 64500
    router_id: 198.51.100.2
    neighbors: [{address: 198.51.100.1, asn: 64511, password_file: bgp.key}, {address: 198.51.100.9, asn: 64511}]
`)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	for _, path := range []string{file, filepath.Join(filepath.Base(dir), "edge.yaml")} {
		c, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		n := c.Anycast.BGP.Neighbors
		got := []string{c.TLS.Certificates[0].CertFile, c.TLS.Certificates[0].KeyFile, c.Geo.DatabaseFile, n[0].PasswordFile, n[1].PasswordFile}
		want := []string{filepath.Join(dir, "tls/a.pem"), "/etc/b.key", filepath.Join(filepath.Dir(dir), "city.mmdb"), filepath.Join(dir, "bgp.key"), ""}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("loaded as %s: %q, want %q", path, got, want)
		}
	}
}

func TestLoadSaysWhyItCannotRead(t *testing.T) {
	dir := t.TempDir()
	none := filepath.Join(dir, "none.yaml")
	if _, err := Load(none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "configuration file "+none+" does not exist") {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Errorf("a directory: %v", err)
	}
	bad := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(bad, []byte("version: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(bad)
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 4 || errs[0].File != bad {
		t.Errorf("a file with four faults: %v", err)
	}
}
