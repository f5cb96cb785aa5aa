package front

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
)

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
	for _, n := range namesOf(c.Leaf) {
		n = strings.ToLower(n)
		x.byName[n] = append(x.byName[n], c)
	}
}

// namesOf are the names that a certificate is chosen by.
func namesOf(leaf *x509.Certificate) []string {
	if len(leaf.DNSNames) == 0 && leaf.Subject.CommonName != "" {
		return []string{leaf.Subject.CommonName}
	}
	return leaf.DNSNames
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
	if len(found) == 1 {
		return found[0], nil
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
