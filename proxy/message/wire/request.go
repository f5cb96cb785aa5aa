package wire

import (
	"strings"

	"nearcast/proxy/message"
)

// RequestHead is what a request's header section says to its connection, besides what goes into the [message.Request].
type RequestHead struct {
	Minor     uint8 // of the version: 0, or 1 for HTTP/1.1 and what is to be processed as that
	KeepAlive bool  // the client can go on using the connection
	Chunked   bool
	Continue  bool // the client waits for 100 before it sends the body

	section section
}

// Parse takes a complete header section, as [Scanner.Request] found it, and sets Method, Authority, Target, Fields, ContentLength and
// Upgrade of r. The strings are parts of b, in which field names and the host are made lower case. When it fails, what is known by
// then is set. r.Fields is reused.
func (h *RequestHead) Parse(b []byte, r *message.Request, lim *Limits) error {
	r.Method, r.Authority, r.Target, r.ContentLength, r.Upgrade = "", "", message.Target{}, 0, ""
	r.Fields = r.Fields[:0]
	h.KeepAlive, h.Chunked, h.Continue = false, false, false
	raw, i, f := h.line(b, r)
	if f != 0 {
		return f.of(false)
	}
	if r.Fields, f = h.section.parse(b, i, r.Fields, lim.fields()); f != 0 {
		return f.of(false)
	}
	if f := h.host(r); f != 0 {
		return f.of(false)
	}
	if err := h.target(raw, r); err != nil {
		return err
	}
	return h.body(r).of(false)
}

// line takes the request line (RFC 9112 §3).
func (h *RequestHead) line(b []byte, r *message.Request) (target []byte, next int, f fault) {
	i := 0
	for lower[b[i]] != 0 {
		i++
	}
	if i == 0 || b[i] != ' ' {
		return nil, 0, faultMethod
	}
	r.Method = text(b[:i])
	i++
	start := i
	for b[i] > ' ' && b[i] != 0x7f {
		i++
	}
	if i == start || b[i] != ' ' {
		return nil, 0, faultLine
	}
	target = b[start:i]
	i++
	minor, f := version(b[i:])
	if f != 0 {
		return nil, 0, f
	}
	i += len("HTTP/1.1")
	if b[i] != '\r' || b[i+1] != '\n' {
		return nil, 0, faultLine
	}
	h.Minor = minor
	return target, i + 2, 0
}

// version takes HTTP/1.0 and what is to be processed as HTTP/1.1: that and every later minor version (RFC 9110 §2.5).
func version(b []byte) (minor uint8, f fault) {
	const form = "HTTP/1.1"
	if len(b) < len(form)+2 || text(b[:5]) != "HTTP/" || !digit(b[5]) || b[6] != '.' || !digit(b[7]) {
		return 0, faultVersion
	}
	switch {
	case b[5] > '1':
		return 0, faultMajor
	case b[5] != '1':
		return 0, faultVersion
	}
	return min(b[7]-'0', 1), 0
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// host takes the Host field (RFC 9112 §3.2).
func (h *RequestHead) host(r *message.Request) fault {
	switch {
	case h.section.hosts > 1:
		return faultTwoHosts
	case h.section.hosts == 0 && h.Minor > 0:
		return faultNoHost
	case len(h.section.host) > 0 && !authority(h.section.host):
		return faultHost
	}
	r.Authority = text(h.section.host)
	return 0
}

// target takes the request target in one of its forms (RFC 9112 §3.2).
func (h *RequestHead) target(raw []byte, r *message.Request) (err error) {
	path := text(raw)
	switch {
	case r.Method == "CONNECT":
		return faultConnect.of(false)
	case path == "*":
		if r.Method != "OPTIONS" {
			return faultForm.of(false)
		}
	case raw[0] != '/':
		var f fault
		if path, f = h.absolute(raw, r); f != 0 {
			return f.of(false)
		}
	}
	r.Target, err = message.ParseTarget(path)
	return err
}

// absolute takes a target in absolute form, whose authority is the request's. A Host that differs is refused: whoever looked at the
// request before us may have gone by that.
func (h *RequestHead) absolute(raw []byte, r *message.Request) (path string, f fault) {
	scheme, rest, ok := strings.Cut(text(raw), "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", faultForm
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	name := raw[len(raw)-len(rest):][:end]
	path = rest[end:]
	if !authority(name) {
		return "", faultHost
	}
	if h.section.hosts > 0 && text(h.section.host) != text(name) {
		return "", faultHostDiffers
	}
	r.Authority = text(name)
	switch {
	case path == "" && r.Method == "OPTIONS": // RFC 9112 §3.2.4
		return "*", 0
	case path == "" || path[0] != '/':
		return "/" + path, 0
	}
	return path, 0
}

// body decides what follows the header section, and what becomes of the connection afterwards.
func (h *RequestHead) body(r *message.Request) fault {
	s := &h.section
	length, chunked, f := s.framing(h.Minor)
	if f != 0 {
		return f
	}
	if !chunked {
		length = max(length, 0)
	}
	r.ContentLength, h.Chunked = length, chunked
	if s.unknownExpects > 0 {
		return faultExpect
	}
	h.Continue = s.expects > 0 && h.Minor > 0 && length != 0 // HTTP/1.0: RFC 9110 §10.1.1
	h.KeepAlive = s.persistent(h.Minor)
	if h.Minor > 0 && s.switches && s.upgrades == 1 && r.Method == "GET" && length == 0 && equalFold(s.upgrade, "websocket") {
		r.Upgrade = "websocket"
	}
	return 0
}
