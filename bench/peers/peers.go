// Package peers knows how to set up nearcast and the servers it is measured against for the same work: their programs, their configurations
// (templates/), their versions.
//
// What all have in common: one thread that serves, TLS 1.3 with the same ECDSA P-256 certificate, X25519 and AES-128-GCM, no access log, and
// connections that stay open however many requests they have carried.
package peers

import (
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

//go:embed templates
var templates embed.FS

// Ours is the name under which this product is set up.
const Ours = "nearcast"

// Protocol is what clients speak.
type Protocol string

// The protocols. The first is the only one without TLS.
const (
	HTTP1    Protocol = "h1"
	HTTP1TLS Protocol = "h1+tls"
	HTTP2    Protocol = "h2"
	HTTP3    Protocol = "h3"
)

// Work is what a server has to do for an answer.
type Work string

// The works.
const (
	Cached  Work = "cached"  // take it from its cache
	Proxied Work = "proxied" // ask the origin, without a cache
	Files   Work = "files"   // read a file: what stands in for a cache where there is none
)

// Peer is a server that can be measured. The value is not to be changed.
type Peer struct {
	Name    string
	Title   string // for people: the server and which of its parts does the work
	Program string // file name, looked for by Find
	Hits    Work   // what stands for a hit: Cached or Files
	Proxies bool   // can do Proxied too
	Speaks  []Protocol

	files   []string // below templates/NAME
	args    func(program string, s Site) []string
	env     func(s Site) []string // besides the environment's own; nil: nothing
	version []string              // arguments that print the version; nil: the program is Go's, and is read for it
}

// Site is what a server is told. Every path is absolute.
type Site struct {
	Dir               string // of its own, on a file system in memory; it exists and is empty
	Files             string // directory of the bodies as files, for a server that reads files
	Plain, TLS        int    // ports on 127.0.0.1
	Origin            netip.AddrPort
	CertFile, KeyFile string
	BothFile          string // certificate and key in one
	Work              Work
}

// Cached is for the templates.
func (s Site) Cached() bool { return s.Work == Cached }

// unlogged are the records that Varnish would write into its log in memory for each hit.
const unlogged = "-SessOpen,-SessClose,-Begin,-End,-Link,-Timestamp,-ReqAcct,-ReqStart,-ReqMethod,-ReqURL,-ReqProtocol,-ReqHeader," +
	"-RespProtocol,-RespStatus,-RespReason,-RespHeader,-VCL_call,-VCL_return,-VCL_use,-Hit"

var all = []Peer{
	{
		Name: Ours, Title: "nearcast", Program: "nearcast", Hits: Cached, Proxies: true,
		Speaks: []Protocol{HTTP1, HTTP1TLS, HTTP2, HTTP3},
		files:  []string{"config.yaml"},
		args:   func(p string, s Site) []string { return []string{p, "run", "-c", s.Dir + "/config.yaml"} },
		env:    func(Site) []string { return []string{"GOMAXPROCS=1"} },
	},
	{
		Name: "nginx", Title: "nginx proxy_cache", Program: "nginx", Hits: Cached, Proxies: true,
		Speaks: []Protocol{HTTP1, HTTP1TLS, HTTP2},
		files:  []string{"nginx.conf"},
		args: func(p string, s Site) []string {
			return []string{p, "-c", s.Dir + "/nginx.conf", "-p", s.Dir, "-e", s.Dir + "/error.log"}
		},
		version: []string{"-v"},
	},
	{
		Name: "haproxy", Title: "HAProxy", Program: "haproxy", Hits: Cached, Proxies: true,
		Speaks:  []Protocol{HTTP1, HTTP1TLS, HTTP2},
		files:   []string{"haproxy.cfg"},
		args:    func(p string, s Site) []string { return []string{p, "-db", "-f", s.Dir + "/haproxy.cfg"} },
		version: []string{"-v"},
	},
	{
		Name: "varnish", Title: "Varnish", Program: "varnishd", Hits: Cached,
		Speaks: []Protocol{HTTP1},
		files:  []string{"default.vcl"},
		args: func(p string, s Site) []string {
			return []string{p, "-F", "-j", "none", "-n", s.Dir + "/work", "-a", fmt.Sprintf("127.0.0.1:%d", s.Plain), "-f", s.Dir + "/default.vcl",
				"-s", "malloc,64m", "-T", "none", "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "timeout_idle=600",
				"-p", "vsl_mask=" + unlogged}
		},
		version: []string{"-V"},
	},
	{
		Name: "trafficserver", Title: "Apache Traffic Server", Program: "traffic_server", Hits: Cached, Proxies: true,
		Speaks: []Protocol{HTTP1, HTTP1TLS, HTTP2},
		files:  []string{"runroot.yaml", "records.config", "remap.config", "ssl_multicert.config", "storage.config", "ip_allow.yaml"},
		args:   func(p string, s Site) []string { return []string{p, "--run-root=" + s.Dir + "/runroot.yaml"} },
		env:    func(s Site) []string { return []string{"TS_RUNROOT=" + s.Dir + "/runroot.yaml"} }, version: []string{"-V"},
	},
	{
		Name: "h2o", Title: "H2O file handler", Program: "h2o", Hits: Files,
		Speaks:  []Protocol{HTTP1, HTTP1TLS, HTTP2},
		files:   []string{"h2o.conf"},
		args:    func(p string, s Site) []string { return []string{p, "-m", "worker", "-c", s.Dir + "/h2o.conf"} },
		version: []string{"--version"},
	},
	{
		Name: "caddy", Title: "Caddy file handler", Program: "caddy", Hits: Files,
		Speaks: []Protocol{HTTP1, HTTP1TLS, HTTP2, HTTP3},
		files:  []string{"Caddyfile"},
		args:   func(p string, s Site) []string { return []string{p, "run", "--config", s.Dir + "/Caddyfile"} },
		env: func(s Site) []string {
			return []string{"GOMAXPROCS=1", "HOME=" + s.Dir, "XDG_DATA_HOME=" + s.Dir, "XDG_CONFIG_HOME=" + s.Dir}
		},
	},
}

// All lists nearcast first and then the others.
func All() []Peer { return slices.Clone(all) }

// Names lists the names of All.
func Names() []string {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.Name
	}
	return names
}

// Get returns the peer of a name.
func Get(name string) (Peer, error) {
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Peer{}, fmt.Errorf("no peer %q; there are %s", name, strings.Join(Names(), ", "))
}

// Ports are where a peer listens, and its origin, each on ports of its own, so that two can run side by side.
func (p Peer) Ports() (plain, tls, origin int) {
	i := slices.IndexFunc(all, func(q Peer) bool { return q.Name == p.Name })
	return 8100 + 10*i, 8101 + 10*i, 8102 + 10*i
}

// Does reports whether the peer can do this work over this protocol.
func (p Peer) Does(w Work, over Protocol) bool {
	return slices.Contains(p.Speaks, over) && (w != Proxied && w == p.Hits || w == Proxied && p.Proxies)
}
