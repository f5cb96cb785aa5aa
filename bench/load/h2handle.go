package load

import (
	"encoding/binary"
	"time"
)

// Error codes and settings (RFC 9113 §7, §6.5.2).
const (
	codeNo     = 0x0
	codeCancel = 0x8

	settingEnablePush    = 0x2
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4
)

// preface begins every connection (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// window is what the client lets the server send, for each stream and for the connection: so much that it never waits.
const window = 1<<30 - 1

// giveBack is how many bytes are taken before the window is opened again.
const giveBack = 1 << 29

// appendPreface appends the preface, SETTINGS and the connection's window.
func appendPreface(b []byte) []byte {
	b = append(b, preface...)
	b = appendFrameHeader(b, 12, frameSettings, 0, 0)
	b = append(b, 0, settingEnablePush, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(append(b, 0, settingInitialWindow), window)
	return appendWordFrame(b, frameWindowUpdate, 0, window-65535)
}

// handle handles a frame.
func (w *h2) handle(f frame, now time.Duration) error {
	if !w.settled && f.kind != frameSettings {
		return failed(Protocol, "the server's first frame is not SETTINGS")
	}
	if w.opened.kind != 0 && (f.kind != frameContinuation || f.stream != w.opened.stream) {
		return failed(Protocol, "a field block is interrupted")
	}
	switch f.kind {
	case frameData:
		return w.onData(f, now)
	case frameHeaders:
		fragment, err := f.fragment()
		if err != nil {
			return err
		}
		return w.onBlock(f, fragment, now)
	case frameContinuation:
		if w.opened.kind == 0 {
			return failed(Protocol, "CONTINUATION without a field block to go on with")
		}
		begun := w.opened
		begun.flags |= f.flags & flagEndHeaders
		return w.onBlock(begun, f.payload, now)
	case frameRSTStream:
		return w.onReset(f, now)
	case frameSettings:
		return w.onSettings(f)
	case framePing:
		if len(f.payload) != 8 {
			return failed(Protocol, "a PING of %d bytes", len(f.payload))
		}
		if f.flags&flagAck == 0 {
			w.out = append(appendFrameHeader(w.out, 8, framePing, flagAck, 0), f.payload...)
		}
	case frameGoAway:
		return w.onGoAway(f)
	case frameWindowUpdate:
		return w.onWindow(f)
	case framePushPromise:
		return failed(Protocol, "PUSH_PROMISE, which was not allowed")
	}
	return nil
}

func (w *h2) onData(f frame, now time.Duration) error {
	if f.stream == 0 || f.stream >= w.id {
		return failed(Protocol, "DATA on stream %d, which was never opened", f.stream)
	}
	if w.flow.consumed += f.length; w.flow.consumed >= giveBack {
		w.out = appendWordFrame(w.out, frameWindowUpdate, 0, uint32(w.flow.consumed))
		w.flow.consumed = 0
	}
	s := w.stream(f.stream)
	switch {
	case s == nil: // given up before
		return nil
	case s.status < 200:
		return failed(Protocol, "DATA before a final status")
	}
	s.bytes += int64(f.length - f.padding)
	if f.flags&flagEndStream != 0 {
		w.finish(s, now)
	} else if s.consumed += f.length; s.consumed >= giveBack {
		w.out = appendWordFrame(w.out, frameWindowUpdate, s.id, uint32(s.consumed))
		s.consumed = 0
	}
	return nil
}

// onBlock takes a fragment of a field block, begun by the given HEADERS frame.
func (w *h2) onBlock(f frame, fragment []byte, now time.Duration) error {
	if f.flags&flagEndHeaders == 0 || w.opened.kind != 0 {
		if len(w.block)+len(fragment) > maxBlock {
			return failed(Protocol, "a field block of more than %d bytes", maxBlock)
		}
		w.block, w.opened = append(w.block, fragment...), f
		w.opened.payload = nil
		if f.flags&flagEndHeaders == 0 {
			return nil
		}
		fragment, w.opened = w.block, frame{}
		w.block = w.block[:0]
	}
	if f.stream == 0 || f.stream >= w.id {
		return failed(Protocol, "HEADERS on stream %d, which was never opened", f.stream)
	}
	status, err := w.statuses.of(fragment) // for a stream that was given up too: it may change the table
	if err != nil {
		return err
	}
	s := w.stream(f.stream)
	if s == nil {
		return nil
	}
	end := f.flags&flagEndStream != 0
	switch {
	case s.status < 200 && status == 0:
		return failed(Protocol, "a response without a status")
	case s.status < 200:
		s.status = status
	case status != 0 || !end:
		return failed(Protocol, "a second response")
	}
	if end {
		w.finish(s, now)
	}
	return nil
}

func (w *h2) onReset(f frame, now time.Duration) error {
	if len(f.payload) != 4 || f.stream == 0 || f.stream >= w.id {
		return failed(Protocol, "RST_STREAM of %d bytes on stream %d", len(f.payload), f.stream)
	}
	if s := w.stream(f.stream); s != nil {
		w.reset(s, now, failed(Stream, "the server reset the stream: %s", codeName(binary.BigEndian.Uint32(f.payload))))
	}
	return nil
}

func (w *h2) onSettings(f frame) error {
	if f.stream != 0 || len(f.payload)%6 != 0 || f.flags&flagAck != 0 && len(f.payload) > 0 {
		return failed(Protocol, "SETTINGS of %d bytes on stream %d", len(f.payload), f.stream)
	}
	if f.flags&flagAck != 0 {
		return nil
	}
	for b := f.payload; len(b) > 0; b = b[6:] {
		value := binary.BigEndian.Uint32(b[2:])
		switch binary.BigEndian.Uint16(b) {
		case settingMaxStreams:
			w.max = int(min(uint64(w.Streams), uint64(value)))
		case settingInitialWindow:
			if value > 1<<31-1 {
				return failed(Protocol, "an initial window of %d bytes", value)
			}
			for i := range w.slots {
				w.slots[i].window += int64(value) - w.flow.initial
			}
			w.flow.initial = int64(value)
		}
	}
	w.settled = true
	w.out = appendFrameHeader(w.out, 0, frameSettings, flagAck, 0)
	w.room.Signal()
	return nil
}

// onGoAway stops opening streams. Those that the server has not seen are made again on the next connection (RFC 9113 §6.8).
func (w *h2) onGoAway(f frame) error {
	if len(f.payload) < 8 || f.stream != 0 {
		return failed(Protocol, "GOAWAY of %d bytes on stream %d", len(f.payload), f.stream)
	}
	last, code := binary.BigEndian.Uint32(f.payload)&streamNumber, binary.BigEndian.Uint32(f.payload[4:])
	w.up = false
	unseen := 0
	for i := range w.slots {
		if s := &w.slots[i]; s.id > last {
			w.again = append(w.again, h2Stream{ticket: s.ticket, target: s.target})
			w.release(s.id)
			unseen++
		}
	}
	w.book.retry(unseen)
	if code != codeNo {
		return failed(Protocol, "the server ended the connection: %s", codeName(code))
	}
	return nil
}

// codeName is the name of an error code.
func codeName(code uint32) string {
	names := [...]string{"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
		"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
		"HTTP_1_1_REQUIRED"}
	if int(code) < len(names) {
		return names[code]
	}
	return "an unknown error"
}
