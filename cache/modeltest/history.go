package modeltest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// History is what happens in one test, step by step.
type History []Step

// Step is a client's request, and what the origin does about it.
type Step struct {
	Wait    time.Duration // before it
	Request Request       // field values are templates; see [Expand]
	Leave   bool          // the client goes away before the origin answers
	// Restart ends the edge before the wait, and begins it anew: "restart" in good order, "crash" as if it had been killed.
	Restart string
	Purge   Purge
	// Crowd is how many other clients ask for the same at the same time. Each has a cookie of its own, and they are of two tenants.
	Crowd int
	// Plans are what the origin does with each request of this step; the last goes on for all further ones.
	Plans []Plan
}

// Purge is what an operator does in a step, or another client: its POST, which succeeds, purges a URL as well (RFC 9111 §4.4).
type Purge struct {
	Kind   string // url, tag, prefix, all or post; "": nothing
	Target string // a path and query, or a tag
	Soft   bool   // stale, not gone
	// At is how long after the request has come; 0 is before it.
	At time.Duration
}

// Plan is one answer of the origin.
type Plan struct {
	Status int // 0: the connection ends without an answer
	Fields message.Fields
	Delay  time.Duration // before the header section
	Cut    bool          // the connection ends in the middle of the body
	// Bump makes a new version of the resource first.
	Bump bool
	// Blind ignores conditions and ranges; else they are answered with 304 and 206 where the plan says 200.
	Blind bool
	// Lie answers a conditional request with 304 whatever it asks for.
	Lie bool
	// Chunked sends the body without its length.
	Chunked bool
}

// String writes the history as [Parse] reads it: a line for each request, and below it a line that begins with "=" for each plan.
func (h History) String() string {
	var b strings.Builder
	for _, s := range h {
		fmt.Fprintf(&b, "+%v %s %s%s%s%s\n", s.Wait, s.Request.Method, s.Request.Target, fieldText(s.Request.Fields), word(" body", s.Request.Body), word(" leave", s.Leave)+word(fmt.Sprintf(" crowd=%d", s.Crowd), s.Crowd > 0)+word(" "+s.Restart, s.Restart != "")+s.Purge.String())
		for _, p := range s.Plans {
			fmt.Fprintf(&b, "  = %d%s", p.Status, fieldText(p.Fields))
			if p.Delay > 0 {
				fmt.Fprintf(&b, " delay=%v", p.Delay)
			}
			fmt.Fprintln(&b, word(" cut", p.Cut)+word(" bump", p.Bump)+word(" blind", p.Blind)+word(" lie", p.Lie)+word(" chunked", p.Chunked))
		}
	}
	return b.String()
}

// String writes a purge as part of a step.
func (p Purge) String() string {
	if p.Kind == "" {
		return ""
	}
	return fmt.Sprintf(" purge=%s:%s%s%s", p.Kind, p.Target, word(" soft", p.Soft), word(" at="+p.At.String(), p.At > 0))
}

func word(s string, on bool) string {
	if on {
		return s
	}
	return ""
}

func fieldText(f message.Fields) string {
	var b strings.Builder
	for _, x := range f {
		fmt.Fprintf(&b, " [%s: %s]", x.Name, x.Value)
	}
	return b.String()
}

// Parse reads what String writes. Empty lines, and what follows "#" at the beginning of a line, are left out.
func Parse(text string) (History, error) {
	var h History
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		var err error
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '=' && len(h) > 0:
			var p Plan
			p, err = parsePlan(line[1:])
			last := &h[len(h)-1]
			last.Plans = append(last.Plans, p)
		default:
			var s Step
			s, err = parseStep(line)
			h = append(h, s)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d, %q: %w", i+1, line, err)
		}
	}
	return h, nil
}

// words splits a line at white space outside of brackets.
func words(line string) (words []string, fields message.Fields, err error) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '[' {
			inside, rest, ok := strings.Cut(line[1:], "]")
			name, value, colon := strings.Cut(inside, ":")
			if !ok || !colon {
				return nil, nil, fmt.Errorf("a field is written [name: value]")
			}
			fields.Add(name, strings.TrimSpace(value))
			line = rest
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		words, line = append(words, w), rest
	}
	return words, fields, nil
}

