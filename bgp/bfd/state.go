package bfd

import (
	"fmt"
	"strconv"
)

// State is bfd.SessionState, RFC 5880 section 6.8.1, with the numbers of the wire.
type State uint8

// The states.
const (
	AdminDown State = iota // shut by an operator: not a failure (RFC 5882 section 3.2)
	Down                   // no session
	Init                   // the other side is heard, and has not said yet that it hears this one
	Up                     // both hear each other
)

var stateNames = [...]string{"admin down", "down", "init", "up"}

// String is the state's name.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "state " + strconv.Itoa(int(s))
}

// MarshalText is String, for JSON.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *State) UnmarshalText(b []byte) error {
	for i := range State(len(stateNames)) {
		if i.String() == string(b) {
			*s = i
			return nil
		}
	}
	return fmt.Errorf("no BFD state is called %q", b)
}

// Diagnostic says why a session was last not up, RFC 5880 section 4.1, with the numbers of the wire.
type Diagnostic uint8

// The diagnostics that are sent from here.
const (
	NoDiagnostic           Diagnostic = 0
	DetectionTimeExpired   Diagnostic = 1 // nothing was heard for the detection time
	NeighborSignaledDown   Diagnostic = 3 // the other side said so
	ForwardingPlaneReset   Diagnostic = 4 // what was forwarded here is not any more: the lease has run out
	AdministrativelyDown   Diagnostic = 7
	maxDiagnostic                     = 31 // it has five bits
	maxAssignedDiagnostics            = 9
)

var diagnosticNames = [maxAssignedDiagnostics]string{
	"no diagnostic", "control detection time expired", "echo function failed", "neighbor signaled session down", "forwarding plane reset",
	"path down", "concatenated path down", "administratively down", "reverse concatenated path down",
}

// String is the diagnostic in RFC 5880's words.
func (d Diagnostic) String() string {
	if int(d) < len(diagnosticNames) {
		return diagnosticNames[d]
	}
	return "diagnostic " + strconv.Itoa(int(d))
}

// MarshalText is String, for JSON.
func (d Diagnostic) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Diagnostic) UnmarshalText(b []byte) error {
	for i := range Diagnostic(maxDiagnostic + 1) {
		if i.String() == string(b) {
			*d = i
			return nil
		}
	}
	return fmt.Errorf("no BFD diagnostic is called %q", b)
}
