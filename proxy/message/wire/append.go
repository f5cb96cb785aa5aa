package wire

import (
	"net/http"
	"strconv"
	"unsafe"

	"nearcast/proxy/message"
)

// statusLines has the status lines of the registered codes.
var statusLines = func() (t [500]string) {
	for code := range t {
		if reason := http.StatusText(code + 100); reason != "" {
			t[code] = "HTTP/1.1 " + strconv.Itoa(code+100) + " " + reason + "\r\n"
		}
	}
	return t
}()

// AppendStatusLine appends the status line of HTTP/1.1, which answers HTTP/1.0 too (RFC 9112 §2.3). status has three digits.
func AppendStatusLine(dst []byte, status int) []byte {
	if i := status - 100; i >= 0 && i < len(statusLines) && statusLines[i] != "" {
		return append(dst, statusLines[i]...)
	}
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	return append(dst, " \r\n"...)
}

// AppendField appends a field line. The caller knows that it can be sent; see [Sendable].
func AppendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// AppendFields appends the lines of f that are for the next hop and can be sent.
func AppendFields(dst []byte, f message.Fields) []byte {
	for i := range f {
		if Sendable(&f[i]) {
			dst = AppendField(dst, f[i].Name, f[i].Value)
		}
	}
	return dst
}

// Sendable reports whether a field may go to the next hop: it is not for one connection only, no byte of it ends its line, and its name is
// in lower case, without which it could not be told that it is.
func Sendable(f *message.Field) bool {
	if len(f.Name) == 0 || HopByHop(f.Name) {
		return false
	}
	for i := range len(f.Name) {
		if c := f.Name[i]; c == 0 || lower[c] != c {
			return false
		}
	}
	v := unsafe.Slice(unsafe.StringData(f.Value), len(f.Value))
	return endOfValue(v, 0) == len(v)
}

// AppendContentLength appends the field with n.
func AppendContentLength(dst []byte, n int64) []byte {
	dst = append(dst, "content-length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// AppendChunkHeader appends what comes before the data of a chunk of n bytes, n > 0. The data is followed by CRLF.
func AppendChunkHeader(dst []byte, n int) []byte {
	dst = strconv.AppendInt(dst, int64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendLastChunk appends the end of a chunked body, with those of the trailers that may be sent as such.
func AppendLastChunk(dst []byte, trailers message.Fields) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		if f := &trailers[i]; TrailerAllowed(f.Name) && Sendable(f) {
			dst = AppendField(dst, f.Name, f.Value)
		}
	}
	return append(dst, "\r\n"...)
}
