package front

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ocsp"
)

// ocspSkew is how far a responder's clock may be ahead of ours.
const ocspSkew = 5 * time.Minute

// staple is a checked OCSP response.
type staple struct {
	der        []byte
	nextUpdate time.Time // not to be sent from then on
}

// loadStaple reads the response for cert from a file and checks it: RFC 6960 §3.2, and it must say when it ends.
func loadStaple(path string, cert *tls.Certificate, now time.Time) (*staple, error) {
	der, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(cert.Certificate) < 2 {
		return nil, errors.New("the certificate's file has no issuer to check it against; put the chain after the leaf")
	}
	issuer, err := x509.ParseCertificate(cert.Certificate[1])
	if err != nil {
		return nil, fmt.Errorf("the second certificate is malformed: %w", err)
	}
	r, err := ocsp.ParseResponseForCert(der, cert.Leaf, issuer)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it is not this certificate's status: %w", err)
	case r.Status == ocsp.Revoked:
		return nil, fmt.Errorf("the certificate was revoked on %s", r.RevokedAt.UTC().Format(time.RFC3339))
	case r.Status != ocsp.Good:
		return nil, errors.New("the certificate is not known to its issuer")
	case r.ThisUpdate.After(now.Add(ocspSkew)):
		return nil, fmt.Errorf("it is not valid before %s", r.ThisUpdate.UTC().Format(time.RFC3339))
	case r.NextUpdate.IsZero():
		return nil, errors.New("it does not say when the next one is due")
	case !now.Before(r.NextUpdate):
		return nil, fmt.Errorf("it expired on %s; fetch a newer one", r.NextUpdate.UTC().Format(time.RFC3339))
	}
	return &staple{der: der, nextUpdate: r.NextUpdate}, nil
}
