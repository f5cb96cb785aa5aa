package bgp

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Codes and subcodes that are looked at. Cease of subcode 2 and 4 carries a shutdown communication, RFC 9003.
const (
	codeOpen          = 2
	codeHoldTimer     = 4
	codeCease         = 6
	ceaseMaxPrefixes  = 1 // RFC 4486
	ceaseShutdown     = 2
	ceaseReset        = 4
	ceaseHardReset    = 9 // RFC 8538
	subcodeBadPeerAS  = 2
	maxCommunication  = 255
	subcodeBadBGPID   = 3
	subcodeAuthFailed = 5
)

var notificationCodes = map[byte]string{
	1: "Message Header Error",
	2: "OPEN Message Error",
	3: "UPDATE Message Error",
	4: "Hold Timer Expired",
	5: "Finite State Machine Error",
	6: "Cease",
	7: "ROUTE-REFRESH Message Error",
	8: "Send Hold Timer Expired", // RFC 9687
}

// notificationSubcodes is IANA's registry, by code and subcode.
var notificationSubcodes = map[[2]byte]string{
	{1, 1}: "Connection Not Synchronized", {1, 2}: "Bad Message Length", {1, 3}: "Bad Message Type",
	{2, 1}: "Unsupported Version Number", {2, 2}: "Bad Peer AS", {2, 3}: "Bad BGP Identifier",
	{2, 4}: "Unsupported Optional Parameter", {2, 5}: "Authentication Failure", {2, 6}: "Unacceptable Hold Time",
	{2, 7}: "Unsupported Capability", {2, 11}: "Role Mismatch",
	{3, 1}: "Malformed Attribute List", {3, 2}: "Unrecognized Well-known Attribute", {3, 3}: "Missing Well-known Attribute",
	{3, 4}: "Attribute Flags Error", {3, 5}: "Attribute Length Error", {3, 6}: "Invalid ORIGIN Attribute",
	{3, 8}: "Invalid NEXT_HOP Attribute", {3, 9}: "Optional Attribute Error", {3, 10}: "Invalid Network Field",
	{3, 11}: "Malformed AS_PATH",
	{5, 1}:  "Unexpected Message in OpenSent", {5, 2}: "Unexpected Message in OpenConfirm", {5, 3}: "Unexpected Message in Established",
	{6, 1}: "Maximum Number of Prefixes Reached", {6, 2}: "Administrative Shutdown", {6, 3}: "Peer De-configured",
	{6, 4}: "Administrative Reset", {6, 5}: "Connection Rejected", {6, 6}: "Other Configuration Change",
	{6, 7}: "Connection Collision Resolution", {6, 8}: "Out of Resources", {6, 9}: "Hard Reset", {6, 10}: "BFD Down",
	{7, 1}: "Invalid Message Length",
}

// notification is a NOTIFICATION message, RFC 4271 section 4.5.
type notification struct {
	code, subcode byte
	communication string // RFC 9003, made fit for a log line
	detail        string // what else it says of the cause
}

// parseNotification reads a NOTIFICATION's body, which the framing has found to have at least two bytes.
func parseNotification(b []byte) notification {
	if len(b) < 2 {
		return notification{}
	}
	n := notification{code: b[0], subcode: b[1]}
	if n.code == codeCease && (n.subcode == ceaseShutdown || n.subcode == ceaseReset) && len(b) > 3 {
		if size := int(b[2]); len(b) >= 3+size {
			n.communication = printable(b[3 : 3+size])
		}
	}
	if n.code == codeCease {
		n.detail = ceaseDetail(n.subcode, b[2:])
	}
	return n
}

// ceaseDetail reads the data of the subcodes that have some: the limit of RFC 4486 section 4, and of a hard reset, RFC 8538 section 3.1,
// the real cause.
func ceaseDetail(subcode byte, data []byte) string {
	switch {
	case subcode == ceaseMaxPrefixes && len(data) >= 7:
		family, ok := map[[3]byte]string{{0, 1, 1}: "IPv4 unicast", {0, 2, 1}: "IPv6 unicast"}[[3]byte(data)]
		if !ok {
			family = fmt.Sprintf("AFI %d, SAFI %d", binary.BigEndian.Uint16(data), data[2])
		}
		return fmt.Sprintf("its limit is %d for %s", binary.BigEndian.Uint32(data[3:]), family)
	case subcode == ceaseHardReset && len(data) >= 2 && data[1] != ceaseHardReset:
		return parseNotification(data).String()
	}
	return ""
}

// printable makes a neighbor's text fit for a log line and a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(string(b), "."))
}

// String is, for example, "Cease/Administrative Shutdown: 'maintenance'".
func (n notification) String() string {
	s, ok := notificationCodes[n.code]
	if !ok {
		s = fmt.Sprintf("code %d", n.code)
	}
	if sub, ok := notificationSubcodes[[2]byte{n.code, n.subcode}]; ok {
		s += "/" + sub
	} else if n.subcode != 0 {
		s += fmt.Sprintf("/subcode %d", n.subcode)
	}
	if n.detail != "" {
		s += " (" + n.detail + ")"
	}
	if n.communication != "" {
		s += ": '" + n.communication + "'"
	}
	return s
}

// shutdown is Cease, Administrative Shutdown with the text as its communication, cut between characters to what fits.
func shutdown(text string) message {
	text = strings.ToValidUTF8(text, "")
	for len(text) > maxCommunication {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	b := []byte{codeCease, ceaseShutdown}
	if text != "" {
		b = append(append(b, byte(len(text))), text...)
	}
	return makeMessage(typeNotification, b)
}
