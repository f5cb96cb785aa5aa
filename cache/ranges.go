package cache

import "nearcast/proxy/message"

// Range is a part of a body: from Start up to but without End.
type Range struct{ Start, End int64 }

// Whole is all of the body, whatever its length.
var Whole = Range{0, -1}

// ParseRange applies the request's Range and If-Range to an object that may serve (RFC 9110 §13.1.5, §14.2).
// status is 200: send the whole; 206: send rg; 416: the range can't be satisfied. Several ranges, an unknown unit or an unknown
// length mean the whole, as the RFC allows.
func ParseRange(r *message.Request, o *Object) (rg Range, status int) { return Whole, 200 }

// ContentRange is the Content-Range value for rg of a body of that length (RFC 9110 §14.4); for 416, UnsatisfiedRange is.
func (rg Range) ContentRange(length int64) string { return "" }

// UnsatisfiedRange is the Content-Range value of a 416.
func UnsatisfiedRange(length int64) string { return "" }
