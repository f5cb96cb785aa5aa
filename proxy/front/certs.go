package front

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// expiresSoon is when a certificate is worth a warning at the start.
const expiresSoon = 14 * 24 * time.Hour

// loadCertificate reads one pair; the error names the file.
func loadCertificate(c CertificateConfig, now time.Time) (*tls.Certificate, error) {
	certPEM, err := readPEM("cert_file", c.CertFile, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	keyPEM, err := readPEM("key_file", c.KeyFile, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	switch {
	case err != nil && strings.Contains(err.Error(), "does not match"):
		return nil, fmt.Errorf("the key in %s does not belong to the first certificate in %s; the leaf must come first", c.KeyFile, c.CertFile)
	case err != nil:
		return nil, fmt.Errorf("%s and %s cannot be used: %w", c.CertFile, c.KeyFile, err)
	case now.After(cert.Leaf.NotAfter):
		return nil, fmt.Errorf("the certificate in %s expired on %s; renew it", c.CertFile, cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.Leaf.NotBefore):
		return nil, fmt.Errorf("the certificate in %s is not valid before %s; %w",
			c.CertFile, cert.Leaf.NotBefore.UTC().Format(time.RFC3339), errNotYet)
	}
	return &cert, nil
}

// readPEM reads a file that must hold a PEM block whose type ends in want.
func readPEM(option, path, want string) ([]byte, error) {
	if path == "" {
		return nil, fmt.Errorf("%s is missing", option)
	}
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s %s does not exist", option, path)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s %s cannot be read: permission denied", option, path)
	case err != nil:
		return nil, fmt.Errorf("%s %s cannot be read: %w", option, path, err)
	}
	var found string
	for rest := data; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if strings.HasPrefix(b.Type, "ENCRYPTED ") || b.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("%s %s is encrypted; store it without a passphrase", option, path)
		}
		if strings.HasSuffix(b.Type, want) {
			return data, nil
		}
		found = b.Type
	}
	switch {
	case found != "":
		return nil, fmt.Errorf("%s %s holds a %s, not a %s; are cert_file and key_file exchanged?", option, path, found, want)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("%s %s is empty", option, path)
	}
	return nil, fmt.Errorf("%s %s holds no PEM block of type %s", option, path, want)
}
