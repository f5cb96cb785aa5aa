package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"nearcast/cache/modeltest"
	"nearcast/proxy/upstream"
)

// planned is an origin in memory that does as a history's plans say, and notes what it was asked.
type planned struct {
	mu       sync.Mutex
	plans    []modeltest.Plan
	versions map[string]int
	serial   int
	seen     []modeltest.Forward
	serving  sync.WaitGroup
}

// install puts the origin behind the edge's only service.
func (o *planned) install(t *testing.T, e *edge) { installInMemory(t, e, &o.serving, o.serve) }

// installInMemory puts an origin in memory behind the edge's only service. serve is called with each connection, and is waited for by serving.
func installInMemory(t *testing.T, e *edge, serving *sync.WaitGroup, serve func(net.Conn)) {
	conn, err := upstream.New(&url.URL{Scheme: "http", Host: "origin.example"}, upstream.Config{ResponseTimeout: 20 * time.Second, ReadTimeout: 20 * time.Second,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			serving.Go(func() { serve(theirs) })
			return ours, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	e.table.services[0].origins[0].conn = conn
}

// script begins a step.
func (o *planned) script(plans []modeltest.Plan) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.plans, o.seen = plans, nil
}

func (o *planned) forwards() []modeltest.Forward {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen)
}

func (o *planned) version(target string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.versions[resource(target)]
}

func (o *planned) serve(c net.Conn) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if req.Header.Get(aside) != "" {
			if _, err := io.WriteString(c, "HTTP/1.1 204 x\r\n\r\n"); err != nil {
				return
			}
			continue
		}
		if !o.answer(c, asModel(req)) {
			return
		}
	}
}

func asModel(req *http.Request) *modeltest.Request {
	r := &modeltest.Request{Method: req.Method, Target: req.RequestURI}
	for name, values := range req.Header {
		for _, v := range values {
			r.Fields.Add(strings.ToLower(name), v)
		}
	}
	return r
}

// answer does what the next plan says; false ends the connection.
func (o *planned) answer(c net.Conn, r *modeltest.Request) bool {
	o.mu.Lock()
	p := o.plans[0]
	if len(o.plans) > 1 {
		o.plans = o.plans[1:]
	}
	sent := time.Now()
	at := len(o.seen)
	o.seen = append(o.seen, modeltest.Forward{Request: r})
	o.mu.Unlock()

	time.Sleep(p.Delay)
	if p.Status == 0 {
		return false
	}
	resp, length := o.respond(r, &p, sent)
	_, err := io.WriteString(c, onTheWire(r, resp, &p, length))
	if err == nil {
		o.mu.Lock()
		o.seen[at].Response = resp
		o.mu.Unlock()
	}
	return err == nil && !resp.Cut
}

// respond makes the response that the plan wants. length is that of the body which a HEAD goes without.
func (o *planned) respond(r *modeltest.Request, p *modeltest.Plan, sent time.Time) (resp *modeltest.Response, length int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.Bump || r.Method == "PUT" || r.Method == "POST" || r.Method == "DELETE" {
		o.versions[resource(r.Target)]++
	}
	o.serial++
	now, v := time.Now(), o.versions[resource(r.Target)]
	resp = &modeltest.Response{Status: p.Status, Sent: sent, Received: now}
	names, _ := modeltest.VaryNames(p.Fields)
	variant := ""
	for _, n := range names {
		variant += "-" + strings.Map(func(c rune) rune {
			if strings.ContainsRune(`", `, c) {
				return '.'
			}
			return c
		}, strings.Join(modeltest.Lines(r.Fields, n), "."))
	}
	for _, f := range p.Fields {
		resp.Fields.Add(f.Name, modeltest.Expand(f.Value, now, v, variant))
	}
	resp.Fields.Add("x-serial", fmt.Sprint(o.serial))
	resp.Body = body(resource(r.Target), resp, fmt.Sprintf("v%d%s serial %d", v, variant, o.serial))
	length = len(resp.Body)
	if (r.Method == "GET" || r.Method == "HEAD") && p.Status == 200 && !p.Blind {
		conditional(r, resp)
	}
	if p.Lie && (r.Method == "GET" || r.Method == "HEAD") && r.Fields.Has("if-none-match") {
		resp.Status = 304
	}
	if bodiless(resp.Status) || r.Method == "HEAD" {
		resp.Body = ""
	}
	resp.Cut = p.Cut && resp.Body != ""
	return resp, length
}

