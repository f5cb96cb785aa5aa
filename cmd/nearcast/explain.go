package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"nearcast/cache"
	"nearcast/internal/config"
	"nearcast/proxy"
	"nearcast/proxy/message"
)

type explainCmd struct {
	URL            string        `arg:"" help:"The URL that a client asks for."`
	Config         string        `short:"c" required:"" type:"path" help:"The configuration file."`
	Method         string        `short:"X" default:"GET" enum:"GET,HEAD" help:"GET or HEAD."`
	Header         []string      `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"A field of the request."`
	Status         int           `placeholder:"CODE" help:"Explain an answer with this status instead of asking an origin."`
	ResponseHeader []string      `sep:"none" placeholder:"NAME: VALUE" help:"A field of that answer."`
	After          time.Duration `help:"How long after the answer the request comes again."`
	Output         string        `short:"o" default:"text" enum:"text,json" help:"text or json."`
	Timeout        time.Duration `default:"30s" help:"How long the origins may take."`
}

// Run asks the service's origin, or takes the answer that is given, and prints which rules of caching decided about it.
func (c *explainCmd) Run(s std) error {
	r, head, err := c.parse(time.Now())
	if err != nil {
		return err
	}
	cfg, err := load(c.Config)
	if err != nil {
		return err
	}
	p, err := newExplainer(cfg)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	e, err := p.Explain(ctx, r, head, cfg.Cache, c.After)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		enc := json.NewEncoder(s.out)
		enc.SetIndent("", "  ")
		return enc.Encode(e)
	}
	writeExplained(s.out, e, c.After)
	return nil
}

// newExplainer is a proxy as the edge has it, without sockets, health and a cache.
func newExplainer(cfg *config.Config) (*proxy.Proxy, error) {
	return proxy.New(proxy.Options{Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Regions: cfg.Regions, Services: cfg.Services,
		MaxBody: int64(cfg.Limits.MaxBodySize), MaxHeader: int64(cfg.Limits.MaxHeaderSize)})
}

// parse makes the request, and the answer when there is one on the command line.
func (c *explainCmd) parse(now time.Time) (*message.Request, *cache.Response, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, nil, fmt.Errorf("%q is not a URL with http:// or https:// and a host", c.URL)
	}
	target, err := message.ParseTarget(u.RequestURI())
	if err != nil {
		return nil, nil, fmt.Errorf("%q: %w", c.URL, err)
	}
	r := &message.Request{Protocol: message.HTTP1, Method: c.Method, Scheme: u.Scheme, Authority: strings.ToLower(u.Host), Target: target,
		Client: netip.AddrPortFrom(netip.IPv6Loopback(), 0), Received: now}
	if r.Fields, err = parseFields(c.Header); err != nil {
		return nil, nil, err
	}
	if c.Status == 0 {
		if len(c.ResponseHeader) > 0 {
			return nil, nil, errors.New("--response-header is of use with --status alone")
		}
		return r, nil, nil
	}
	if c.Status < 200 || c.Status > 599 {
		return nil, nil, errors.New("--status must be from 200 to 599")
	}
	head := &cache.Response{Status: c.Status, Length: -1, Requested: now, Received: now}
	head.Fields, err = parseFields(c.ResponseHeader)
	return r, head, err
}

func parseFields(lines []string) (message.Fields, error) {
	var f message.Fields
	for _, l := range lines {
		name, value, found := strings.Cut(l, ":")
		name, value = strings.ToLower(name), strings.Trim(value, " \t")
		switch {
		case !found || !message.IsLowerToken(name) || !message.IsFieldValue(value):
			return nil, fmt.Errorf("%q is not a field: write Name: value", l)
		case name == "host":
			return nil, errors.New("the host is the URL's")
		}
		f.Add(name, value)
	}
	return f, nil
}

// writeExplained prints the table.
func writeExplained(w io.Writer, e *proxy.Explained, after time.Duration) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-10s "+format+"\n", append([]any{name}, args...)...)
	}
	verdict := func(name string, v cache.Verdict) {
		line(name, "%s: %v. %s (%s)", v.Decision, v.Reason, v.Meaning, v.Section)
		if v.Change != "" && v.Reason != cache.ReasonNotStored { // which is what it comes to, not why
			line("", "To change it: %s", v.Change)
		}
	}
	line("service", "%s", e.Service)
	line("key", "%s", e.Key)
	if e.Origin == "" {
		line("answer", "%d, as given", e.Status)
	} else {
		line("answer", "%d, from %s", e.Status, e.Origin)
	}
	verdict("lookup", e.First)
	verdict("store", e.Store)
	for _, r := range e.Store.Rules {
		word := "passed"
		if r.Decided {
			word = "decided"
		}
		line("", "  %-8s %v (%s)", word, r.Reason, r.Section)
	}
	if f := e.Freshness; f != nil {
		line("freshness", "%ds from %s, received with an age of %ds: %ds left", f.Lifetime, f.Source, f.Age, f.TTL)
		line("stale use", "%ds while it is validated, %ds when the origins fail, %ds when none can be reached", f.StaleWhileRevalidate, f.StaleIfError, f.StaleOnDisconnect)
	}
	for _, v := range e.Vary {
		if v.Absent {
			line("vary", "%s, absent", v.Name)
		} else {
			line("vary", "%s: %s", v.Name, v.Value)
		}
	}
	verdict("after "+after.String(), e.Again)
	if e.CacheStatus != "" {
		line("", "Cache-Status: %s", e.CacheStatus)
	}
}
