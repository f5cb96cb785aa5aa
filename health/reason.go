package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"
)

// Reason says how a probe ended. The zero value is that of a target that has not been probed.
type Reason uint8

const (
	ReasonNone        Reason = iota
	ReasonOK                 // the probe succeeded
	ReasonTimeout            // no answer within the time allowed
	ReasonRefused            // nothing listens there (ECONNREFUSED)
	ReasonReset              // the connection was reset
	ReasonClosed             // the connection ended before the response did
	ReasonUnreachable        // no route to the host or network
	ReasonDNS                // the name did not resolve
	ReasonTLS                // the TLS handshake failed
	ReasonCertificate        // the certificate is not valid now
	ReasonStatus             // a response with another status than was wanted
	ReasonNotSelf            // a self probe was answered, but not by this process
	ReasonOther              // anything else; the error's text tells

	reasonCount = iota
)

var reasonNames = [reasonCount]string{
	"not probed yet", "ok", "timeout", "connection refused", "connection reset", "connection closed", "unreachable",
	"name not resolved", "tls handshake failed", "certificate not valid", "unexpected status", "answered by another process", "other",
}

// String returns the fixed phrase for logs, metric labels and the status page.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "other"
}

// Error is a failed probe whose reason the prober knows itself.
type Error struct {
	Reason Reason
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// ReasonOf classifies a probe's error; nil is ReasonOK.
func ReasonOf(err error) Reason {
	var own *Error
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case err == nil:
		return ReasonOK
	case errors.As(err, &own):
		return own.Reason
	case errors.As(err, &dns): // before the timeouts: a resolver that does not answer is a fault of DNS, not of the target
		return ReasonDNS
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ReasonTimeout
	case errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReasonRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ReasonUnreachable
	case isTLS(err):
		return ReasonTLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return ReasonClosed
	}
	return ReasonOther
}

func isTLS(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var transport *quic.TransportError
	if errors.As(err, &transport) {
		return transport.ErrorCode.IsCryptoError()
	}
	return errors.As(err, &alert) || errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &unknown)
}
