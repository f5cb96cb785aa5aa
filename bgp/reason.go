package bgp

// Reason says why a prefix is announced or withdrawn. The same words stand in the log line, the metric label and the status.
type Reason uint8

// The reasons. Only ReasonServing announces.
const (
	ReasonNotProbed   Reason = iota // the edge, or an origin it needs, has not answered a probe yet
	ReasonSelfFailing               // the edge's own probe fails
	ReasonOrigins                   // a service has too few healthy origins
	ReasonRegional                  // a service has too few healthy origins in the edge's own region
	ReasonRising                    // all is well, but not yet for as long as rise.for asks
	ReasonHeldDown                  // all is well, but a withdrawal was too recent
	ReasonStopping                  // the process was told to stop
	ReasonServing                   // all is well
	numReasons
)

var reasonNames = [numReasons]string{
	ReasonNotProbed:   "not probed yet",
	ReasonSelfFailing: "self probe failing",
	ReasonOrigins:     "too few healthy origins",
	ReasonRegional:    "too few healthy regional origins",
	ReasonRising:      "rising",
	ReasonHeldDown:    "held down",
	ReasonStopping:    "stopping",
	ReasonServing:     "serving",
}

// String is the reason in words.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return "unknown reason"
}

// MarshalText is String, for JSON.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }
