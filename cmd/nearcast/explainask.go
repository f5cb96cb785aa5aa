package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/internal/config"
	"nearcast/proxy"
)

const (
	// explainTimeout bounds the question to the edge, which answers from memory.
	explainTimeout = 5 * time.Second
	// maxExplainAnswer bounds what is read of its answer, maxResponseHead what is read of a response on file.
	maxExplainAnswer = 1 << 20
	maxResponseHead  = 1 << 20
)

// askEdge asks the running edge what it has stored. Nothing, without an error, when there is none to ask but the origins may be: the reason is on
// standard error.
func (c *explainCmd) askEdge(ctx context.Context, cfg *config.Config, s std) (*proxy.Inspected, error) {
	address := c.Admin
	if address == "" {
		if address = cfg.Admin.Address; address == "" {
			return nil, nil
		}
	}
	address, err := dialable(address)
	if err != nil {
		return nil, err
	}
	found, err := c.inspect(ctx, address)
	if err == nil || c.Admin != "" {
		return found, err
	}
	fmt.Fprintf(s.err, "What is stored is not known: %v.\n", err)
	return nil, nil
}

func (c *explainCmd) inspect(ctx context.Context, address string) (*proxy.Inspected, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	q := url.Values{"url": {c.URL}, "method": {c.Method}, "header": c.Header}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/explain?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	raw, err := askAdmin(r, maxExplainAnswer)
	if err != nil {
		return nil, err
	}
	var found proxy.Inspected
	if err := json.Unmarshal(raw, &found); err != nil || found.Inspection == nil || found.Key == "" {
		return nil, fmt.Errorf("%s did not answer as an edge does", address)
	}
	return &found, nil
}

// answer is the response that the command line gives; nil when it gives none.
func (c *explainCmd) answer(now time.Time) (*cache.Response, error) {
	head := &cache.Response{Status: c.Status, Length: -1, Requested: now, Received: now}
	lines := c.ResponseHeader
	switch {
	case c.Response == "" && c.Status == 0:
		return nil, nil
	case c.Response != "":
		in := io.Reader(os.Stdin)
		if c.Response != "-" {
			f, err := os.Open(c.Response)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			in = f
		}
		status, more, err := readHead(io.LimitReader(in, maxResponseHead))
		if err != nil {
			return nil, fmt.Errorf("--response %s: %w", c.Response, err)
		}
		head.Status, lines = status, append(more, lines...)
	}
	var err error
	if head.Fields, err = proxy.ParseFields(lines); err != nil {
		return nil, err
	}
	if n, err := strconv.ParseInt(head.Fields.Get("content-length"), 10, 64); err == nil && n >= 0 {
		head.Length = n
	}
	return head, nil
}

// readHead reads the head of a response as curl -i or -D prints it: a status line, and fields up to an empty line or the end. Those of 1xx
// responses, and of a proxy's answer to CONNECT, come before it.
func readHead(in io.Reader) (status int, lines []string, err error) {
	b := bufio.NewScanner(in)
	b.Buffer(nil, maxResponseHead)
	for b.Scan() {
		line := strings.TrimRight(b.Text(), "\r")
		switch {
		case status == 0:
			if status = statusOf(line); status == 0 {
				return 0, nil, fmt.Errorf("%q is not a status line such as HTTP/1.1 200 OK", line)
			}
		case line != "":
			lines = append(lines, line)
		case status < 200:
			status, lines = 0, nil
		default:
			return status, lines, nil
		}
	}
	if err := b.Err(); err != nil {
		return 0, nil, err
	}
	if status < 200 {
		return 0, nil, fmt.Errorf("it has no response")
	}
	return status, lines, nil
}

// statusOf is the code of a status line of any version; 0 when it is none.
func statusOf(line string) int {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/") || err != nil || n < 100 || n > 599 {
		return 0
	}
	return n
}
