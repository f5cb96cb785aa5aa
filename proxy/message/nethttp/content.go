package nethttp

import (
	"bytes"
	"io"
	"net/http"

	"nearcast/proxy/message"
)

// settleContent finds out whether a request has content where only the end of its stream can tell: in HTTP/3, without a Content-Length
// (RFC 9114 §4.1). That matters for methods that usually have none, since a cache does not answer a GET with content. Their clients end
// the stream with the header section, so that the read returns at once; the body's stall time bounds it for the others.
func settleContent(r *message.Request) {
	if r.Body == nil || r.ContentLength >= 0 || r.Protocol != message.HTTP3 || !usuallyWithout(r.Method) {
		return
	}
	first := make([]byte, 1)
	n, err := io.ReadFull(r.Body, first)
	switch {
	case err == io.EOF:
		r.Body, r.ContentLength, r.Trailers = nil, 0, nil
	case n == 1:
		r.Body = io.MultiReader(bytes.NewReader(first), r.Body)
	}
}

// usuallyWithout are the methods whose content has no defined meaning (RFC 9110 §9.3).
func usuallyWithout(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}
