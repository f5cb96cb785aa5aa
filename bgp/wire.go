package bgp

import (
	"bufio"
	"encoding/binary"
	"fmt"
)

// Message types, RFC 4271 section 4.1 and RFC 2918.
const (
	typeOpen         = 1
	typeUpdate       = 2
	typeNotification = 3
	typeKeepalive    = 4
	typeRouteRefresh = 5
)

const (
	headerSize     = 19
	maxMessageSize = 4096 // RFC 4271; Extended Message (RFC 8654) is never negotiated
	markerSize     = 16
)

// keepalive is the whole message.
var keepalive = makeMessage(typeKeepalive, nil)

// message is a whole BGP message, its header checked.
type message []byte

func (m message) kind() byte   { return m[headerSize-1] }
func (m message) body() []byte { return m[headerSize:] }

// makeMessage puts a header before a body, which must fit.
func makeMessage(kind byte, body []byte) message {
	m := make(message, headerSize, headerSize+len(body))
	for i := range markerSize {
		m[i] = 0xff
	}
	binary.BigEndian.PutUint16(m[markerSize:], uint16(headerSize+len(body)))
	m[headerSize-1] = kind
	return append(m, body...)
}

// wireError is a fault in what a neighbor sent, with the NOTIFICATION that tells it so.
type wireError struct {
	code, subcode byte
	data          []byte
	text          string
}

func (e *wireError) Error() string { return e.text }

// notification is what to send.
func (e *wireError) notification() message {
	return makeMessage(typeNotification, append([]byte{e.code, e.subcode}, e.data...))
}

// lengths is what the whole message of each type may measure (RFC 4271 section 6.1, RFC 7313 section 5).
var lengths = [...]struct{ min, max int }{
	typeOpen:         {headerSize + 10, maxMessageSize},
	typeUpdate:       {headerSize, 65535},
	typeNotification: {headerSize + 2, maxMessageSize},
	typeKeepalive:    {headerSize, headerSize},
	typeRouteRefresh: {headerSize + 4, headerSize + 4},
}

// checkHeader returns the whole message's length and type.
//
// An UPDATE may have any length here, though RFC 4271 section 6.1 wants the session ended over a wrong one: nothing of a router's
// UPDATE is used, and as long as the next header is where this one's length says, there is no reason to lose the routes over it.
func checkHeader(h []byte) (size int, kind byte, err error) {
	for _, b := range h[:markerSize] {
		if b != 0xff {
			return 0, 0, &wireError{code: 1, subcode: 1, text: "a header's marker is not all ones: the stream is out of step"}
		}
	}
	size, kind = int(binary.BigEndian.Uint16(h[markerSize:])), h[headerSize-1]
	if size < headerSize {
		return 0, 0, badLength(h, fmt.Sprintf("a header says %d bytes, less than the header itself", size))
	}
	if kind < typeOpen || kind > typeRouteRefresh {
		return 0, 0, &wireError{code: 1, subcode: 3, data: []byte{kind}, text: fmt.Sprintf("message type %d does not exist", kind)}
	}
	if l := lengths[kind]; size < l.min || size > l.max {
		return 0, 0, badLength(h, fmt.Sprintf("a message of type %d has %d bytes, not %d to %d", kind, size, l.min, l.max))
	}
	return size, kind, nil
}

func badLength(h []byte, text string) *wireError {
	return &wireError{code: 1, subcode: 2, data: append([]byte(nil), h[markerSize:markerSize+2]...), text: text}
}

// End-of-RIB markers, RFC 4724 section 2: the only UPDATEs of a router that pass.
var endOfRIB = [...]string{
	"\x00\x00\x00\x00",                             // IPv4 unicast
	"\x00\x00\x00\x06\x80\x0f\x03\x00\x02\x01",     // IPv6 unicast
	"\x00\x00\x00\x07\x90\x0f\x00\x03\x00\x02\x01", // the same with an extended length
}

const maxEndOfRIB = headerSize + 11

func isEndOfRIB(body []byte) bool {
	for _, e := range endOfRIB {
		if string(body) == e {
			return true
		}
	}
	return false
}

// readFiltered reads the next message. UPDATEs are skipped without being looked at, End-of-RIB excepted: m is nil then.
// A wireError means that the stream can't be read on. r's buffer must hold a message. m is valid until the next call.
func readFiltered(r *bufio.Reader) (m message, err error) {
	m, err = readUpTo(r, maxEndOfRIB)
	if err == nil && m != nil && m.kind() == typeUpdate && !isEndOfRIB(m.body()) {
		return nil, nil
	}
	return m, err
}

// readWatched is readFiltered for a session with a view: it returns every UPDATE that is no longer than BGP allows.
func readWatched(r *bufio.Reader) (message, error) { return readUpTo(r, maxMessageSize) }

// readUpTo reads the next message. UPDATEs longer than longest are skipped: m is nil then.
func readUpTo(r *bufio.Reader, longest int) (m message, err error) {
	h, err := r.Peek(headerSize)
	if err != nil {
		return nil, err
	}
	size, kind, err := checkHeader(h)
	if err != nil {
		return nil, err
	}
	if kind == typeUpdate && size > longest {
		_, err := r.Discard(size)
		return nil, err
	}
	m, err = r.Peek(size)
	if err != nil {
		return nil, err
	}
	_, err = r.Discard(size)
	return m, err
}

// readOwn reads the next message of our own speaker, which may be of any type. m is valid until the next call.
func readOwn(r *bufio.Reader) (message, error) {
	h, err := r.Peek(headerSize)
	if err != nil {
		return nil, err
	}
	size, _, err := checkHeader(h)
	if err != nil {
		return nil, err
	}
	if size > maxMessageSize {
		return nil, badLength(h, fmt.Sprintf("a message has %d bytes", size))
	}
	m, err := r.Peek(size)
	if err != nil {
		return nil, err
	}
	_, err = r.Discard(size)
	return m, err
}
