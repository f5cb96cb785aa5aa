// Package evil is a BGP neighbor that goes wrong: it opens a session as it should and then sends what no router should. It writes its
// messages byte by byte, because no honest library would.
package evil

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
)

// Message types, RFC 4271 §4.1.
const (
	TypeOpen         = 1
	TypeUpdate       = 2
	TypeNotification = 3
	TypeKeepalive    = 4
)

const (
	headerLength = 19
	maxLength    = 4096
	asTrans      = 23456 // stands for a number above 65535 in two bytes, RFC 6793
)

// Identity is who the neighbor says it is.
type Identity struct {
	ASN      uint32
	RouterID netip.Addr // IPv4
	TwoByte  bool       // as an old router, without the four-byte AS number capability
}

// Message puts the header before a body, RFC 4271 §4.1. The length is not checked.
func Message(kind byte, body []byte) []byte {
	m := slices.Repeat([]byte{0xff}, 16)
	m = binary.BigEndian.AppendUint16(m, uint16(headerLength+len(body)))
	return slices.Concat(m, []byte{kind}, body)
}

// Open is an OPEN for both families, RFC 4271 §4.2. The hold time is in seconds.
func Open(id Identity, holdTime uint16) []byte {
	asn := uint16(asTrans)
	if id.ASN <= 0xffff {
		asn = uint16(id.ASN)
	}
	capabilities := []byte{1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1}
	if !id.TwoByte {
		capabilities = binary.BigEndian.AppendUint32(append(capabilities, 65, 4), id.ASN)
	}
	b := binary.BigEndian.AppendUint16([]byte{4}, asn)
	b = binary.BigEndian.AppendUint16(b, holdTime)
	b = append(b, id.RouterID.AsSlice()...)
	b = append(b, byte(len(capabilities)+2), 2, byte(len(capabilities)))
	return Message(TypeOpen, append(b, capabilities...))
}

// Keepalive is a KEEPALIVE.
func Keepalive() []byte { return Message(TypeKeepalive, nil) }

// Update is an UPDATE of the three parts, RFC 4271 §4.3.
func Update(withdrawn, attributes, nlri []byte) []byte {
	return Message(TypeUpdate, updateBody(withdrawn, attributes, nlri))
}

func updateBody(withdrawn, attributes, nlri []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(withdrawn)))
	b = append(b, withdrawn...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	return slices.Concat(b, attributes, nlri)
}

// Read reads one message.
func Read(r io.Reader) (kind byte, body []byte, err error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(r, header); err != nil {
		return 0, nil, err
	}
	length := int(binary.BigEndian.Uint16(header[16:]))
	if length < headerLength || length > maxLength {
		return 0, nil, fmt.Errorf("BGP message of %d bytes", length)
	}
	body = make([]byte, length-headerLength)
	_, err = io.ReadFull(r, body)
	return header[18], body, err
}

// Notification is a NOTIFICATION that was received, as an error.
type Notification struct{ Code, Subcode byte }

func (n *Notification) Error() string {
	return fmt.Sprintf("NOTIFICATION %d/%d", n.Code, n.Subcode)
}

// expect reads until a message of that kind. KEEPALIVEs in between are fine.
func expect(r io.Reader, want byte) ([]byte, error) {
	for {
		kind, body, err := Read(r)
		switch {
		case err != nil:
			return nil, err
		case kind == want:
			return body, nil
		case kind == TypeNotification && len(body) >= 2:
			return nil, &Notification{body[0], body[1]}
		case kind == TypeNotification:
			return nil, errors.New("NOTIFICATION without a code")
		}
	}
}

// Establish brings a session up over an open connection, whichever end dialed.
func Establish(conn io.ReadWriter, id Identity, holdTime uint16) error {
	if _, err := conn.Write(Open(id, holdTime)); err != nil {
		return err
	}
	if _, err := expect(conn, TypeOpen); err != nil {
		return fmt.Errorf("waiting for an OPEN: %w", err)
	}
	if _, err := conn.Write(Keepalive()); err != nil {
		return err
	}
	if _, err := expect(conn, TypeKeepalive); err != nil {
		return fmt.Errorf("waiting for a KEEPALIVE: %w", err)
	}
	return nil
}
