package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"nearcast/proxy/message"
)

// redirect sends the client to the same URL under https, with its method and content (RFC 9110 §15.4.9).
func (p *Proxy) redirect(x *exchange) error {
	if x.r.Target.Path == "*" {
		return clientError(http.StatusBadRequest, "malformed request target") // nowhere to send it to
	}
	location := "https://" + httpsAuthority(x.r.Authority, x.r.RedirectPort) + x.r.Target.String()
	return p.writeHeader(x, http.StatusPermanentRedirect, message.Fields{{Name: "location", Value: location}}, 0)
}

// httpsAuthority replaces the port, which is the plain listener's, by that of https.
func httpsAuthority(authority string, port uint16) string {
	host := authority
	if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
		host = authority[:i]
	}
	if port == 443 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, port)
}
