package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/quic-go/quic-go"
)

// The classes of failures.
const (
	Connect  = "connect"  // no connection: refused, unreachable, no port left
	TLS      = "tls"      // no handshake: certificate, ALPN, version
	Timeout  = "timeout"  // no whole response within Options.Timeout
	Closed   = "closed"   // the connection ended before a whole response
	Reset    = "reset"    // the connection was reset
	Stream   = "stream"   // the server reset the stream
	Protocol = "protocol" // the response breaks the protocol's rules
	Status   = "status"   // a status other than 2xx or 304
	Length   = "length"   // a body of another length than was asked for
	NotSent  = "not sent" // the open loop could not send it by the end of the run and the timeout: no connection had room
	Other    = "other"
)

// Classes are all classes of failures, in the order in which they are shown.
var Classes = []string{Connect, TLS, Timeout, Closed, Reset, Stream, Protocol, Status, Length, NotSent, Other}

// failure is an error whose class is known where it happens.
type failure struct {
	class string
	err   error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(class, format string, args ...any) error {
	return &failure{class, fmt.Errorf(format, args...)}
}

var errTimeout = failed(Timeout, "no answer in time")

// classOf says what kind of failure err is.
func classOf(err error) string {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.class
	}
	if _, ok := errors.AsType[*quic.StreamError](err); ok {
		return Stream
	}
	if t, ok := errors.AsType[*quic.TransportError](err); ok && !t.ErrorCode.IsCryptoError() {
		return Protocol
	}
	t, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && t.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), is[*quic.StatelessResetError](err):
		return Reset
	case isTLS(err):
		return TLS
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), is[*quic.ApplicationError](err):
		return Closed
	case is[*net.OpError](err):
		return Connect
	}
	return Other
}

func is[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

func isTLS(err error) bool {
	t, ok := errors.AsType[*quic.TransportError](err)
	// crypto/tls has no exported type for alerts over TCP.
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "remote error" || op.Op == "local error") {
		return true
	}
	return is[tls.AlertError](err) || is[tls.RecordHeaderError](err) || is[*tls.CertificateVerificationError](err) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) || ok && t.ErrorCode.IsCryptoError()
}

// ConnectError is why the first connections could not be made. Hint says what may help, or is empty.
type ConnectError struct {
	Address string
	Err     error
	Hint    string
}

func (e *ConnectError) Error() string {
	text := fmt.Sprintf("cannot connect to %s: %v", e.Address, e.Err)
	if e.Hint != "" {
		text += "\n  " + e.Hint
	}
	return text
}

func (e *ConnectError) Unwrap() error { return e.Err }

func (p *plan) connectError(err error) error {
	e := &ConnectError{Address: p.Address, Err: err}
	record, notTLS := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "Nothing listens there: is the server running, and on this port?"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Hint = "This machine has no free port left towards that address: use fewer connections."
	case errors.Is(err, syscall.EMFILE):
		e.Hint = "Too many open files: raise the limit (ulimit -n) or use fewer connections."
	case is[*tls.CertificateVerificationError](err), is[x509.UnknownAuthorityError](err), isQUICCertificate(err):
		e.Hint = "The certificate is not trusted: name its authority with --ca-file FILE, the host it is for with --server-name, or check nothing with --insecure."
	case notTLS && string(record.RecordHeader[:]) == "HTTP/":
		e.Hint = "The server speaks plain HTTP on this port: begin the URL with http://."
	case is[*alpnError](err), isTLS(err) && strings.Contains(err.Error(), "no application protocol"):
		e.Hint = fmt.Sprintf("The server does not speak %s here.", p.Protocol)
	case p.Protocol == HTTP3 && classOf(err) == Timeout:
		e.Hint = "Nothing answers over QUIC: does the server listen on this UDP port?"
	case classOf(err) == Timeout:
		e.Hint = "Nothing answers: is the address right, and does a firewall let this through?"
	}
	return e
}

// isQUICCertificate reports that the client refused the server's certificate. quic-go keeps only the text and the alert.
func isQUICCertificate(err error) bool {
	t, ok := errors.AsType[*quic.TransportError](err)
	return ok && !t.Remote && (t.ErrorCode == 0x100+42 || t.ErrorCode == 0x100+48)
}

// alpnError is a server that chose no protocol, or another one.
type alpnError struct{ want, got string }

func (e *alpnError) Error() string {
	if e.got == "" {
		return "the server chose no protocol of ALPN; " + e.want + " is needed"
	}
	return "the server chose the protocol " + e.got + " of ALPN; " + e.want + " is needed"
}

// acceptable statuses are no failures: what was asked for, or that it has not changed.
func acceptable(status int) bool { return status/100 == 2 || status == http.StatusNotModified }
