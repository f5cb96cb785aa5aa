package ech

import (
	"errors"
	"strings"
)

var errPublicName = errors.New(`must be a DNS name in lower-case letters, digits and "-", such as edge.example.com, at most 253 octets long and no address`)

// CheckPublicName says what is wrong with a public name. Case matters, since every edge must encode the same.
func CheckPublicName(s string) error {
	if len(s) > MaxPublicName {
		return errPublicName
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(l, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return errPublicName
		}
	}
	// Clients ignore a configuration whose name ends as an IPv4 address does (RFC 9849 §6.1.7).
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errPublicName
	}
	return nil
}
