// Package cachebench measures the cache in this process: how often it hits, what a hit and a store cost with how many objects, what a purge takes,
// whether a body that only passes through takes memory, and how soon a disk serves after a restart.
package cachebench

import (
	"context"
	"fmt"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// Options says what to measure.
type Options struct {
	// Objects are the sizes of the store that hits are measured with.
	Objects []int
	// Body is the length of every body in bytes.
	Body int
	// Requests is how many requests a hit ratio is of, and how many hits are timed.
	Requests int
	// Keys is how many objects the hit ratio's requests are for, with an exponent of Zipf.
	Keys int
	Zipf float64
	// Pass is the length of the body that passes through, 0: none does.
	Pass int64
	Seed uint64
	// Warm has the largest number of objects written to a disk and found again, in a directory below Dir, or of the system's for such things.
	Warm bool
	Dir  string
	// Purges are the ways to purge everything that was stored.
	Purges []Purge
	// Progress is called before each scenario; it may be nil.
	Progress func(what string)
}

// Purge is a way to purge all objects, which have the tag "all", and URLs below https://shop.example/o/.
type Purge struct {
	Name string
	Do   func(c *cache.Cache, now time.Time) error
}

// Row is one figure.
type Row struct {
	Scenario string  `json:"scenario"`
	Case     string  `json:"case"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
	Note     string  `json:"note,omitempty"`
}

type bench struct {
	o    Options
	rows []Row
}

// Run measures. It ends early, with what there is, when ctx ends.
func Run(ctx context.Context, o Options) ([]Row, error) {
	b := &bench{o: o}
	for _, s := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"pass-through", b.passThrough}, // first: the collector lets garbage grow as large as what the others leave behind
		{"hit ratio", b.hitRatio},
		{"cost", b.cost},
		{"disk", b.warm},
	} {
		if o.Progress != nil {
			o.Progress(s.what)
		}
		if err := s.run(ctx); err != nil {
			return b.rows, fmt.Errorf("%s: %w", s.what, err)
		}
		if ctx.Err() != nil {
			return b.rows, ctx.Err()
		}
	}
	return b.rows, nil
}

func (b *bench) add(scenario, what string, value float64, unit, note string) {
	b.rows = append(b.rows, Row{scenario, what, value, unit, note})
}

// service is the name of the only service.
const service = "bench"

func policy() *cache.Policy {
	p := &cache.Policy{}
	p.SetDefaults()
	return p
}

// request asks for an object. One request is used again and again.
func request() *message.Request {
	return &message.Request{Protocol: message.HTTP2, Method: "GET", Scheme: "https", Authority: "shop.example", Target: message.Target{Path: "/o/0"},
		Fields: message.Fields{{Name: "user-agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, {Name: "accept", Value: "*/*"}}}
}

// fields are those of every response.
var fields = message.Fields{{Name: "content-type", Value: "application/octet-stream"}, {Name: "cache-control", Value: "max-age=86400"}, {Name: "etag", Value: `"0123456789abcdef"`},
	{Name: "cache-tag", Value: "all"}, {Name: "surrogate-key", Value: "all"}}

// store stores an answer to r, and reports whether it was stored.
func store(c *cache.Cache, now time.Time, r *message.Request, p *cache.Policy, body []byte) bool {
	f, leader := c.Begin(now, p.KeyOf(service, r, nil), r)
	if !leader {
		return false
	}
	w, _ := f.Respond(r, cache.Response{Status: 200, Fields: fields, Length: int64(len(body)), Requested: now, Received: now}, p)
	if w == nil {
		return false
	}
	if _, err := w.Write(body); err != nil {
		w.Abort(err)
		return false
	}
	return w.Commit(nil) == cache.ReasonStored
}
