package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// MaxRanges bounds the ranges of one request. A Range field with more of them is ignored, as RFC 9110 §14.2 allows.
const MaxRanges = 16

// rangeSpec is one range-spec of a Range field (RFC 9110 §14.1.2). A negative first stands for a suffix of last bytes, a negative last for
// an open end.
type rangeSpec struct{ first, last int64 }

// of resolves the spec against a representation of that length; false when no byte of it is asked for.
func (s rangeSpec) of(length int64) (Range, bool) {
	switch {
	case s.first < 0:
		return Range{max(length-s.last, 0), length}, s.last > 0 && length > 0
	case s.last < 0 || s.last >= length:
		return Range{s.first, length}, s.first < length
	}
	return Range{s.first, s.last + 1}, true
}

// rangeSet reads the request's Range field in bytes into dst. ok is false when there is none that counts: another unit, several lines,
// what is not in the grammar, or more than MaxRanges ranges.
func rangeSet(f message.Fields, dst []rangeSpec) (specs []rangeSpec, ok bool) {
	value, found := "", false
	for i := range f {
		if f[i].Name != "range" {
			continue
		}
		if found {
			return nil, false
		}
		value, found = f[i].Value, true
	}
	unit, rest, ok := strings.Cut(value, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return nil, false
	}
	for rest != "" {
		var m string
		if m, rest = cutMember(rest); m == "" {
			continue // an empty member of a list (RFC 9110 §5.6.1.2)
		}
		spec, ok := parseRangeSpec(m)
		if !ok || len(dst) == MaxRanges {
			return nil, false
		}
		dst = append(dst, spec)
	}
	return dst, len(dst) > 0
}

func parseRangeSpec(s string) (rangeSpec, bool) {
	first, last, ok := strings.Cut(s, "-")
	from, fromOK := parsePosition(first)
	to, toOK := parsePosition(last)
	switch {
	case !ok, !fromOK && first != "", !toOK && last != "", !fromOK && !toOK:
		return rangeSpec{}, false
	case !fromOK:
		return rangeSpec{-1, to}, true
	case !toOK:
		return rangeSpec{from, -1}, true
	}
	return rangeSpec{from, to}, from <= to
}

// resolve turns the specs into the ranges to send of a representation of that length, in the order asked. What overlaps or adjoins is
// one range (RFC 9110 §15.3.7.2), at the place of the first. dst has room for MaxRanges.
func resolve(specs []rangeSpec, length int64, dst []Range) []Range {
	for _, s := range specs {
		rg, ok := s.of(length)
		if !ok {
			continue
		}
		// Each range that it meets goes into it, and it takes the place of the foremost of them.
		at := len(dst)
		for i := len(dst) - 1; i >= 0; i-- {
			if old := dst[i]; rg.Start <= old.End && old.Start <= rg.End {
				rg = Range{min(rg.Start, old.Start), max(rg.End, old.End)}
				dst = append(dst[:i], dst[i+1:]...)
				at, i = min(at, i), len(dst) // the grown range may meet others
			}
		}
		dst = append(dst, Range{})
		copy(dst[at+1:], dst[at:])
		dst[at] = rg
	}
	return dst
}

// parseContentRange reads a Content-Range in bytes: "bytes 0-4/10". total is -1 when the origin does not know it (RFC 9110 §14.4).
func parseContentRange(f message.Fields) (rg Range, total int64, ok bool) {
	value, found := "", false
	for i := range f {
		if f[i].Name == "content-range" {
			if found {
				return Range{}, 0, false
			}
			value, found = f[i].Value, true
		}
	}
	unit, rest, _ := strings.Cut(value, " ")
	span, complete, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(span, "-")
	from, fromOK := parsePosition(first)
	to, toOK := parsePosition(last)
	if total, ok = parsePosition(complete); complete == "*" {
		total, ok = -1, true
	}
	if !ok || !strings.EqualFold(unit, "bytes") || !fromOK || !toOK || from > to || total >= 0 && to >= total {
		return Range{}, 0, false
	}
	return Range{from, to + 1}, total, true
}