// resource is a target without the parameters that make no difference.
func resource(target string) string {
	path, query, _ := strings.Cut(target, "?")
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(p string) bool { return p == "" || strings.HasPrefix(p, "utm=") })
	if len(kept) == 0 {
		return path
	}
	return path + "?" + strings.Join(kept, "&")
}

// body is a function of the strong validator, where there is one, as it must be (RFC 9110 §8.8.1); else each response has its own. Half of them are
// long enough for slices and codings.
func body(resource string, resp *modeltest.Response, own string) string {
	if v := modeltest.Strong(resp); v != "" && resp.Status == 200 {
		own = v
	}
	even := byte(1)
	for _, c := range []byte(own) {
		even ^= c & 1
	}
	return strings.Repeat(resource+" "+own+"; ", 1+5*int(even))
}

func bodiless(status int) bool { return status == 204 || status == 304 }

// conditional evaluates conditions and a range as an origin should (RFC 9110 §13.2.2).
func conditional(r *modeltest.Request, resp *modeltest.Response) {
	tag := resp.Fields.Get("etag")
	modified := resp.Fields.Get("last-modified")
	lines := modeltest.Lines(r.Fields, "if-none-match")
	tags, any := modeltest.Tags(lines)
	since := modeltest.Lines(r.Fields, "if-modified-since")
	weak := func(t string) bool { return tag != "" && strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") }
	match, _ := modeltest.Tags(modeltest.Lines(r.Fields, "if-match"))
	switch {
	case len(match) > 0 && !slices.ContainsFunc(match, func(t string) bool { return modeltest.SameTag(t, tag) }):
		resp.Status, resp.Body = 412, "failed"
	case any || slices.ContainsFunc(tags, weak), len(lines) == 0 && len(since) > 0 && modified != "" && since[0] == modified:
		resp.Status = 304
	case len(lines) == 0 && len(since) == 0 && r.Method == "GET" && r.Fields.Has("range") && ifRange(r, resp):
		if spans, ok := modeltest.Ranges(r.Fields.Get("range"), len(resp.Body)); ok && len(spans) == 1 {
			resp.Fields.Add("content-range", fmt.Sprintf("bytes %d-%d/%d", spans[0].First, spans[0].Last, len(resp.Body)))
			resp.Whole = resp.Body
			resp.Status, resp.Body = 206, resp.Body[spans[0].First:spans[0].Last+1]
		}
	}
}

func ifRange(r *modeltest.Request, resp *modeltest.Response) bool {
	lines := modeltest.Lines(r.Fields, "if-range")
	return len(lines) == 0 || len(lines) == 1 && lines[0] == modeltest.Strong(resp)
}

// onTheWire writes a response down.
func onTheWire(r *modeltest.Request, resp *modeltest.Response, p *modeltest.Plan, length int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d x\r\n", resp.Status)
	for _, f := range resp.Fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f.Name, f.Value)
	}
	body := resp.Body
	if resp.Cut {
		body = body[:len(body)/2]
	}
	switch {
	case bodiless(resp.Status):
		b.WriteString("\r\n")
	case r.Method == "HEAD":
		if p.Lie {
			length = 9
		}
		fmt.Fprintf(&b, "content-length: %d\r\n\r\n", length)
	case p.Chunked:
		b.WriteString("transfer-encoding: chunked\r\n\r\n")
		if body != "" {
			fmt.Fprintf(&b, "%x\r\n%s\r\n", len(body), body)
		}
		if !resp.Cut {
			b.WriteString("0\r\n\r\n")
		}
	default:
		fmt.Fprintf(&b, "content-length: %d\r\n\r\n%s", len(resp.Body), body)
	}
	return b.String()
}
