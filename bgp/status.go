package bgp

import (
	"net/netip"
	"time"
)

// NeighborStatus is a snapshot of one neighbor.
type NeighborStatus struct {
	Address      netip.Addr     `json:"address"`
	Port         uint16         `json:"port"`
	ASN          uint32         `json:"asn"`
	State        SessionState   `json:"state"`
	Since        time.Time      `json:"since"`         // when State began
	LocalAddress netip.Addr     `json:"local_address"` // of the session, invalid without one
	Prefixes     []netip.Prefix `json:"prefixes"`      // what this session has been sent and not withdrawn, sorted
	// Announcements are the same prefixes with what they are announced with. Mismatches are what is otherwise than it should be for
	// more than 2 s.
	Announcements []AnnouncementStatus `json:"announcements"`
	Mismatches    []Mismatch           `json:"mismatches"`
	LastDown      string               `json:"last_down"` // why the last session ended or the last attempt failed
	LastDownAt    time.Time            `json:"last_down_at,omitzero"`
	Filtered      uint64               `json:"filtered"` // UPDATEs of the neighbor that were dropped
}

// SessionState is how far a neighbor's session has come.
type SessionState uint8

// The states, after RFC 4271 section 8.2.2 as far as an operator can tell them apart.
const (
	SessionIdle        SessionState = iota // waiting before the next attempt
	SessionConnect                         // the TCP connection is being made
	SessionOpen                            // OPENs and the first KEEPALIVEs are being exchanged
	SessionEstablished                     // routes are exchanged
)

var sessionStateNames = [...]string{"idle", "connect", "open", "established"}

// String is the state's name.
func (s SessionState) String() string {
	if int(s) < len(sessionStateNames) {
		return sessionStateNames[s]
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (s SessionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
