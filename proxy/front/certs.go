package front

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// expiresSoon is when a certificate is worth a warning at the start.
const expiresSoon = 14 * 24 * time.Hour

// certificates holds the TLS configurations made of the configured files.
type certificates struct {
	tcp, quic *tls.Config
}

// loadCertificates reads and checks every pair. The error joins one sentence for each pair that cannot be served.
func loadCertificates(cfg TLSConfig, now time.Time, log *slog.Logger) (*certificates, error) {
	if len(cfg.Certificates) == 0 {
		return nil, errors.New("tls.certificates is empty, but a listener has tls: true; add a cert_file and a key_file")
	}
	var index certIndex
	var errs []error
	for i, c := range cfg.Certificates {
		cert, err := loadCertificate(c, now)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls.certificates[%d]: %w", i, err))
			continue
		}
		if left := cert.Leaf.NotAfter.Sub(now); left < expiresSoon {
			log.Warn("a certificate expires soon", "file", c.CertFile, "not_after", cert.Leaf.NotAfter, "names", cert.Leaf.DNSNames)
		}
		index.add(cert)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: index.get}
	tcp, quic := base.Clone(), base.Clone()
	tcp.NextProtos = []string{"h2", "http/1.1"}
	return &certificates{tcp: tcp, quic: quic}, nil
}

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
		return nil, fmt.Errorf("the certificate in %s is not valid before %s; check this machine's clock",
			c.CertFile, cert.Leaf.NotBefore.UTC().Format(time.RFC3339))
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

// certIndex finds the certificate for a name.
type certIndex struct {
	all    []*tls.Certificate
	byName map[string][]*tls.Certificate // lower case; "*.example.com" as it is
}

func (x *certIndex) add(c *tls.Certificate) {
	if x.byName == nil {
		x.byName = map[string][]*tls.Certificate{}
	}
	x.all = append(x.all, c)
	names := c.Leaf.DNSNames
	if len(names) == 0 && c.Leaf.Subject.CommonName != "" {
		names = []string{c.Leaf.Subject.CommonName}
	}
	for _, n := range names {
		n = strings.ToLower(n)
		x.byName[n] = append(x.byName[n], c)
	}
}

// get chooses by the name that the client asks for: exact, then wildcard, else the first. Of several for one name
// it takes the first whose key type the client can check.
func (x *certIndex) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	found := x.byName[name]
	if len(found) == 0 {
		if _, parent, ok := strings.Cut(name, "."); ok {
			found = x.byName["*."+parent]
		}
	}
	for _, c := range found {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return x.all[0], nil
}
