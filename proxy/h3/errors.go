package h3

import (
	"slices"

	"nearcast/proxy/message/assemble"
)

// Error codes of RFC 9114 §8.1 and RFC 9204 §6.
const (
	codeNoError           = 0x100
	codeStreamCreation    = 0x103
	codeClosedCritical    = 0x104
	codeFrameUnexpected   = 0x105
	codeFrame             = 0x106
	codeExcessiveLoad     = 0x107
	codeID                = 0x108
	codeSettings          = 0x109
	codeMissingSettings   = 0x10a
	codeInternal          = 0x102
	codeRequestRejected   = 0x10b
	codeRequestCancelled  = 0x10c
	codeRequestIncomplete = 0x10d
	codeMessage           = 0x10e
	codeDecompression     = 0x200
	codeEncoderStream     = 0x201
	codeDecoderStream     = 0x202
)

// fault is a breach of the protocol. The values are fixed, so that refusing costs nothing.
type fault struct {
	code   uint64
	conn   bool   // ends the connection, not only the stream
	status int    // the stream is answered with that before, where it can be
	kind   string // for Config.CountError
	reason string // for the client's developer, and for message.Refusal
}

func (f *fault) Error() string { return f.reason }

// ErrorKinds are the words that Config.CountError is called with.
var ErrorKinds []string

// Reasons are those of the refusals that a Refuser is told of.
var Reasons = slices.Clone(assemble.Reasons)

func connFault(code uint64, kind, reason string) *fault {
	return newFault(fault{code: code, conn: true, kind: kind, reason: reason})
}

func streamFault(code uint64, status int, kind, reason string) *fault {
	Reasons = append(Reasons, reason)
	return newFault(fault{code: code, status: status, kind: kind, reason: reason})
}

func newFault(f fault) *fault {
	if !slices.Contains(ErrorKinds, f.kind) {
		ErrorKinds = append(ErrorKinds, f.kind)
	}
	return &f
}

var (
	errSettingsMissing = connFault(codeMissingSettings, "missing_settings", "the first frame is not SETTINGS")
	errSettings        = connFault(codeSettings, "settings_error", "malformed or forbidden setting")
	errControlTwice    = connFault(codeStreamCreation, "stream_creation_error", "a second critical stream")
	errPushStream      = connFault(codeStreamCreation, "stream_creation_error", "a push stream from a client")
	errNoControl       = connFault(codeStreamCreation, "stream_creation_error", "no room for the control stream")
	errCriticalClosed  = connFault(codeClosedCritical, "closed_critical_stream", "a critical stream was closed")
	errUnexpected      = connFault(codeFrameUnexpected, "frame_unexpected", "a frame where it may not be")
	errFrame           = connFault(codeFrame, "frame_error", "malformed frame")
	errTruncated       = connFault(codeFrame, "frame_error", "the stream ends within a frame")
	errLoad            = connFault(codeExcessiveLoad, "excessive_load", "too much that asks for nothing")
	errResets          = connFault(codeExcessiveLoad, "reset_flood", "too many requests given up")
	errID              = connFault(codeID, "id_error", "an identifier that cannot be")
	errDecompression   = connFault(codeDecompression, "qpack_decompression_failed", "malformed field section")
	errEncoderStream   = connFault(codeEncoderStream, "qpack_encoder_stream_error", "an instruction for a table that does not exist")
	errDecoderStream   = connFault(codeDecoderStream, "qpack_decoder_stream_error", "an acknowledgement of what was never sent")
	errIncomplete      = streamFault(codeRequestIncomplete, 0, "request_incomplete", "incomplete request")
	errRejected        = streamFault(codeRequestRejected, 0, "request_rejected", "request after GOAWAY")
	errHeaderTimeout   = streamFault(codeRequestIncomplete, 408, "header_timeout", "header timeout")
	errEarly           = streamFault(codeRequestRejected, 425, "early_data", "early data")
	errBodyTimeout     = streamFault(codeRequestCancelled, 0, "body_timeout", "body timeout")
	errResponseTimeout = streamFault(codeRequestCancelled, 0, "response_timeout", "response timeout")
	errTunnelIdle      = newFault(fault{code: codeRequestCancelled, kind: "tunnel_idle", reason: "tunnel idle"})
	errPanic           = newFault(fault{code: codeInternal, kind: "panic", reason: "panic"})
	kindMessage        = newFault(fault{code: codeMessage, kind: "message_error"}).kind
	kindUnanswerable   = newFault(fault{kind: "request_refused"}).kind
)
