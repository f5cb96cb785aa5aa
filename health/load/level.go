package load

// Level is how hard pressed a signal, or the whole edge, is. They are ordered. The zero value is Unknown, and Unknown is never overload.
type Level uint8

// The levels of a signal. The whole edge is never Unknown: what is not known is no load.
const (
	Unknown  Level = iota // it can't be read, or there is no limit to compare it with
	OK                    // below the high threshold
	High                  // the edge should get less: uncacheable work is shed, announcements are made less attractive
	Critical              // the edge is about to fail its clients
)

// String returns the word for logs, metrics and the status page.
func (l Level) String() string {
	switch l {
	case OK:
		return "ok"
	case High:
		return "high"
	case Critical:
		return "critical"
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }
