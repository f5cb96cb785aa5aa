package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/cache/modeltest"
	"nearcast/proxy/message"
)

// The corner cases of the RFCs' rules stand in testdata/rules, one a line, for a service with the default settings:
//
//	title :: step | step | …
//
// A step is what a client asks, what the origin answers if it is asked, and what is expected, each part with its fields in brackets:
//
//	+5 HEAD /path [range: bytes=0-1] <200 [etag: "1"] =hit 304 [etag: "1"] [-date]
//
//	+5       seconds pass first
//	GET /    is the default
//	<200     the origin's answer; several when the first are 1xx; <close: it ends the connection; <<200: its
//	         answer when it is asked again; default <200 [cache-control: no-store]
//	=hit     the origin is not asked;  =miss: it is, without a condition of the cache's;  =cond: it is, with one; a number is the status
//	b2       the body is that of the origin's second answer (each has one of its own)
//	1xx:103  the client gets such interim responses, in this order
//	[-date]  the answer does not have the field;  [!if-none-match: "1"]: the origin got it;  [!-range]: it did not get it
//
// In values {now+60} is a date in seconds from now, {850 now+60} and {asc now+60} in the other forms.
func TestRules(t *testing.T) {
	files, err := filepath.Glob("testdata/rules/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		for n, line := range strings.Split(string(text), "\n") {
			if line == "" || line[0] == '#' {
				section = strings.TrimLeft(line, "# ")
				continue
			}
			title, steps, ok := strings.Cut(line, "::")
			if !ok {
				t.Fatalf("%s:%d: no steps", file, n+1)
			}
			if err := playRule(t, steps); err != nil {
				t.Errorf("%s:%d: %s: %s: %v", file, n+1, section, strings.TrimSpace(title), err)
			}
		}
	}
}

// ruleStep is one step of a case.
type ruleStep struct {
	wait    time.Duration
	r       *message.Request
	answers []ruleAnswer
	expect  []string
}

type ruleAnswer struct {
	status string
	fields []string
	again  bool // it begins the answer to another request
}

// tokens splits a step at spaces outside of brackets.
func tokens(s string) (all []string) {
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		end := strings.IndexByte(s+" ", ' ')
		if s[0] == '[' {
			end = strings.Index(s, "]") + 1
		}
		all = append(all, s[:end])
		s = s[end:]
	}
	return all
}

func parseStep(text string) (s ruleStep) {
	method, target := "GET", "/"
	var asked []string
	for _, tok := range tokens(text) {
		last := len(s.answers) - 1
		switch {
		case s.expect != nil:
			s.expect = append(s.expect, tok)
		case tok[0] == '=':
			s.expect = []string{tok[1:]}
		case tok[0] == '<':
			s.answers = append(s.answers, ruleAnswer{status: strings.TrimLeft(tok, "<"), again: strings.HasPrefix(tok, "<<")})
		case tok[0] == '[' && last >= 0:
			s.answers[last].fields = append(s.answers[last].fields, tok[1:len(tok)-1])
		case tok[0] == '[':
			asked = append(asked, tok[1:len(tok)-1])
		case tok[0] == '+':
			n, _ := strconv.Atoi(tok[1:])
			s.wait = time.Duration(n) * time.Second
		case tok[0] == '/':
			target = tok
		default:
			method = tok
		}
	}
	if s.answers == nil {
		s.answers = []ruleAnswer{{status: "200", fields: []string{"cache-control: no-store"}}}
	}
	s.r = request(method, target)
	for _, line := range asked {
		name, value := fieldOf(line)
		s.r.Fields.Add(strings.ToLower(name), value)
	}
	return s
}

func fieldOf(line string) (name, value string) {
	name, value, _ = strings.Cut(line, ":")
	return name, strings.TrimPrefix(value, " ")
}

// ruleOrigin is an origin in memory that answers as the step under way says.
type ruleOrigin struct {
	mu      sync.Mutex
	answers []ruleAnswer
	asked   []*http.Request
	serial  int
	serving sync.WaitGroup
}

func (o *ruleOrigin) install(t *testing.T, e *edge) { installInMemory(t, e, &o.serving, o.serve) }