func parseStep(line string) (s Step, err error) {
	w, fields, err := words(line)
	if err != nil || len(w) < 3 || w[0][0] != '+' {
		return s, fmt.Errorf("a step is written +1s GET /path [name: value]: %v", err)
	}
	s.Request = Request{Method: w[1], Target: w[2], Fields: fields}
	if s.Wait, err = time.ParseDuration(w[0][1:]); err != nil {
		return s, err
	}
	for _, x := range w[3:] {
		if n, ok := strings.CutPrefix(x, "crowd="); ok {
			if s.Crowd, err = strconv.Atoi(n); err != nil || s.Crowd < 0 || s.Crowd > maxCrowd {
				return s, fmt.Errorf("a crowd of %q", n)
			}
			continue
		}
		if at, ok := strings.CutPrefix(x, "at="); ok {
			if s.Purge.At, err = time.ParseDuration(at); err != nil || s.Purge.At < 0 {
				return s, fmt.Errorf("at %q", at)
			}
			continue
		}
		if p, ok := strings.CutPrefix(x, "purge="); ok {
			s.Purge.Kind, s.Purge.Target, _ = strings.Cut(p, ":")
			if !slices.Contains(purgeKinds, s.Purge.Kind) {
				return s, fmt.Errorf("a purge of a %q", s.Purge.Kind)
			}
			continue
		}
		switch x {
		case "body":
			s.Request.Body = true
		case "leave":
			s.Leave = true
		case "soft":
			s.Purge.Soft = true
		case "restart", "crash":
			s.Restart = x
		default:
			return s, fmt.Errorf("no such word: %q", x)
		}
	}
	if s.Purge.Kind == "" && s.Purge != (Purge{}) {
		return s, fmt.Errorf("what is to be purged?")
	}
	return s, nil
}

var purgeKinds = []string{"url", "tag", "prefix", "all", "post"}

// maxCrowd bounds a crowd.
const maxCrowd = 8

func parsePlan(line string) (p Plan, err error) {
	w, fields, err := words(line)
	if err != nil || len(w) < 1 {
		return p, fmt.Errorf("a plan is written = 200 [name: value]: %v", err)
	}
	p.Fields = fields
	if p.Status, err = strconv.Atoi(w[0]); err != nil {
		return p, err
	}
	flags := map[string]*bool{"cut": &p.Cut, "bump": &p.Bump, "blind": &p.Blind, "lie": &p.Lie, "chunked": &p.Chunked}
	for _, x := range w[1:] {
		if d, ok := strings.CutPrefix(x, "delay="); ok {
			if p.Delay, err = time.ParseDuration(d); err != nil {
				return p, err
			}
			continue
		}
		if flags[x] == nil {
			return p, fmt.Errorf("no such word: %q", x)
		}
		*flags[x] = true
	}
	return p, nil
}

// Expand fills in a template: {v} is the version of the resource and {v-1} the one before, {lm} and {lm-1} when they were made, {now+60} and
// {now-60} times in seconds from now; {850 now+60} and {asc now+60} are those in the other two forms of dates.
func Expand(s string, now time.Time, version int, variant string) string {
	for {
		before, rest, ok := strings.Cut(s, "{")
		inside, after, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			return s
		}
		s = before + value(inside, now, version, variant) + after
	}
}

func value(s string, now time.Time, version int, variant string) string {
	layout := "Mon, 02 Jan 2006 15:04:05 GMT"
	if rest, ok := strings.CutPrefix(s, "850 "); ok {
		layout, s = "Monday, 02-Jan-06 15:04:05 GMT", rest
	} else if rest, ok := strings.CutPrefix(s, "asc "); ok {
		layout, s = time.ANSIC, rest
	}
	name := strings.TrimRight(s, "+-0123456789")
	n, _ := strconv.Atoi(s[len(name):])
	switch name {
	case "v":
		return strconv.Itoa(version+n) + variant
	case "lm":
		return time.Date(1999, 12, 1, 0, version+n, 0, 0, time.UTC).Format(layout)
	}
	return now.UTC().Add(time.Duration(n) * time.Second).Format(layout)
}
