package proxy

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// A line of the access log is written by these: encoding/json and log/slog allocate, and a hit has no time for them.

// jsonSafe are the bytes that stand for themselves in a JSON string (RFC 8259 §7).
var jsonSafe = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendJSON appends the inside of a JSON string. What is not UTF-8 becomes U+FFFD, as in encoding/json: a line is always valid JSON.
func appendJSON(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		for i+8 <= len(s) && allSafe(s[i:i+8]) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if jsonSafe[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			b = appendEscape(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + 1
		case r == '\u2028' || r == '\u2029': // ends a line for some readers
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, '8'+byte(r-'\u2028'))
			start = i + size
		}
		i += size
	}
	return append(b, s[start:]...)
}

// allSafe reports whether eight bytes are jsonSafe, all at once. Where a byte is not, the borrow may run on into those above it, which are then
// looked at one by one.
func allSafe(s string) bool {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, backslash := w^('"'*ones), w^('\\'*ones)
	return (w|(w-' '*ones)|(quote-ones)|(backslash-ones))&high == 0
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// appendText appends a member whose value is a string. key is everything up to the value's opening quote.
func appendText(b []byte, key, value string) []byte {
	b = append(b, key...)
	b = appendJSON(b, value)
	return append(b, '"')
}

// appendWord is appendText for a word of ours, which has nothing to escape.
func appendWord(b []byte, key, word string) []byte {
	b = append(b, key...)
	b = append(b, word...)
	return append(b, '"')
}

func appendInt(b []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(b, key...), n, 10)
}

// appendMillis appends a member whose value is a duration in milliseconds, to the microsecond.
func appendMillis(b []byte, key string, d time.Duration) []byte {
	b = append(b, key...)
	us := d.Microseconds()
	if us < 0 {
		b = append(b, '-')
		us = -us
	}
	b = strconv.AppendInt(b, us/1000, 10)
	if us %= 1000; us != 0 {
		b = append(b, '.', '0'+byte(us/100), '0'+byte(us/10%10), '0'+byte(us%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
	}
	return b
}