func (o *ruleOrigin) serve(c net.Conn) {
	defer c.Close()
	for in := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		if _, err := io.WriteString(c, o.answer(req)); err != nil || len(o.answers) > 0 && o.answers[0].status == "close" {
			return
		}
	}
}

func (o *ruleOrigin) answer(req *http.Request) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, req)
	o.serial++
	if next := slices.IndexFunc(o.answers, func(a ruleAnswer) bool { return a.again }); next >= 0 && len(o.asked) > 1 {
		o.answers = o.answers[next:]
		o.answers[0].again = false
	}
	var b strings.Builder
	for i, a := range o.answers {
		if a.again && i > 0 {
			break
		}
		if a.status == "close" {
			break
		}
		fmt.Fprintf(&b, "HTTP/1.1 %s x\r\n", a.status)
		for _, line := range a.fields {
			b.WriteString(modeltest.Expand(line, time.Now(), 0, "") + "\r\n")
		}
		body := fmt.Sprintf("body %d", o.serial)
		switch status, _ := strconv.Atoi(a.status); {
		case status < 200, bodiless(status):
			b.WriteString("\r\n")
		case req.Method == "HEAD":
			fmt.Fprintf(&b, "content-length: %d\r\n\r\n", len(body))
		default:
			fmt.Fprintf(&b, "content-length: %d\r\n\r\n%s", len(body), body)
		}
	}
	return b.String()
}

func playRule(t *testing.T, steps string) (fault error) {
	synctest.Test(t, func(t *testing.T) {
		e := newEdge(t, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = nil })
		o := &ruleOrigin{}
		o.install(t, e)
		for i, text := range strings.Split(steps, "|") {
			s := parseStep(text)
			time.Sleep(s.wait)
			o.mu.Lock()
			o.answers, o.asked = s.answers, nil
			o.mu.Unlock()
			for j, f := range s.r.Fields {
				s.r.Fields[j].Value = modeltest.Expand(f.Value, time.Now(), 0, "")
			}
			s.r.Received = time.Now()
			var c *client
			if a := e.Quick(s.r); a != nil {
				c = take(a, s.r)
			} else {
				c = e.serve(s.r)
			}
			e.settle()
			synctest.Wait()
			if err := o.check(c, s.expect); err != nil {
				fault = fmt.Errorf("step %d: %w\n\tgot %d %q %v", i+1, err, c.status, c.body.String(), c.fields)
				break
			}
		}
		e.Close()
		o.serving.Wait()
	})
	return fault
}

// check compares what came of a step with what was expected.
func (o *ruleOrigin) check(c *client, expect []string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	conditional := 0
	for _, r := range o.asked {
		if r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since") != "" {
			conditional++
		}
	}
	for _, want := range expect {
		ok := true
		switch n, err := strconv.Atoi(want); {
		case want == "hit":
			ok = len(o.asked) == 0
		case want == "miss":
			ok = len(o.asked) == 1 && conditional == 0
		case want == "cond":
			ok = len(o.asked) == 1 && conditional == 1
		case err == nil:
			ok = c.status == n
		case strings.HasPrefix(want, "1xx:"):
			ok = strings.Trim(fmt.Sprint(c.informed), "[]") == strings.ReplaceAll(want[4:], ",", " ")
		case want[0] == 'b':
			ok = c.body.String() == "body "+want[1:]
		default:
			ok = o.hasField(c, want[1:len(want)-1])
		}
		if !ok {
			return fmt.Errorf("want %s; the origin was asked %d times, %d with a condition", want, len(o.asked), conditional)
		}
	}
	return nil
}

// hasField checks a field of the answer, or with "!" of the request that the origin got.
func (o *ruleOrigin) hasField(c *client, want string) bool {
	fields := c.fields
	if rest, ok := strings.CutPrefix(want, "!"); ok {
		if len(o.asked) == 0 {
			return false
		}
		want, fields = rest, asModel(o.asked[0]).Fields
	}
	if name, ok := strings.CutPrefix(want, "-"); ok {
		return !fields.Has(name)
	}
	name, value := fieldOf(want)
	return slices.Contains(fields.Values(name), modeltest.Expand(value, time.Now(), 0, ""))
}
