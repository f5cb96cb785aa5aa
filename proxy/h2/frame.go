package h2

import "encoding/binary"

// preface is what a client begins with (RFC 9113 §3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	headerLength = 9     // of a frame
	maxFrame     = 16384 // the largest payload taken and sent: the default of SETTINGS_MAX_FRAME_SIZE
	maxWindow    = 1<<31 - 1
	maxStreamID  = 1<<31 - 1
)

// Frame types (RFC 9113 §6, RFC 9218 §7.1).
const (
	frameData           = 0x0
	frameHeaders        = 0x1
	framePriority       = 0x2
	frameRSTStream      = 0x3
	frameSettings       = 0x4
	framePushPromise    = 0x5
	framePing           = 0x6
	frameGoAway         = 0x7
	frameWindowUpdate   = 0x8
	frameContinuation   = 0x9
	framePriorityUpdate = 0x10
)

const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// errCode is an error code of RFC 9113 §7.
type errCode uint32

const (
	codeNo              errCode = 0x0
	codeProtocol        errCode = 0x1
	codeInternal        errCode = 0x2
	codeFlowControl     errCode = 0x3
	codeStreamClosed    errCode = 0x5
	codeFrameSize       errCode = 0x6
	codeRefusedStream   errCode = 0x7
	codeCancel          errCode = 0x8
	codeCompression     errCode = 0x9
	codeEnhanceYourCalm errCode = 0xb
)

// frame is one whole frame; the payload is a part of the read buffer.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// parseHeader reads a frame's header. The reserved bit is ignored (RFC 9113 §4.1).
func parseHeader(p []byte) (f frame, length int) {
	length = int(p[0])<<16 | int(p[1])<<8 | int(p[2])
	return frame{kind: p[3], flags: p[4], stream: binary.BigEndian.Uint32(p[5:]) & maxStreamID}, length
}

// unpad cuts the padding off a DATA or HEADERS frame (RFC 9113 §6.1). It is false when there is more padding than payload.
func (f *frame) unpad() bool {
	if !f.has(flagPadded) {
		return true
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return false
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return true
}

func appendHeader(b []byte, length int, kind, flags byte, stream uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

func appendGoAway(b []byte, last uint32, code errCode) []byte {
	b = appendHeader(b, 8, frameGoAway, 0, 0)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, last), uint32(code))
}

func appendReset(b []byte, stream uint32, code errCode) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, 4, frameRSTStream, 0, stream), uint32(code))
}

func appendWindowUpdate(b []byte, stream, n uint32) []byte {
	return binary.BigEndian.AppendUint32(appendHeader(b, 4, frameWindowUpdate, 0, stream), n)
}

func appendPing(b []byte, flags byte, data []byte) []byte {
	return append(appendHeader(b, 8, framePing, flags, 0), data...)
}

// appendBlock appends a field block as a HEADERS frame and as many CONTINUATION frames as it needs.
func appendBlock(b []byte, stream uint32, block []byte, end bool) []byte {
	kind, flags := byte(frameHeaders), byte(0)
	if end {
		flags = flagEndStream
	}
	for {
		part := block[:min(len(block), maxFrame)]
		block = block[len(part):]
		if len(block) == 0 {
			flags |= flagEndHeaders
		}
		b = append(appendHeader(b, len(part), kind, flags, stream), part...)
		if len(block) == 0 {
			return b
		}
		kind, flags = frameContinuation, 0
	}
}
