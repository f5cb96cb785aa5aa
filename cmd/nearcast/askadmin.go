package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"
)

// defaultAdmin is where the example configuration has its admin listener.
const defaultAdmin = "127.0.0.1:9180"

// adminTarget says which running edge is asked.
type adminTarget struct {
	Config string `short:"c" type:"path" help:"The edge's configuration file, to find its admin address."`
	Admin  string `placeholder:"ADDR" help:"The edge's admin address. Default: the configuration file's, or ${admin}."`
}

// address is where the edge is asked: one that listens on every address is asked on loopback.
func (c *adminTarget) address() (string, error) {
	address := cmp.Or(c.Admin, defaultAdmin)
	if c.Admin == "" && c.Config != "" {
		cfg, err := loadConfig(c.Config)
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

// confirm asks on w, and says whether the answer was yes. A nil in is standard input.
func confirm(w io.Writer, in io.Reader, question string) bool {
	fmt.Fprint(w, question+" [yes/no] ")
	if in == nil {
		in = os.Stdin
	}
	line, _ := bufio.NewReader(io.LimitReader(in, 64)).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

// tellAdmin posts v to the edge and returns its answer.
func tellAdmin(address, path string, v any, timeout time.Duration, most int64) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	return askAdmin(r, most)
}

// askAdmin returns the edge's answer, of at most that many bytes. The error says why it refused, or is not there.
func askAdmin(r *http.Request, most int64) ([]byte, error) {
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // without the environment's proxy: the address is near
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("asking the edge: %w", err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, fmt.Errorf("reading the edge's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var refusal struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(raw, &refusal) // another server's answer may be anything
		err := fmt.Errorf("the edge refused: %s", cmp.Or(refusal.Error, res.Status))
		if res.StatusCode == http.StatusConflict {
			return nil, guardError{err}
		}
		return nil, err
	}
	return raw, nil
}
