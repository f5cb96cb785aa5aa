package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/quic-go/quic-go"
)

func TestReasonOf(t *testing.T) {
	opErr := func(err error) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", err)}
	}
	tests := []struct {
		err  error
		want Reason
	}{
		{nil, ReasonOK},
		{context.DeadlineExceeded, ReasonTimeout},
		{fmt.Errorf("reading: %w", os.ErrDeadlineExceeded), ReasonTimeout},
		{opErr(syscall.ETIMEDOUT), ReasonTimeout},
		{opErr(syscall.ECONNREFUSED), ReasonRefused},
		{errors.Join(opErr(syscall.ECONNREFUSED), opErr(syscall.ECONNREFUSED)), ReasonRefused},
		{opErr(syscall.ECONNRESET), ReasonReset},
		{opErr(syscall.EPIPE), ReasonReset},
		{opErr(syscall.EHOSTUNREACH), ReasonUnreachable},
		{opErr(syscall.ENETUNREACH), ReasonUnreachable},
		{&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, ReasonDNS},
		{&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}, ReasonDNS},
		{&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true, UnwrapErr: context.DeadlineExceeded}, ReasonDNS},
		{&quic.TransportError{ErrorCode: 0x100 + 120}, ReasonTLS},
		{&quic.TransportError{ErrorCode: quic.InternalError}, ReasonClosed},
		{&quic.HandshakeTimeoutError{}, ReasonTimeout},
		{tls.AlertError(40), ReasonTLS},
		{fmt.Errorf("remote: %w", tls.RecordHeaderError{Msg: "not TLS"}), ReasonTLS},
		{io.EOF, ReasonClosed},
		{io.ErrUnexpectedEOF, ReasonClosed},
		{fmt.Errorf("self: %w", &Error{ReasonNotSelf, errors.New("x")}), ReasonNotSelf},
		{errors.New("malformed HTTP response"), ReasonOther},
	}
	for _, tt := range tests {
		if got := ReasonOf(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestEveryReasonHasItsOwnName(t *testing.T) {
	seen := map[string]Reason{}
	for r := Reason(0); r < reasonCount; r++ {
		if other, ok := seen[r.String()]; ok || r.String() == "" {
			t.Errorf("reasons %d and %d are both %q", r, other, r)
		}
		seen[r.String()] = r
	}
	if Reason(200).String() != "other" {
		t.Error("an unknown reason has no name")
	}
}
