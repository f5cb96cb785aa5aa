package cache

import (
	"fmt"
	"strconv"
)

// StatusMode is how much responses say of the cache in Cache-Status (RFC 9211).
type StatusMode uint8

const (
	StatusOff  StatusMode = iota
	StatusOn              // hit or why not, the origin's status, stored, collapsed
	StatusFull            // and the key, and for how long what was stored is fresh
)

// String returns the word of the configuration.
func (m StatusMode) String() string {
	switch m {
	case StatusOn:
		return "on"
	case StatusFull:
		return "full"
	}
	return "off"
}

// UnmarshalText parses on, off, full; true and false are on and off.
func (m *StatusMode) UnmarshalText(text []byte) error {
	switch string(text) {
	case "on", "true":
		*m = StatusOn
	case "off", "false":
		*m = StatusOff
	case "full":
		*m = StatusFull
	default:
		return fmt.Errorf("%q is not on, off or full", text)
	}
	return nil
}

// Append appends the Cache-Status member for a request (RFC 9211), and with full what else there is.
func (m StatusMode) Append(b []byte, key *Key, res Result, out Outcome) []byte {
	b = appendStatus(b, &res, &out)
	if m != StatusFull {
		return b
	}
	if out.Forwarded && out.Stored { // a hit's is there already
		b = append(b, "; ttl="...)
		b = strconv.AppendInt(b, floorSeconds(out.TTL), 10)
	}
	if key.path != "" { // the request has come as far as the cache
		b = append(b, `; key="`...)
		b = append(key.appendStatus(b), '"')
	}
	return b
}

// maxStatusKey bounds the key in Cache-Status; a longer one is cut, and ends with "...".
const maxStatusKey = 512

// appendStatus appends the key as String has it, as the inside of a Structured Fields String (RFC 8941 §3.3.3).
func (k *Key) appendStatus(b []byte) []byte {
	url, selected := k.split()
	mark := ""
	if k.hasQuery {
		mark = "?"
	}
	start := len(b)
	for _, s := range [...]string{k.scheme, "://", k.authority, k.path, mark, url.query, selected} {
		for i := range len(s) {
			if len(b)-start >= maxStatusKey {
				return append(b, "..."...)
			}
			b = appendSFChar(b, s[i])
		}
	}
	return b
}

// appendSFChar appends a byte; one that a String can't hold is percent-encoded, but for the mark of a part, which becomes a space.
func appendSFChar(b []byte, c byte) []byte {
	switch {
	case c == selectedMark:
		return append(b, ' ')
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c < ' ' || c > '~':
		const hex = "0123456789ABCDEF"
		return append(b, '%', hex[c>>4], hex[c&15])
	}
	return append(b, c)
}
