package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"nearcast/internal/config"
	"nearcast/proxy/front"
	"nearcast/proxy/front/ech"
)

type httpsRecordsCmd struct {
	Config string `short:"c" required:"" type:"path" help:"The configuration file."`
}

// Help is what kong prints below the flags' list.
func (c *httpsRecordsCmd) Help() string {
	return `The lines are for the zone files of the hosts that the services have. With them a client comes over HTTP/3 the first time already, and with tls.ech it says
encrypted which of the hosts it wants. Every edge's file gives the same lines. With tls.ech they change every 28 days: have them printed and published each week.

Exit codes: 0, they are printed; 2, the command line is wrong; 3, the configuration is, or no listener has tls: true.`
}

// recordTTL is how long a resolver may keep a record, in seconds. A key is accepted for a whole period after its time, so that even a day would do.
const recordTTL = 3600

// Run prints the HTTPS resource records of the services' hosts.
func (c *httpsRecordsCmd) Run(s std) error {
	cfg, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if err := writeHTTPSRecords(s.out, cfg, time.Now()); err != nil {
		return configError{err}
	}
	return nil
}

// writeHTTPSRecords writes zone file lines (RFC 9460 §2.1) as they are at now.
func writeHTTPSRecords(w io.Writer, cfg *config.Config, now time.Time) error {
	params, err := serviceParams(cfg)
	if err != nil {
		return err
	}
	var b strings.Builder
	if cfg.TLS.ECH != nil {
		list, err := echList(cfg, now)
		if err != nil {
			return err
		}
		params += " ech=" + base64.StdEncoding.EncodeToString(list)
		from, until := ech.Validity(now)
		date := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
		fmt.Fprintf(&b, "; ech: valid until %s; print and publish the next from then on. Edges accept this one from %s to %s.\n",
			until.UTC().Format(time.RFC3339), date(from.Add(-ech.Period)), date(until.Add(ech.Period)))
	}
	for _, host := range recordHosts(cfg) {
		fmt.Fprintf(&b, "%s. %d IN HTTPS 1 . %s\n", host, recordTTL, params)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		if slices.Contains(cfg.Services[name].Hosts, "*") {
			fmt.Fprintf(&b, "; the service %s has the host \"*\"; for each name that leads to it write\n; NAME. %d IN HTTPS 1 . %s\n", name, recordTTL, params)
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

func echList(cfg *config.Config, now time.Time) ([]byte, error) {
	ring, err := cfg.Fleet.Keys()
	if err != nil {
		return nil, err
	}
	return ech.List(ring, cfg.TLS.ECH.PublicName, now)
}

// recordHosts are the names that need a record, each once: those of the services, and what ECH shows.
func recordHosts(cfg *config.Config) (hosts []string) {
	add := func(host string) {
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Services)) {
		for _, host := range cfg.Services[name].Hosts {
			if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "*" {
				add(host)
			}
		}
	}
	if cfg.TLS.ECH != nil {
		add(cfg.TLS.ECH.PublicName)
	}
	return hosts
}

// serviceParams are the SvcParams that all the records have (RFC 9460 §7).
func serviceParams(cfg *config.Config) (string, error) {
	port, at := httpsListeners(cfg.Listen)
	if at == nil {
		return "", errors.New("no listener has tls: true, and HTTPS records are for those that do; give one tls: true")
	}
	params := []string{`alpn="h2"`}
	if !slices.ContainsFunc(at, func(l front.ListenConfig) bool { return !l.ServeHTTP3() }) {
		params[0] = `alpn="h3,h2"`
	}
	if port != "443" {
		params = append(params, "port="+port)
	}
	var v4, v6 []string
	if cfg.Anycast != nil {
		for _, a := range cfg.Anycast.Addresses {
			switch taken := slices.ContainsFunc(at, func(l front.ListenConfig) bool { return front.Takes(l.Address, a) }); {
			case !taken:
			case a.Is4():
				v4 = append(v4, a.String())
			default:
				v6 = append(v6, a.String())
			}
		}
	}
	if v4 != nil {
		params = append(params, "ipv4hint="+strings.Join(v4, ","))
	}
	if v6 != nil {
		params = append(params, "ipv6hint="+strings.Join(v6, ","))
	}
	return strings.Join(params, " "), nil
}

// httpsListeners are the listeners with TLS on the port that clients are to come to: 443 where it is served, otherwise the first one's.
func httpsListeners(all []front.ListenConfig) (port string, at []front.ListenConfig) {
	byPort := map[string][]front.ListenConfig{}
	for _, l := range all {
		_, p, err := net.SplitHostPort(l.Address)
		if err != nil || !l.TLS {
			continue
		}
		byPort[p] = append(byPort[p], l)
		if port == "" || p == "443" {
			port = p
		}
	}
	return port, byPort[port]
}
