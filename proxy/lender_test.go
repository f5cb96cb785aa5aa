package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// lender is a front end that lends the strings of its requests: they are parts of one buffer, which has the next request's bytes as soon as an
// exchange is over.
type lender struct {
	buf   [4096]byte
	used  int
	lines message.Fields
	req   message.Request
}

// lend returns a string of the buffer's.
func (l *lender) lend(s string) string {
	n := copy(l.buf[l.used:], s)
	own := unsafe.String(&l.buf[l.used], n)
	l.used += n
	return own
}

// request makes a request all of whose strings are lent. Its fields say what the others are, so that whoever gets it can tell.
func (l *lender) request(method, target string, fields ...string) *message.Request {
	l.used, l.lines = 0, l.lines[:0]
	t, err := message.ParseTarget(l.lend(target))
	if err != nil {
		panic(err)
	}
	fields = append(fields, "x-sum", sum(method, target, fields))
	for i := 0; i < len(fields); i += 2 {
		l.lines = append(l.lines, message.Field{Name: l.lend(fields[i]), Value: l.lend(fields[i+1])})
	}
	l.req = message.Request{Protocol: message.HTTP1, Method: l.lend(method), Scheme: l.lend("https"), Authority: l.lend("shop.example"), Target: t, Fields: l.lines,
		AltSvc: l.lend("h3"), Client: netip.MustParseAddrPort("203.0.113.9:4711"), Received: time.Now()}
	return &l.req
}

// over ends the exchange: what was lent changes.
func (l *lender) over() {
	for i := range l.buf {
		l.buf[i] = 'Z'
	}
	for i := range l.lines {
		l.lines[i] = message.Field{Name: "z", Value: "Z"}
	}
	l.req = message.Request{Fields: l.lines[:0]}
}

// serve has the request answered as a front end does, from memory where that is possible.
func (l *lender) serve(ctx context.Context, p *Proxy, r *message.Request) *client {
	defer l.over()
	if a := p.Quick(r); a != nil {
		return take(a, r)
	}
	c := &client{}
	p.Serve(ctx, c, r)
	c.fields = owned(c.fields)
	return c
}

// owned is f with strings of its own.
func owned(f message.Fields) message.Fields {
	r := message.Request{Fields: f}
	r.Detach()
	return r.Fields
}

func sum(method, target string, fields []string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(method+" "+target+" "+strings.Join(fields, "\n"))))
}

