package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"nearcast/cache"
	"nearcast/internal/config"
	"nearcast/proxy"
	"nearcast/proxy/message"
)

type explainCmd struct {
	URL            string        `arg:"" help:"The URL that a client asks for."`
	Config         string        `short:"c" type:"path" help:"The edge's configuration file."`
	Admin          string        `placeholder:"ADDR" help:"The running edge's admin address. Default: the configuration file's. Without a file there is only what the edge has stored."`
	Origin         bool          `help:"Ask the origin, and not the running edge what it has stored."`
	Method         string        `short:"X" default:"GET" help:"The request's method."`
	Header         []string      `short:"H" sep:"none" placeholder:"NAME: VALUE" help:"A field of the request."`
	Response       string        `placeholder:"FILE" help:"Explain the answer in this file, as curl -i prints it, instead of asking anybody; - is standard input."`
	Status         int           `placeholder:"CODE" help:"Explain an answer with this status instead of asking anybody."`
	ResponseHeader []string      `sep:"none" placeholder:"NAME: VALUE" help:"A field of that answer."`
	After          time.Duration `help:"How long after the answer the request comes again."`
	Output         string        `short:"o" default:"text" enum:"text,json" help:"text or json."`
	Timeout        time.Duration `default:"30s" help:"How long the origins may take."`
}

// Help is what kong prints below the flags' list.
func (c *explainCmd) Help() string {
	return `The running edge is asked first what it has stored for the request. When that can't answer it, or no edge runs, the nearest origin is asked as by a miss,
and the rules of caching are gone through that decide about its answer. Nothing is stored, and the edge's own responses are left as they are.

Exit codes: 0, it is explained, whatever the cache does; 1, it can't be; 2, the command line is wrong; 3, the configuration is.`
}

// Validate is called by kong: what it refuses is a wrong command line.
func (c *explainCmd) Validate() error {
	given := c.Response != "" || c.Status != 0
	switch {
	case c.Config == "" && c.Admin == "":
		return errors.New("--config or --admin is needed: the edge's rules, or the edge itself")
	case c.Config == "" && given, c.Config == "" && c.Origin:
		return errors.New("--config is needed to go through the rules")
	case c.Response != "" && c.Status != 0:
		return errors.New("--response has a status of its own: leave out --status")
	case len(c.ResponseHeader) > 0 && !given:
		return errors.New("--response-header is of use with --status or --response alone")
	case c.Status != 0 && (c.Status < 200 || c.Status > 599):
		return errors.New("--status must be from 200 to 599")
	case c.After < 0:
		return errors.New("--after must not be negative")
	}
	return nil
}

// explained is what the command prints with -o json.
type explained struct {
	// Stored is what the running edge says; null when it was not asked, or did not answer.
	Stored *proxy.Inspected `json:"stored"`
	// Explained are the rules for an origin's answer; null when what is stored answers the request.
	Explained *proxy.Explained `json:"explained"`
}

// Run explains the request.
func (c *explainCmd) Run(s std) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	now := time.Now()
	r, err := proxy.Question(c.Method, c.URL, c.Header, now)
	if err != nil {
		return err
	}
	head, err := c.answer(now)
	if err != nil {
		return err
	}
	var cfg *config.Config
	if c.Config != "" {
		if cfg, err = loadConfig(c.Config); err != nil {
			return err
		}
	}
	var out explained
	if head == nil && !c.Origin {
		if out.Stored, err = c.askEdge(ctx, cfg, s); err != nil {
			return err
		}
	}
	if cfg != nil && (out.Stored == nil || !answers(out.Stored.Lookup.Decision)) {
		if out.Explained, err = c.explain(ctx, cfg, r, head); err != nil {
			return err
		}
	}
	if c.Output == "json" {
		enc := json.NewEncoder(s.out)
		enc.SetIndent("", "  ")
		return enc.Encode(out)
	}
	w := clean{s.out}
	if out.Stored != nil {
		writeStored(w, out.Stored)
	}
	if out.Explained != nil {
		known := out.Stored != nil && out.Stored.Key == out.Explained.Key && out.Stored.Service == out.Explained.Service
		if out.Stored != nil {
			fmt.Fprintln(w, "\nIf it is fetched now:")
		}
		writeExplained(w, out.Explained, c.After, known)
	}
	return nil
}

// answers reports whether what is stored answers the request.
func answers(decision string) bool { return decision == cache.Hit.String() }

// explain goes through the rules.
func (c *explainCmd) explain(ctx context.Context, cfg *config.Config, r *message.Request, head *cache.Response) (*proxy.Explained, error) {
	p, err := newExplainer(cfg)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return p.Explain(ctx, r, head, cfg.Cache, c.After)
}

// newExplainer is a proxy as the edge has it, without sockets, health and a cache.
func newExplainer(cfg *config.Config) (*proxy.Proxy, error) {
	return proxy.New(proxy.Options{Edge: cfg.Edge.Name, Region: cfg.Edge.Region, Regions: cfg.Regions, Services: cfg.Services,
		MaxBody: int64(cfg.Limits.MaxBodySize), MaxHeader: int64(cfg.Limits.MaxHeaderSize)})
}

// clean is where text goes that others have written: what a terminal would obey becomes "?".
type clean struct{ w io.Writer }

func (c clean) Write(p []byte) (int, error) {
	out := make([]byte, 0, len(p))
	for _, r := range string(p) {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			r = '?'
		}
		out = append(out, string(r)...)
	}
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
