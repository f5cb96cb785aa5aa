package cache

import (
	"math"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Range is a part of a body: from Start up to but without End.
type Range struct{ Start, End int64 }

// Whole is all of the body, whatever its length.
var Whole = Range{0, math.MaxInt64}

// Several stands for the ranges that [ParseRanges] returns.
var Several = Range{-1, -1}

// ParseRange applies the request's Range and If-Range to an object that may serve (RFC 9110 §13.1.5, §14.2).
// status is 200: send the whole; 206: send rg, or the ranges of ParseRanges when rg is Several; 416: the range can't be satisfied.
// An unknown unit, an unknown length, a Range outside of the grammar or with more than MaxRanges ranges mean the whole, as the RFC allows.
func ParseRange(r *message.Request, o *Object) (rg Range, status int) {
	var buf [MaxRanges]Range
	ranges, status := ParseRanges(r, o, buf[:0])
	switch {
	case status == 200:
		return Whole, status
	case len(ranges) == 1:
		return ranges[0], status
	case len(ranges) > 1:
		return Several, status
	}
	return Range{}, status
}

// ParseRanges is ParseRange for a caller that can send several. With 206 it appends to dst what is to be sent, in the order asked; ranges that
// overlap or adjoin have become one.
func ParseRanges(r *message.Request, o *Object, dst []Range) (ranges []Range, status int) {
	if r.Method != "GET" || o.Status != 200 || o.Length < 0 {
		return dst, 200
	}
	var buf [MaxRanges]rangeSpec
	specs, ok := rangeSet(r.Fields, buf[:0])
	if !ok || !ifRange(r.Fields, o) {
		return dst, 200
	}
	if dst = resolve(specs, o.Length, dst); len(dst) == 0 {
		return dst, 416
	}
	return dst, 206
}

// parsePosition reads digits; what is too large saturates far beyond any body.
func parsePosition(s string) (n int64, ok bool) {
	const most = math.MaxInt64 / 16
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = min(n*10+int64(s[i]-'0'), most)
	}
	return n, s != ""
}

// ifRange reports whether the range may be answered with a part: If-Range is absent, or matches strongly (RFC 9110 §13.1.5).
func ifRange(f message.Fields, o *Object) bool {
	v := f.Get("if-range")
	if v == "" {
		return !f.Has("if-range")
	}
	if v[0] == '"' || strings.HasPrefix(v, "W/") {
		return strongly.equal(v, o.Fields.Get("etag"))
	}
	asked, ok := parseDate(v, o.received)
	modified, known, _ := dateField(o.Fields, "last-modified", o.received)
	date, dated, _ := dateField(o.Fields, "date", o.received)
	// A date is a strong validator when it is at least a second before Date (RFC 9110 §8.8.2.2).
	return ok && known && dated && asked.Equal(modified) && date.Sub(modified) >= time.Second
}

// ContentRange is the Content-Range value of a 206 with rg of a body of that length (RFC 9110 §14.4).
func (rg Range) ContentRange(length int64) string {
	return string(rg.AppendContentRange(make([]byte, 0, 48), length))
}

// AppendContentRange appends the value to b.
func (rg Range) AppendContentRange(b []byte, length int64) []byte {
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, rg.Start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, rg.End-1, 10)
	b = append(b, '/')
	return strconv.AppendInt(b, length, 10)
}

// UnsatisfiedRange is the Content-Range value of a 416.
func UnsatisfiedRange(length int64) string { return "bytes */" + strconv.FormatInt(length, 10) }
