package assemble

// Error is why a message is refused. The values are fixed, so that refusing costs nothing.
type Error struct {
	// Status is what a request may be answered with; 0 when the message is malformed, which is a stream error of type PROTOCOL_ERROR
	// in HTTP/2 (RFC 9113 §8.1.1) and H3_MESSAGE_ERROR in HTTP/3 (RFC 9114 §4.1.2).
	Status int
	// Reason is one of [Reasons].
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Malformed reports whether the stream must end with an error.
func (e *Error) Malformed() bool { return e.Status == 0 }

// Reasons are the values that Error.Reason may have.
var Reasons []string

func fault(status int, reason string) *Error {
	Reasons = append(Reasons, reason)
	return &Error{Status: status, Reason: reason}
}

var (
	errName        = fault(0, "malformed field name")
	errValue       = fault(0, "malformed field value")
	errConnection  = fault(0, "connection-specific field")
	errPseudo      = fault(0, "unknown pseudo-header field")
	errPseudoTwice = fault(0, "pseudo-header field twice")
	errPseudoLate  = fault(0, "pseudo-header field after fields")
	errPseudoTail  = fault(0, "pseudo-header field in trailers")
	errMissing     = fault(0, "pseudo-header field missing")
	errSurplus     = fault(0, "pseudo-header field out of place")
	errMethod      = fault(0, "malformed method")
	errHostTwice   = fault(0, "two hosts")
	errHost        = fault(0, "host and authority differ")
	errLength      = fault(0, "malformed length")
	errLengthTwice = fault(0, "two lengths")
	errContent     = fault(0, "length and content differ")

	errAuthority  = fault(400, "malformed authority")
	errTarget     = fault(400, "malformed request target")
	errTooLong    = fault(413, "content too long")
	errTargetLong = fault(414, "request target too long")
	errScheme     = fault(421, "scheme of another connection")
	errTooLarge   = fault(431, "field section too large")
	errConnect    = fault(501, "method CONNECT")
)
