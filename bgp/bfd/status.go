package bfd

import (
	"net/netip"
	"time"
)

// Status is a snapshot of one session.
type Status struct {
	State            State      `json:"state"`
	Detail           string     `json:"detail,omitempty"` // what State does not say
	Since            time.Time  `json:"since"`            // when State began
	Diagnostic       Diagnostic `json:"diagnostic"`       // why it is not up, or was not up last
	RemoteState      State      `json:"remote_state"`
	RemoteDiagnostic Diagnostic `json:"remote_diagnostic"`
	LocalAddress     netip.Addr `json:"local_address"` // packets are sent from and to, invalid without sockets

	TransmitInterval Duration `json:"transmit_interval"` // of packets sent, as agreed on, before jitter
	ReceiveInterval  Duration `json:"receive_interval"`  // of packets received, 0: nobody has been heard
	DetectionTime    Duration `json:"detection_time"`    // of silence until the session is down, 0: nobody has been heard
	RemoteMultiplier uint8    `json:"remote_multiplier"` // 0: nobody has been heard

	PacketsIn   uint64            `json:"packets_in"`
	PacketsOut  uint64            `json:"packets_out"`
	SendErrors  uint64            `json:"send_errors"`
	Dropped     map[string]uint64 `json:"dropped,omitempty"` // packets of the neighbor that were discarded, by reason
	Transitions uint64            `json:"transitions"`       // of State
	Failures    uint64            `json:"failures"`          // how often it was up and got lost; what an operator shuts is none
}

// Duration is written in words in JSON.
type Duration time.Duration

// MarshalText is like "300ms".
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText writes.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// view is what a session's thread shows of it, as one piece.
type view struct {
	state, remote        State
	diag, remoteDiag     Diagnostic
	since                time.Time
	heard                bool // somebody is known at the other end
	held                 bool
	transmit, receive    time.Duration
	detection            time.Duration
	multiplier           uint8
	failures, moves      uint64
	local                netip.Addr
	fault                fault
	passive              bool
	heardEver            bool
	quietBecauseOfRemote bool
}

// detail says in words what an operator asks when a session is not up.
func (v *view) detail() string {
	switch {
	case v.state == Up && v.quietBecauseOfRemote:
		return "the neighbor asks for no packets"
	case v.state == Up:
		return ""
	case v.fault.err != nil:
		return v.fault.String()
	case v.held:
		return "held down: this edge does not serve"
	case v.heard && v.remote == AdminDown:
		return "the neighbor has shut BFD down"
	case v.heard:
		return ""
	case !v.heardEver && v.passive:
		return "no packets from the neighbor yet, and passive: nothing is sent before one comes"
	case !v.heardEver:
		return "no packets from the neighbor yet"
	}
	return "no packets from the neighbor"
}
