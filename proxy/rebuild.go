package proxy

import (
	"strconv"
	"strings"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/message/wire"
	"nearcast/proxy/upstream"
)

// cdnID is our name in CDN-Loop (RFC 8586) and Via.
const cdnID = "nearcast"

// rebuild makes the fields that go to the origin out of those that came: nothing that names the client's address is believed, since
// the client itself may have written it, and this hop adds its own.
func (p *Proxy) rebuild(r *message.Request, fields message.Fields) message.Fields {
	out := make(message.Fields, 0, len(fields)+8)
	named := fields.Values("connection") // nil: front ends have taken out what belongs to the client's connection
	for _, f := range fields {
		if f.Name == "te" && hasMember(f.Value, "trailers") {
			out.Set("te", "trailers") // for origins over HTTP/2, which want it for gRPC; the client's other codings are this hop's affair
			continue
		}
		if dropped(f.Name) || named != nil && isNamed(named, f.Name) {
			continue
		}
		if f.Name == "max-forwards" && r.Method == "OPTIONS" {
			f.Value = oneLess(f.Value)
		}
		out = append(out, f)
	}
	client := r.Client.Addr().String()
	out.Add("x-forwarded-for", client)
	out.Add("x-forwarded-proto", r.Scheme)
	out.Add("x-forwarded-host", r.Authority)
	out.Add("forwarded", "for="+forwardedNode(client)+";host=\""+r.Authority+"\";proto="+r.Scheme)
	out.Add("via", p.via(r.Protocol))
	out.Add("cdn-loop", p.loopEntry)
	if early(r) {
		out.Add("early-data", "1") // RFC 8470 §5.1
	}
	return out
}

// isNamed reports whether a connection option names the field (RFC 9110 §7.6.1).
func isNamed(connection []string, name string) bool {
	for _, line := range connection {
		if hasMember(line, name) {
			return true
		}
	}
	return false
}

// hasMember reports whether a list has the token, whatever its case and parameters.
func hasMember(list, token string) bool {
	for m := range strings.SplitSeq(list, ",") {
		m, _, _ = strings.Cut(m, ";")
		if strings.EqualFold(strings.TrimSpace(m), token) {
			return true
		}
	}
	return false
}

// dropped names what the origin gets from this hop alone or not at all. Many servers take an underscore for a hyphen.
func dropped(name string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.ReplaceAll(name, "_", "-")
	}
	switch name {
	case "forwarded", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "proxy-authorization", "early-data":
		return true
	}
	return wire.HopByHop(name) || strings.HasPrefix(name, "x-forwarded-")
}

// oneLess is Max-Forwards for the next hop (RFC 9110 §7.6.2). What is no number stays as it is.
func oneLess(maxForwards string) string {
	n, err := strconv.ParseUint(maxForwards, 10, 31)
	if err != nil || n == 0 {
		return maxForwards
	}
	return strconv.FormatUint(n-1, 10)
}

// forwardedNode quotes an IPv6 address as RFC 7239 §6 asks.
func forwardedNode(addr string) string {
	if strings.Contains(addr, ":") {
		return `"[` + addr + `]"`
	}
	return addr
}

// nameHop makes this hop's entries once. Via (RFC 9110 §7.6.3) has the version that the message came in by, and a pseudonym. A token
// of a structured field can't begin with a digit, as an edge's name may (RFC 8941 §3.3.4).
func (p *Proxy) nameHop() {
	edge := p.opts.Edge
	for proto, version := range [...]string{0: "1.1 ", message.HTTP1: "1.1 ", message.HTTP2: "2.0 ", message.HTTP3: "3.0 "} {
		p.vias[proto] = version + edge + " (" + cdnID + ")"
	}
	p.loopEntry = cdnID + "; edge=" + edge
	if p.statusName = edge; edge != "" && edge[0] >= '0' && edge[0] <= '9' {
		p.statusName = strconv.Quote(edge)
	}
}

func (p *Proxy) via(proto message.Protocol) string {
	if int(proto) >= len(p.vias) {
		proto = message.HTTP1
	}
	return p.vias[proto]
}

// viaOf is our Via entry for a response.
func (p *Proxy) viaOf(res *upstream.Response) string { return p.via(res.Protocol) }

// wholeFields are the request's fields for a fetch that others share: the whole resource, without the client's own preconditions
// and range, with conditions of the cache's, and with the codings that the client accepts in the form by which the answer is kept.
func wholeFields(f, conditions message.Fields) message.Fields {
	out := make(message.Fields, 0, len(f)+len(conditions))
	for _, x := range f {
		switch x.Name {
		case "range", "if-range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since":
			continue
		case "accept-encoding":
			if out.Has(x.Name) {
				continue // the first line has it all
			}
			canonical, _ := cache.AppendAcceptEncoding(nil, f)
			x.Value = string(canonical)
		}
		out = append(out, x)
	}
	return append(out, conditions...)
}
