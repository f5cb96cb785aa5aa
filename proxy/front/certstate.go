package front

import (
	"slices"
	"time"
)

// CertificateState is one certificate as it is served now.
type CertificateState struct {
	File                string // cert_file
	Names               []string
	NotBefore, NotAfter time.Time
	// Fault is why the pair's files, which have changed since, can't be served; "" while what they hold is.
	Fault string
}

// Expired reports whether the certificate's time is over at now.
func (c *CertificateState) Expired(now time.Time) bool { return now.After(c.NotAfter) }

// ExpiresWithin reports whether it will be over after d, or is.
func (c *CertificateState) ExpiresWithin(now time.Time, d time.Duration) bool {
	return c.Expired(now.Add(d))
}

// Certificates are the certificates that are served now, in the order of the configuration; none without a listener that has TLS. What renewed
// files hold counts once it is served. It never waits for a file, and the result must not be modified.
func (f *Front) Certificates() []CertificateState {
	if f.certs == nil {
		return nil
	}
	return *f.certs.states.Load()
}

// note makes known how the pairs are. It is called with mu held, or before anything runs.
func (s *certificates) note() {
	out := make([]CertificateState, len(s.pairs))
	for i, p := range s.pairs {
		leaf := p.cert.Leaf
		names := slices.Clone(namesOf(leaf))
		for _, ip := range leaf.IPAddresses {
			names = append(names, ip.String())
		}
		out[i] = CertificateState{File: p.cfg.CertFile, Names: names, NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Fault: p.fault}
	}
	s.states.Store(&out)
}
