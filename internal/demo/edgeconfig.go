package demo

import (
	"bytes"
	"net/netip"
	"text/template"

	"nearcast/geo"
)

// edgeConfig is the configuration of a region's edge, with its files in dir. Its times are short, for impatient eyes (an
// edge on the internet keeps the defaults), and its checks forgiving: they share the machine with everything else.
func edgeConfig(dir string, p place, port ports) ([]byte, error) {
	type origin struct {
		Region string
		Addr   netip.AddrPort
	}
	type region struct {
		Name     string
		Location geo.Location
	}
	var v struct {
		Edge, Region, Dir  string
		Address            netip.Addr
		Number             byte
		HTTPS, HTTP, Admin netip.AddrPort
		Router             netip.AddrPort
		EdgeASN, RouterASN int
		IPv4, IPv6         netip.Prefix
		Regions            []region
		Origins            []origin
	}
	v.Edge, v.Region, v.Dir, v.Address, v.Number = p.edgeName(), p.name, dir, p.edgeAddr(), p.number
	v.HTTPS, v.HTTP, v.Admin = at(p.edgeAddr(), port.https), at(p.edgeAddr(), port.http), at(p.edgeAddr(), port.admin)
	v.Router, v.EdgeASN, v.RouterASN, v.IPv4, v.IPv6 = at(routerAddr, port.bgp), edgeASN, routerASN, prefixIPv4, prefixIPv6
	for _, q := range places {
		v.Regions = append(v.Regions, region{q.name, q.location})
		v.Origins = append(v.Origins, origin{q.name, at(q.originAddr(), port.origin)})
	}
	var b bytes.Buffer
	err := edgeTemplate.Execute(&b, v)
	return b.Bytes(), err
}

var edgeTemplate = template.Must(template.New("edge").Parse(`version: 1
edge: { name: {{.Edge}}, region: {{.Region}} }
listen:
  - { address: "{{.HTTPS}}", tls: true }
  - { address: "{{.HTTP}}" }
tls:
  certificates: [{ cert_file: "{{.Dir}}/{{.Edge}}.pem", key_file: "{{.Dir}}/{{.Edge}}.key" }]
anycast:
  prefixes: ["{{.IPv4}}", "{{.IPv6}}"]
  bgp:
    asn: {{.EdgeASN}}
    router_id: 198.51.100.{{.Number}}
    neighbors:
      - address: {{.Router.Addr}}
        port: {{.Router.Port}}
        asn: {{.RouterASN}}
        local_address: {{.Address}}
        hold_time: 9s
        next_hop_ipv6: "2001:db8:{{.Number}}::1"
  self_probe: { interval: 250ms, timeout: 250ms }
  rise: { consecutive: 2, for: 0s }
  fall: { consecutive: 6 }
  hold_down: { first: 1s, max: 5s, freeze_after: 0 }
  drain: [{ community: graceful-shutdown, for: 300ms }]
regions:
{{- range .Regions}}
  {{.Name}}: { location: [{{index .Location 0}}, {{index .Location 1}}] }
{{- end}}
services:
  demo:
    hosts: ["*"]
    origins:
{{- range .Origins}}
      {{.Region}}: ["http://{{.Addr}}"]
{{- end}}
    health: { path: /healthz, interval: 250ms, timeout: 250ms, rise: 2, fall: 6 }
cache: { memory: 64MiB }
# All edges, origins and clients share one machine: how busy it is says nothing about one of them.
overload: { shed: false, cpu: { high: 0, critical: 0 }, memory: { high: 0, critical: 0 }, scheduling_latency: { high: 0s, critical: 0s } }
shutdown: { settle: 1s, drain_timeout: 5s }
admin: { address: "{{.Admin}}" }
log: { level: info, access: stdout }
`))
