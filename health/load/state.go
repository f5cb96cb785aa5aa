package load

import (
	"fmt"
	"strings"
	"time"
)

// The names of the signals: in State, metrics and logs, and their keys in the configuration.
const (
	AcceptQueue       = "accept_queue"
	CPU               = "cpu"
	CPUPressure       = "cpu_pressure"
	Memory            = "memory"
	Descriptors       = "descriptors"
	Connections       = "connections"
	SchedulingLatency = "scheduling_latency"
)

// State is one sample's outcome. It never changes.
type State struct {
	// At is when the sample was taken; zero before the first.
	At time.Time `json:"-"`
	// Level is the highest of the signals, OK at least.
	Level Level `json:"level"`
	// Latest is the highest level of the latest values alone, without hysteresis: with a Level above OK it says whether it is getting
	// better already.
	Latest Level `json:"latest"`
	// Since is when Level began.
	Since time.Time `json:"since"`
	// Detail names the signals that make Level, "" when it is OK.
	Detail string `json:"detail,omitempty"`
	// Signals are in the order of the constants.
	Signals []Signal `json:"signals"`
}

// Signal is one signal's part in a State.
type Signal struct {
	Name string `json:"name"`
	// Value is a share of what there is, or seconds for SchedulingLatency; 0 when Level is Unknown.
	Value float64 `json:"value"`
	// Level is the signal's with hysteresis, Latest that of Value alone.
	Level  Level     `json:"level"`
	Latest Level     `json:"latest"`
	Since  time.Time `json:"since"` // when Level began
	// Detail is where Value comes from, or why it is not known.
	Detail string `json:"detail,omitempty"`
}

// String is the signal as Detail and the log have it.
func (s *Signal) String() string {
	v := fmt.Sprintf("%.2f", s.Value)
	if s.Name == SchedulingLatency {
		v = time.Duration(s.Value * float64(time.Second)).Round(time.Millisecond).String()
	}
	out := s.Name + " " + v
	if s.Detail != "" {
		out += " (" + s.Detail + ")"
	}
	return out
}

// newState sums signals up. before is the state that it follows.
func newState(now time.Time, before *State, signals []Signal) *State {
	s := &State{At: now, Level: OK, Latest: OK, Since: before.Since, Signals: signals}
	for i := range signals {
		s.Level = max(s.Level, signals[i].Level)
		s.Latest = max(s.Latest, signals[i].Latest)
	}
	if s.Level != before.Level || s.Since.IsZero() {
		s.Since = now
	}
	if s.Level > OK {
		var worst []string
		for i := range signals {
			if signals[i].Level == s.Level {
				worst = append(worst, signals[i].String())
			}
		}
		s.Detail = strings.Join(worst, ", ")
	}
	return s
}
