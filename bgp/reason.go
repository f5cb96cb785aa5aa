package bgp

// Reason says why a prefix is announced as it is, or not. The same words stand in the log line, the metric label and the status.
type Reason uint8

// The reasons.
const (
	ReasonNotProbed   Reason = iota // the edge, or an origin it needs, has not answered a probe yet
	ReasonStalled                   // the edge's own watchdog: a part of the process has not moved for too long
	ReasonSelfFailing               // the edge's own probe fails
	ReasonOrigins                   // a service has too few healthy origins
	ReasonRegional                  // a service has too few healthy origins in the edge's own region
	ReasonCertificate               // a certificate has expired or is about to
	ReasonLoad                      // the edge has more to do than it can
	ReasonDisk                      // the disk tier of the cache fails
	ReasonLastRegion                // something is wrong that other regions may share, and none is known to do better
	ReasonBudget                    // something is wrong, but as many regions as may be are withdrawn already
	ReasonFalling                   // something is wrong, but not yet for as long as fall.for asks
	ReasonRising                    // all is well, but not yet for as long as rise.for asks
	ReasonHeldDown                  // all is well, but a fall was too recent
	ReasonFrozen                    // all is well, but the route fell too often: an operator must look
	ReasonDraining                  // an operator's order
	ReasonStopping                  // the process was told to stop
	ReasonServing                   // all is well
	numReasons
)

var reasonNames = [numReasons]string{
	ReasonNotProbed:   "not probed yet",
	ReasonStalled:     "stalled",
	ReasonSelfFailing: "self probe failing",
	ReasonOrigins:     "too few healthy origins",
	ReasonRegional:    "too few healthy regional origins",
	ReasonCertificate: "certificate",
	ReasonLoad:        "overload",
	ReasonDisk:        "disk cache failing",
	ReasonLastRegion:  "last region standing",
	ReasonBudget:      "withdrawal budget used up",
	ReasonFalling:     "falling",
	ReasonRising:      "rising",
	ReasonHeldDown:    "held down",
	ReasonFrozen:      "frozen",
	ReasonDraining:    "draining",
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

// Level is how much of a route there is.
type Level uint8

// The levels, from the least.
const (
	LevelWithdrawn Level = iota
	LevelDraining        // on the way out, by the steps of the drain ladder
	LevelDegraded        // announced so that another region's route wins
	LevelFull
	numLevels
)

var levelNames = [numLevels]string{"withdrawn", "draining", "degraded", "full"}

// String is the level's name.
func (l Level) String() string {
	if l < numLevels {
		return levelNames[l]
	}
	return "unknown level"
}

// MarshalText is String, for JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// ParseLevel is the level of that name; what is not known is taken for withdrawn, the least that can be counted on.
func ParseLevel(name string) Level {
	for i, n := range levelNames {
		if n == name {
			return Level(i)
		}
	}
	return LevelWithdrawn
}