// witness is an origin that checks what it gets. The answer's body is the target, so that whoever gets it can tell.
func witness(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var fields []string
		for _, name := range []string{"user-agent", "cookie", "accept-language"} {
			if v := r.Header.Get(name); v != "" {
				fields = append(fields, name, v)
			}
		}
		if got, want := r.Header.Get("X-Sum"), sum(r.Method, r.RequestURI, fields); got != want && r.Method != "GET" || r.Host != "shop.example" ||
			r.Method == "GET" && got != want && got != sum("HEAD", r.RequestURI, fields) { // a background fetch is a GET
			t.Errorf("the origin got %s %s %q of %s with the sum %s", r.Method, r.RequestURI, fields, r.Host, got)
		}
		if v := r.Header.Get("X-Forwarded-Proto"); v != "https" {
			t.Errorf("the origin got the scheme %q", v)
		}
		body, err := io.ReadAll(r.Body) // fails where the client has left
		last := r.Trailer.Get("X-Last") // "" over HTTP/2, where net/http takes none that were not announced
		if err == nil && r.Method == "POST" && (string(body) != r.RequestURI || r.ProtoMajor == 1 && last != r.RequestURI) {
			t.Errorf("the origin got the body %q, trailer %q for %s", body, last, r.RequestURI)
		}
		h := w.Header()
		h.Set("Vary", "Accept-Language")
		h.Set("Content-Language", r.Header.Get("Accept-Language"))
		switch {
		case strings.Contains(r.RequestURI, "stale"):
			h.Set("Cache-Control", "max-age=0, stale-while-revalidate=100")
			h.Set("Etag", `"1"`)
		case strings.Contains(r.RequestURI, "validate"):
			h.Set("Cache-Control", "no-cache")
			h.Set("Etag", `"1"`)
		case strings.Contains(r.RequestURI, "private"):
			h.Set("Cache-Control", "private")
		default:
			h.Set("Cache-Control", "max-age=100")
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		if strings.Contains(r.RequestURI, "slow") {
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
		io.WriteString(w, r.RequestURI)
	}
}

// TestNothingOfARequestOutlivesItsExchange asks in every way at once, with strings that change when an exchange is over. The origin, the client
// and the log tell when one was used afterwards, and so does the race detector.
func TestNothingOfARequestOutlivesItsExchange(t *testing.T) {
	for name, url := range map[string]string{"h1": originServer(t, witness(t)), "h2": h2cOrigin(t, witness(t))} {
		t.Run(name, func(t *testing.T) {
			log, set := &lockedBuffer{}, metrics.NewSet()
			e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) {
				o.AccessLog = log
				o.Cache = cache.New(cache.Config{Memory: 512 << 10, MaxObject: 64 << 10}, set)
			})
			held := set.GetOrCreateGauge("nearcast_cache_bytes", nil)
			empty := held.Get()
			var wg sync.WaitGroup
			for g := range 6 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(1, uint64(g)))
					l := &lender{}
					for range 400 {
						l.any(t, e, rnd)
					}
				})
			}
			wg.Wait()
			e.settle()
			log.check(t)
			for _, kind := range kinds {
				for i := range 120 {
					e.cache.Purge(cache.KeyOf("shop", request("GET", fmt.Sprintf("/%s/%d?q=%d", kind, i/3, i%3))))
				}
			}
			if got := held.Get(); got != empty {
				t.Errorf("the empty store holds %v bytes, at first %v", got, empty)
			}
		})
	}
}

var kinds = [...]string{"plain", "stale", "validate", "private", "slow", "slow-stale"}

// any makes one exchange, chosen by chance.
func (l *lender) any(t *testing.T, e *edge, rnd *rand.Rand) {
	kind := kinds[rnd.IntN(len(kinds))]
	method := []string{"GET", "GET", "GET", "HEAD", "POST"}[rnd.IntN(5)]
	target := fmt.Sprintf("/%s/%d?q=%d", kind, rnd.IntN(40), rnd.IntN(3))
	language := []string{"en", "de", "fr"}[rnd.IntN(3)]
	r := l.request(method, target, "user-agent", target, "cookie", fmt.Sprintf("id=%x", rnd.Uint64()), "accept-language", language)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	gone := rnd.IntN(8) == 0
	if gone {
		time.AfterFunc(time.Duration(rnd.IntN(2000))*time.Microsecond, leave)
	}
	if method == "POST" {
		last := message.Fields{{Name: l.lend("x-last"), Value: l.lend(target)}}
		r.Body, r.ContentLength, r.Trailers = bytes.NewReader([]byte(target)), -1, func() message.Fields { return last }
	}
	if rnd.IntN(30) == 0 {
		e.cache.Purge(cache.KeyOf("shop", r))
	}
	c := l.serve(ctx, e.Proxy, r)
	switch want := target; {
	case gone && (c.status == 0 || c.aborted):
	case c.status != 200:
		t.Errorf("%s %s: status %d", method, target, c.status)
	case method != "HEAD" && c.body.String() != want || c.fields.Get("content-language") != language:
		t.Errorf("%s %s: got %q in %s, want %s", method, target, c.body.String(), c.fields.Get("content-language"), language)
	}
}

// lockedBuffer is a log that many write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// check looks at every line: what it says of the request must agree.
func (b *lockedBuffer) check(t *testing.T) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(b.b.String()), "\n")
	if len(lines) != 2400 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		var x struct {
			Method, Scheme, Host, Target string
			UserAgent                    string `json:"user_agent"`
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil || x.Target != x.UserAgent || x.Host != "shop.example" || x.Scheme != "https" {
			t.Errorf("%v in %s", err, line)
		}
	}
}
