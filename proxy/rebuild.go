package proxy

import (
	"strings"

	"nearcast/proxy/message"
)

// cdnID is our name in CDN-Loop (RFC 8586) and Via.
const cdnID = "nearcast"

// rebuild makes the fields that go to the origin out of those that came: nothing that names the client's address is believed, since
// the client itself may have written it, and this hop adds its own.
func (p *Proxy) rebuild(r *message.Request, fields message.Fields) message.Fields {
	out := make(message.Fields, 0, len(fields)+6)
	for _, f := range fields {
		switch f.Name {
		case "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip",
			"expect", "te", "proxy-authorization", "host":
			continue
		}
		out = append(out, f)
	}
	client := r.Client.Addr().String()
	out.Add("x-forwarded-for", client)
	out.Add("x-forwarded-proto", r.Scheme)
	out.Add("x-forwarded-host", r.Authority)
	out.Add("forwarded", "for="+forwardedNode(client)+";host=\""+r.Authority+"\";proto="+r.Scheme)
	out.Add("via", p.via(r.Protocol))
	out.Add("cdn-loop", cdnID+"; edge="+p.opts.Edge)
	return out
}

// forwardedNode quotes an IPv6 address as RFC 7239 §6 asks.
func forwardedNode(addr string) string {
	if strings.Contains(addr, ":") {
		return `"[` + addr + `]"`
	}
	return addr
}

// via is this hop's entry (RFC 9110 §7.6.3): the version that the message came in by, and a pseudonym.
func (p *Proxy) via(proto message.Protocol) string {
	switch proto {
	case message.HTTP2:
		return "2.0 " + p.opts.Edge + " (" + cdnID + ")"
	case message.HTTP3:
		return "3.0 " + p.opts.Edge + " (" + cdnID + ")"
	}
	return "1.1 " + p.opts.Edge + " (" + cdnID + ")"
}

// wholeFields are the request's fields for a fetch that others share: the whole resource, without the client's own preconditions
// and range, and with conditions of the cache's.
func wholeFields(f, conditions message.Fields) message.Fields {
	out := make(message.Fields, 0, len(f)+len(conditions))
	for _, x := range f {
		switch x.Name {
		case "range", "if-range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since":
			continue
		}
		out = append(out, x)
	}
	return append(out, conditions...)
}
