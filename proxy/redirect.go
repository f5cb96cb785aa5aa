package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"nearcast/proxy/message"
)

// redirect sends the client to the same URL under https, with its method and content (RFC 9110 §15.4.9).
func (p *Proxy) redirect(x *exchange) error {
	if x.r.Target.Path == "*" {
		return errTarget // nowhere to send it to
	}
	location := string(appendLocation(nil, x.r))
	return p.writeHeader(x, http.StatusPermanentRedirect, message.Fields{{Name: "location", Value: location}}, 0)
}

// appendLocation appends the request's URL under https. The port is the plain listener's, and is replaced by that of https.
func appendLocation(b []byte, r *message.Request) []byte {
	host := r.Authority
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	b = append(append(b, "https://"...), host...)
	if r.RedirectPort != 443 {
		b = strconv.AppendUint(append(b, ':'), uint64(r.RedirectPort), 10)
	}
	b = append(b, r.Target.Path...)
	if r.Target.HasQuery {
		b = append(append(b, '?'), r.Target.Query...)
	}
	return b
}
