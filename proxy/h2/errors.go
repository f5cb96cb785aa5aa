package h2

import (
	"errors"

	"nearcast/proxy/message"
)

// connError ends a connection with GOAWAY.
type connError struct {
	code errCode
	kind string
}

func (e *connError) Error() string { return "h2: " + e.kind }

// ErrorKinds are the words that Config.CountError is called with.
var ErrorKinds []string

func kind(word string) string {
	ErrorKinds = append(ErrorKinds, word)
	return word
}

func fault(code errCode, word string) *connError { return &connError{code, kind(word)} }

// Errors of the connection.
var (
	errPreface     = fault(codeProtocol, "preface")
	errFrameSize   = fault(codeFrameSize, "frame_size")
	errStreamID    = fault(codeProtocol, "stream_id")
	errIdle        = fault(codeProtocol, "idle_stream")
	errClosed      = fault(codeStreamClosed, "closed_stream")
	errPadding     = fault(codeProtocol, "padding")
	errPush        = fault(codeProtocol, "push_promise")
	errInterleaved = fault(codeProtocol, "interleaved_headers")
	errBlockSize   = fault(codeEnhanceYourCalm, "header_block_size")
	errBlockFrames = fault(codeEnhanceYourCalm, "continuation_flood")
	errCompression = fault(codeCompression, "compression")
	errSettings    = fault(codeProtocol, "settings")
	errWindowSize  = fault(codeFlowControl, "settings_window")
	errWindow      = fault(codeFlowControl, "window_overflow")
	errIncrement   = fault(codeProtocol, "window_increment")
	errFlow        = fault(codeFlowControl, "flow_control")
	errPriority    = fault(codeProtocol, "priority")
	errResets      = fault(codeEnhanceYourCalm, "reset_flood")
	errFrames      = fault(codeEnhanceYourCalm, "frame_flood")
	errQueue       = fault(codeEnhanceYourCalm, "control_queue")
	errHeaderTime  = fault(codeEnhanceYourCalm, "header_timeout")
)

// What is counted of single streams.
var (
	kindMalformed  = kind("malformed")
	kindRefused    = kind("max_streams")
	kindHoard      = kind("header_memory")
	kindHalfClosed = kind("half_closed_stream")
	kindForgotten  = kind("forgotten_stream")
	kindDependency = kind("self_dependency")
	kindFlow       = kind("stream_flow_control")
	kindIncrement  = kind("stream_window_increment")
	kindOverflow   = kind("stream_window_overflow")
	kindContent    = kind("content_length")
	kindTrailers   = kind("trailers")
	kindStallIn    = kind("slow_upload")
	kindStallOut   = kind("slow_download")
	kindPriority   = kind("stream_priority_size")
	kindWrite      = kind("slow_connection")
)

// Ends that are nobody's fault.
var (
	errIdleEnd = errors.New("h2: idle")           // to be told with GOAWAY
	errLeft    = errors.New("h2: left")           // told already
	errRest    = errors.New("h2: rest")           // no end: see Serve
	errGone    = errors.New("h2: client is gone") // there is nobody to tell
)

// What handlers get.
var (
	errReset     = &message.Error{Blame: message.BlameClient, Reason: "client reset the stream"}
	errConnEnd   = &message.Error{Blame: message.BlameClient, Reason: "connection closed"}
	errBroken    = &message.Error{Blame: message.BlameClient, Status: 400, Reason: "malformed request body"}
	errSlowBody  = &message.Error{Blame: message.BlameClient, Status: 408, Reason: "request body too slow"}
	errSlowTaker = &message.Error{Blame: message.BlameClient, Reason: "response not taken"}
	errQuiet     = &message.Error{Blame: message.BlameClient, Reason: "tunnel idle"}
	errOver      = &message.Error{Blame: message.BlameClient, Status: 400, Reason: "request body read too late"}

	errTwice    = errors.New("h2: the header section has been written already")
	errNoHead   = errors.New("h2: the header section has not been written")
	errTooLong  = errors.New("h2: the body is longer than its declared length")
	errTooShort = errors.New("h2: the body is shorter than its declared length")
	errAborted  = errors.New("h2: the exchange was aborted")
	errEnded    = errors.New("h2: the exchange is over")

	errInterrupted = errors.New("h2: interrupted")
)
