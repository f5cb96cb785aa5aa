package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"nearcast/cache"
)

// defaultAdmin is where the example configuration has its admin listener.
const defaultAdmin = "127.0.0.1:9180"

// purgeTimeout bounds the whole question to the edge.
const purgeTimeout = 30 * time.Second

// maxPurgeAnswer bounds what is read of its answer.
const maxPurgeAnswer = 16 << 20

type purgeCmd struct {
	URLs    []string `arg:"" optional:"" name:"url" help:"URLs, such as https://example.com/page?id=1."`
	Prefix  []string `sep:"none" placeholder:"URL" help:"Everything that begins so, such as https://example.com/img/."`
	Tag     []string `sep:"none" placeholder:"TAG" help:"Everything that its origin has given the tag."`
	All     bool     `help:"Everything. Asks first."`
	Soft    bool     `help:"Make it stale rather than gone: it is validated, and serves while that goes on or when origins fail, where its response allows that."`
	Service string   `placeholder:"NAME" help:"Of one service alone."`
	Config  string   `short:"c" type:"path" help:"The edge's configuration file, to find its admin address."`
	Admin   string   `placeholder:"ADDR" help:"The edge's admin address. Default: the configuration file's, or ${admin}."`
	Output  string   `short:"o" enum:"table,json" default:"table" help:"table or json."`
	DryRun  bool     `help:"Print what would be asked, and ask nothing."`
	Yes     bool     `help:"With --all: do not ask first."`

	in io.Reader // where the answer to the question comes from; nil: standard input
}

// Validate is called by kong: what it refuses is a wrong command line.
func (c *purgeCmd) Validate() error {
	q := c.request()
	return q.Check()
}

func (c *purgeCmd) request() cache.PurgeRequest {
	return cache.PurgeRequest{URLs: c.URLs, Prefixes: c.Prefix, Tags: c.Tag, All: c.All, Soft: c.Soft, Service: c.Service}
}

// Run asks a running edge to purge. It fails when the edge can't be asked, or did not do something of it.
func (c *purgeCmd) Run(s std) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	q := c.request()
	if c.DryRun {
		plan(s.out, &q, address)
		return nil
	}
	plan(s.err, &q, address)
	if c.All && !c.Yes {
		if err := c.confirm(s.err); err != nil {
			return err
		}
	}
	result, raw, err := askPurge(address, &q)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		_, err = s.out.Write(raw)
	} else {
		err = purgeTable(clean{s.out}, &result)
	}
	if err == nil && result.Failed() {
		err = errors.New("not everything was purged")
	}
	return err
}

// address is where the edge is asked: one that listens on every address is asked on loopback.
func (c *purgeCmd) address() (string, error) {
	address := cmp.Or(c.Admin, defaultAdmin)
	if c.Admin == "" && c.Config != "" {
		cfg, err := load(c.Config)
		if err != nil {
			return "", err
		}
		if address = cfg.Admin.Address; address == "" {
			return "", fmt.Errorf("%s has no admin.address: the edge can't be asked", c.Config)
		}
	}
	return dialable(address)
}

// dialable is where an edge is asked that has the admin address.
func dialable(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("--admin %q: must be host:port", address)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}

// plan says what is going to be asked.
func plan(w io.Writer, q *cache.PurgeRequest, address string) {
	how, where := "hard", "every service"
	if q.Soft {
		how = "soft"
	}
	if q.Service != "" {
		where = "service " + q.Service
	}
	fmt.Fprintf(w, "%s purge in %s, asked of %s:\n", how, where, address)
	if q.All {
		fmt.Fprintln(w, "  everything")
	}
	list(w, "url", q.URLs)
	list(w, "prefix", q.Prefixes)
	list(w, "tag", q.Tags)
}

func list(w io.Writer, kind string, targets []string) {
	for _, t := range targets {
		fmt.Fprintf(w, "  %s %s\n", kind, t)
	}
}

// confirm asks, and fails unless the answer is yes.
func (c *purgeCmd) confirm(w io.Writer) error {
	fmt.Fprint(w, "Every request will go to the origins. Go on? [yes/no] ")
	in := c.in
	if in == nil {
		in = os.Stdin
	}
	line, _ := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return errors.New("nothing was purged: the answer was not yes (--yes asks nothing)")
	}
	return nil
}

// askPurge puts the question to the edge. raw is its answer as it came.
func askPurge(address string, q *cache.PurgeRequest) (result cache.PurgeResult, raw []byte, err error) {
	body, err := json.Marshal(q)
	if err != nil {
		return result, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), purgeTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/purge", bytes.NewReader(body))
	if err != nil {
		return result, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if raw, err = askAdmin(r, maxPurgeAnswer); err != nil {
		return result, nil, err
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return result, nil, fmt.Errorf("the edge's answer: %w", err)
	}
	if n := max(len(q.URLs)+len(q.Prefixes)+len(q.Tags), 1); len(result.Items) != n {
		return result, nil, fmt.Errorf("%s did not answer as an edge does: it says nothing of what became of each", address)
	}
	return result, raw, nil
}

func purgeTable(w io.Writer, result *cache.PurgeResult) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tTARGET\tOBJECTS\tRESULT")
	for _, i := range result.Items {
		objects, outcome := "-", "purged"
		if i.Soft {
			outcome = "stale"
		}
		if i.Objects != nil {
			objects = fmt.Sprint(*i.Objects)
		}
		if i.Error != "" {
			outcome = i.Error
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", i.Kind, cmp.Or(i.Target, "-"), objects, outcome)
	}
	return t.Flush()
}
