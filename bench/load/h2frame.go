package load

import "encoding/binary"

// Frame types and flags (RFC 9113 §6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameRSTStream    = 0x3
	frameSettings     = 0x4
	framePushPromise  = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

const (
	frameHeader  = 9
	maxFrame     = 16384 // SETTINGS_MAX_FRAME_SIZE that the client leaves as it is
	maxBlock     = 1 << 20
	streamNumber = 1<<31 - 1
)

// frame is one frame. A DATA frame comes without its payload, when all of that has been passed over.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte // valid until the next call
	length      int    // of the payload, padding included
	padding     int    // with its length, of a DATA frame
}

// frames cuts the bytes of an HTTP/2 connection into frames.
type frames struct {
	data frame // the DATA frame whose payload is being passed over
	left int
	busy bool
}

// next takes one frame from b and says how many bytes it used, which may be more than none without a frame. Without a frame, it needs more
// bytes; those that it has not used must come again. A frame other than DATA needs at most frameHeader+maxFrame bytes.
func (f *frames) next(b []byte) (got frame, used int, ok bool, err error) {
	if f.busy {
		used = min(f.left, len(b))
		f.left -= used
		if f.left > 0 {
			return frame{}, used, false, nil
		}
		f.busy = false
		return f.data, used, true, nil
	}
	if len(b) < frameHeader {
		return frame{}, 0, false, nil
	}
	got = frame{kind: b[3], flags: b[4], length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		stream: binary.BigEndian.Uint32(b[5:]) & streamNumber}
	if got.length > maxFrame {
		return frame{}, 0, false, failed(Protocol, "a frame of %d bytes, more than the %d allowed", got.length, maxFrame)
	}
	if got.kind != frameData {
		if len(b) < frameHeader+got.length {
			return frame{}, 0, false, nil
		}
		got.payload = b[frameHeader : frameHeader+got.length]
		return got, frameHeader + got.length, true, nil
	}
	used = frameHeader
	if got.flags&flagPadded != 0 {
		if got.length == 0 {
			return frame{}, 0, false, failed(Protocol, "a padded DATA frame without the length of its padding")
		}
		if len(b) == frameHeader {
			return frame{}, 0, false, nil
		}
		got.padding = 1 + int(b[frameHeader])
		if got.padding > got.length {
			return frame{}, 0, false, failed(Protocol, "a DATA frame with more padding than payload")
		}
		used++
	}
	f.data, f.left, f.busy = got, got.length-(used-frameHeader), true
	more, n, ok, err := f.next(b[used:])
	return more, used + n, ok, err
}

// appendFrameHeader appends the header of a frame.
func appendFrameHeader(b []byte, length int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// appendWord appends a frame whose payload is one 32-bit number.
func appendWordFrame(b []byte, kind byte, stream, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendFrameHeader(b, 4, kind, 0, stream), n)
}

// fragment is the field block's part in a HEADERS frame: without padding and priority.
func (f *frame) fragment() ([]byte, error) {
	b := f.payload
	if f.flags&flagPadded != 0 {
		if len(b) == 0 || int(b[0]) >= len(b) {
			return nil, failed(Protocol, "a HEADERS frame with more padding than payload")
		}
		b = b[1 : len(b)-int(b[0])]
	}
	if f.flags&flagPriority != 0 {
		if len(b) < 5 {
			return nil, failed(Protocol, "a HEADERS frame that is too short for its priority")
		}
		b = b[5:]
	}
	return b, nil
}
