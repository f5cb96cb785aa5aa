package message

// Blame says on whose side an exchange failed.
type Blame uint8

const (
	BlameEdge   Blame = iota // our own fault or limit
	BlameClient              // the client sent something wrong or went away
	BlameOrigin              // the origin failed
)

// String returns the word for logs and metrics.
func (b Blame) String() string {
	switch b {
	case BlameClient:
		return "client"
	case BlameOrigin:
		return "origin"
	}
	return "edge"
}

// Error is a failed exchange.
type Error struct {
	Blame Blame
	// Status is what the client is to get, when it can still be told.
	Status int
	// Reason is a short fixed phrase for logs and metric labels, such as "connect timeout".
	Reason string
	// RetrySafe is true when no byte of the request can have been acted on, so that another attempt is safe whatever the method.
	RetrySafe bool
	// Err is the cause; it may be nil.
	Err error
}

func (e *Error) Error() string {
	s := e.Blame.String() + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }
