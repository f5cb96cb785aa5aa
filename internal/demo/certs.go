package demo

import (
	"net"
	"path/filepath"
	"time"

	"nearcast/internal/pki"
)

// newAuthority makes what signs the edges' certificates. It lives as long as the demonstration.
func newAuthority(now time.Time) (*pki.Authority, error) {
	return pki.NewAuthority(now, "nearcast demo", 7*24*time.Hour)
}

// issue writes the certificate and key of an edge into dir. All of them are for the same addresses, as behind anycast; the
// common name is the edge's own, so that a client sees which one answered.
func issue(a *pki.Authority, dir string, p place) error {
	addresses := []net.IP{p.edgeAddr().AsSlice()}
	for _, q := range places {
		addresses = append(addresses, q.anycastAddr().AsSlice())
	}
	base := filepath.Join(dir, p.edgeName())
	return a.Issue(p.edgeName(), []string{"localhost"}, addresses, base+".pem", base+".key")
}
