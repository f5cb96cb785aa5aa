package bgp

import "fmt"

// ViewMode is what the edge learns from a router about the announcements of other regions.
type ViewMode uint8

// The modes.
const (
	ViewOff     ViewMode = iota // nothing: the router's UPDATEs are dropped unread
	ViewBest                    // the router's best paths. While the edge announces a prefix, its own path is the best and hides the others': beacons show them
	ViewAddPath                 // all the router's paths, where it sends them (RFC 7911); its best ones where it does not
)

var viewModes = [...]string{"off", "best", "add-path"}

// viewUnread is the mode of a word that is none: whoever read it has reported it.
const viewUnread ViewMode = 0xff

// String is the word of the configuration.
func (m ViewMode) String() string {
	if int(m) < len(viewModes) {
		return viewModes[m]
	}
	return "unknown"
}

// MarshalText is String, for JSON.
func (m ViewMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText parses the word of the configuration.
func (m *ViewMode) UnmarshalText(text []byte) error {
	for i, w := range viewModes {
		if string(text) == w {
			*m = ViewMode(i)
			return nil
		}
	}
	*m = viewUnread
	return fmt.Errorf("%q is no view: write off, best or add-path", text)
}
