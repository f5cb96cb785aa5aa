package load

import "encoding/binary"

// h2Flow is what the flow control of one connection lets the client send, and what it has taken.
type h2Flow struct {
	window   int64 // of the connection
	initial  int64 // of a new stream
	sending  []uint32
	consumed int // not yet given back to the server
}

// newH2Flow has the windows that every connection begins with (RFC 9113 §6.9.2).
func newH2Flow() h2Flow { return h2Flow{window: 65535, initial: 65535} }

// maxPutOff is about how much of the bodies is gathered for one write.
const maxPutOff = 128 << 10

var zeros [maxFrame]byte

// sendBodies appends as much of the requests' bodies as the windows allow.
func (w *h2) sendBodies() {
	waiting := w.flow.sending[:0]
	for _, id := range w.flow.sending {
		s := w.stream(id)
		if s == nil {
			continue
		}
		for s.body > 0 && len(w.out) < maxPutOff {
			n := min(int64(s.body), w.flow.window, s.window, maxFrame)
			if n <= 0 {
				break
			}
			s.body -= int(n)
			s.window -= n
			w.flow.window -= n
			flags := byte(0)
			if s.body == 0 {
				flags = flagEndStream
			}
			w.out = append(appendFrameHeader(w.out, int(n), frameData, flags, id), zeros[:n]...)
		}
		if s.body > 0 {
			waiting = append(waiting, id)
		}
	}
	w.flow.sending = waiting
}

func (w *h2) onWindow(f frame) error {
	if len(f.payload) != 4 {
		return failed(Protocol, "WINDOW_UPDATE of %d bytes", len(f.payload))
	}
	to, n := &w.flow.window, int64(binary.BigEndian.Uint32(f.payload)&streamNumber)
	if f.stream != 0 {
		s := w.stream(f.stream)
		if s == nil {
			return nil
		}
		to = &s.window
	}
	if *to += n; n == 0 || *to > 1<<31-1 {
		return failed(Protocol, "WINDOW_UPDATE by %d", n)
	}
	return nil
}
