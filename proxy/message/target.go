package message

import "strings"

// MaxTarget is the longest request target accepted, in bytes.
const MaxTarget = 16 << 10

// Target is a normalised request target: what routing, the cache key and the origin all see, so that no two of them
// can read one request differently.
type Target struct {
	Path  string // begins with "/", or is "*" for OPTIONS *
	Query string // without "?"
	// HasQuery tells "/a?" from "/a".
	HasQuery bool
}

// String returns the target in origin form (RFC 9112 §3.2.1).
func (t Target) String() string {
	if !t.HasQuery {
		return t.Path
	}
	return t.Path + "?" + t.Query
}

// ParseTarget normalises a target in origin form, or "*" (RFC 3986 §6.2.2). In the path, unreserved characters are decoded, other
// escapes written in upper case, dot segments removed; "%2F" stays what it is and empty segments are kept. Bytes that a URI may
// not hold are escaped in path and query; the query is otherwise left alone. White space, control bytes, "#", a broken escape in
// the path and an escaped NUL are errors with status 400, a target longer than [MaxTarget] one with 414.
func ParseTarget(raw string) (Target, error) {
	if len(raw) > MaxTarget {
		return Target{}, &Error{Blame: BlameClient, Status: 414, Reason: "request target too long"}
	}
	if raw == "*" {
		return Target{Path: raw}, nil
	}
	if raw == "" || raw[0] != '/' {
		return Target{}, badTarget
	}
	path, query, hasQuery := strings.Cut(raw, "?")
	path, ok := normalisePath(path)
	if !ok {
		return Target{}, badTarget
	}
	if query, ok = escapeQuery(query); !ok {
		return Target{}, badTarget
	}
	return Target{Path: path, Query: query, HasQuery: hasQuery}, nil
}

var badTarget = &Error{Blame: BlameClient, Status: 400, Reason: "malformed request target"}

// class of a byte in a request target.
type class uint8

const (
	refuse     class = iota // controls, white space, "#"
	unreserved              // may stand as it is, and is decoded when escaped
	reserved                // may stand as it is, but means something else than its escape
	escape                  // may not stand in a URI; harmless once escaped
)

var classes = func() (t [256]class) {
	for c := range 256 {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~", byte(c)) >= 0:
			t[c] = unreserved
		case c > ' ' && c < 0x7f && strings.IndexByte("!$&'()*+,;=:@/?[]", byte(c)) >= 0:
			t[c] = reserved
		case c > ' ' && c != '#' && c != 0x7f:
			t[c] = escape
		}
	}
	return t
}()

// normalisePath returns path itself, without a copy, when it is in normal form already.
func normalisePath(path string) (string, bool) {
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' || classes[c] == escape || c == '.' && path[i-1] == '/' {
			return rewritePath(path)
		}
		if classes[c] == refuse {
			return "", false
		}
	}
	return path, true
}

func rewritePath(path string) (string, bool) {
	b := make([]byte, 0, len(path)+16)
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return "", false
			}
			d := unhex(path[i+1])<<4 | unhex(path[i+2])
			if d == 0 {
				return "", false
			}
			if classes[d] == unreserved {
				b = append(b, d)
			} else {
				b = appendEscaped(b, d)
			}
			i += 2
		case classes[c] == refuse:
			return "", false
		case classes[c] == escape:
			b = appendEscaped(b, c)
		default:
			b = append(b, c)
		}
	}
	return string(removeDotSegments(b)), true
}

// removeDotSegments is RFC 3986 §5.2.4 for a path that begins with "/". It works in place: the result is never longer.
func removeDotSegments(p []byte) []byte {
	out := p[:0]
	for rest := p; len(rest) > 0; {
		// rest begins with "/": take one segment.
		end := 1
		for end < len(rest) && rest[end] != '/' {
			end++
		}
		seg, last := rest[:end], end == len(rest)
		rest = rest[end:]
		switch string(seg) {
		case "/.":
		case "/..":
			for len(out) > 0 {
				n := len(out) - 1
				c := out[n]
				out = out[:n]
				if c == '/' {
					break
				}
			}
		default:
			out = append(out, seg...)
			continue
		}
		if last {
			out = append(out, '/')
		}
	}
	return out
}

func escapeQuery(q string) (string, bool) {
	extra := 0
	for i := 0; i < len(q); i++ {
		switch {
		case q[i] == '%':
		case classes[q[i]] == refuse:
			return "", false
		case classes[q[i]] == escape:
			extra++
		}
	}
	if extra == 0 {
		return q, true
	}
	b := make([]byte, 0, len(q)+2*extra)
	for i := 0; i < len(q); i++ {
		if c := q[i]; c != '%' && classes[c] == escape {
			b = appendEscaped(b, c)
		} else {
			b = append(b, c)
		}
	}
	return string(b), true
}

func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789ABCDEF"
	return append(b, '%', hex[c>>4], hex[c&15])
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	default:
		return c - 'A' + 10
	}
}
