package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"nearcast/cache"
)

// purgeTimeout bounds the whole question to the edge.
const purgeTimeout = 30 * time.Second

// maxPurgeAnswer bounds what is read of its answer.
const maxPurgeAnswer = 16 << 20

type purgeCmd struct {
	URLs        []string `arg:"" optional:"" name:"url" help:"URLs, such as https://example.com/page?id=1."`
	Prefix      []string `sep:"none" placeholder:"URL" help:"Everything that begins so, such as https://example.com/img/."`
	Tag         []string `sep:"none" placeholder:"TAG" help:"Everything that its origin has given the tag."`
	All         bool     `help:"Everything. Asks first."`
	Soft        bool     `help:"Make it stale rather than gone: it is validated, and serves while that goes on or when origins fail, where its response allows that."`
	Service     string   `placeholder:"NAME" help:"Of one service alone."`
	adminTarget `embed:""`

	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	DryRun bool   `help:"Print what would be asked, and ask nothing."`
	Yes    bool   `help:"With --all: do not ask first."`

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
	if c.All && !c.Yes && !confirm(s.err, c.in, "Every request will go to the origins. Go on?") {
		return errors.New("nothing was purged: the answer was not yes (--yes asks nothing)")
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

// askPurge puts the question to the edge. raw is its answer as it came.
func askPurge(address string, q *cache.PurgeRequest) (result cache.PurgeResult, raw []byte, err error) {
	raw, err = tellAdmin(address, "/purge", q, purgeTimeout, maxPurgeAnswer)
	if err != nil {
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
