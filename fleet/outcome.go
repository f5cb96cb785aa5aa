package fleet

// Outcome is how a question ended.
type Outcome uint8

// The outcomes.
const (
	OutcomeNone         Outcome = iota // nothing has been asked yet
	OutcomeAnswered                    // a valid report
	OutcomeSelf                        // the address is this process's own
	OutcomeNoConnection                // no connection could be made
	OutcomeTimeout                     // no answer in time
	OutcomeLost                        // the connection ended before the answer had come
	OutcomeRefused                     // an answer of another status than 200: usually another secret
	OutcomeTooLarge                    // more than any report has
	OutcomeNotAuthentic                // signed with no key that is accepted here, or for another question
	OutcomeMalformed                   // no HTTP response, or no report
	OutcomeOldVersion                  // a report of a version that is not understood any more
	OutcomeWrongRegion                 // the edge says that it stands in another region than the configuration does
	outcomeCount
)

var outcomeNames = [outcomeCount]string{"not asked", "answered", "self", "no connection", "timeout", "connection lost", "refused", "too large",
	"not authentic", "malformed", "old version", "wrong region"}

func (o Outcome) String() string {
	if o >= outcomeCount {
		return "unknown"
	}
	return outcomeNames[o]
}

// Error is why a question was of no use.
type Error struct {
	Outcome Outcome
	Err     error
}

func (e *Error) Error() string { return e.Outcome.String() + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }
