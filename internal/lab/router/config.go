package router

import (
	"bytes"
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"text/template"
	"time"
)

//go:embed bird.conf.tmpl
var birdTemplate string

//go:embed frr.conf.tmpl
var frrTemplate string

// view is a Config as the templates need it.
type view struct {
	Config
	Anycast4, Anycast6 []netip.Prefix
	Networks4          []netip.Prefix
	Networks6          []netip.Prefix
	EdgeExport         string // BIRD's expression
	EdgeDeny           bool
	EdgeAddPath        bool
	BFD                time.Duration
	BFDMultiplier      int
	Peers              []peerView
}

type peerView struct {
	PeerSession
	Prepends []struct{} // as long as there are prepends
	Remotes  []netip.Addr
}

// render writes the configuration of a daemon.
func render(daemon Daemon, cfg Config) ([]byte, error) {
	v := view{Config: cfg, BFD: cfg.bfd(), BFDMultiplier: BFDMultiplier, EdgeExport: "none", EdgeDeny: cfg.Export == ExportNone, EdgeAddPath: cfg.Export == ExportAddPath}
	if !v.EdgeDeny {
		v.EdgeExport = "where source ~ [ RTS_BGP, RTS_DEVICE ]"
	}
	v.Anycast4, v.Anycast6 = byFamily(cfg.Anycast)
	v.Networks4, v.Networks6 = byFamily(cfg.Networks)
	for _, p := range cfg.Peers {
		v.Peers = append(v.Peers, peerView{p, make([]struct{}, p.Prepend), []netip.Addr{p.Remote4, p.Remote6}})
	}
	if len(v.Anycast4) == 0 || len(v.Anycast6) == 0 {
		return nil, fmt.Errorf("router %s: needs an anycast prefix of each family", cfg.Name)
	}
	text := birdTemplate
	if daemon == FRR {
		text = frrTemplate
	}
	t, err := template.New(string(daemon)).Funcs(template.FuncMap{
		"prefixes":     joinPrefixes,
		"next":         func(i int) int { return i + 1 },
		"seconds":      func(d time.Duration) int { return int(d.Seconds()) },
		"milliseconds": func(d time.Duration) int64 { return d.Milliseconds() },
		"keepalive":    func(d time.Duration) int { return int(d.Seconds()) / 3 },
	}).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// bfd is the interval of the edges' BFD sessions, 0 without any.
func (c Config) bfd() (interval time.Duration) {
	for _, e := range c.Edges {
		interval = max(interval, e.BFD)
	}
	return interval
}

func byFamily(prefixes []netip.Prefix) (v4, v6 []netip.Prefix) {
	for _, p := range prefixes {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return v4, v6
}

func joinPrefixes(prefixes []netip.Prefix) string {
	words := make([]string, len(prefixes))
	for i, p := range prefixes {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}
