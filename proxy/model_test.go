package proxy

import (
	"compress/gzip"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"nearcast/cache"
	"nearcast/cache/modeltest"
	"nearcast/proxy/message"
)

var (
	histories = flag.Int("histories", 3000, "random histories that the cache is checked with")
	firstSeed = flag.Uint64("history-seed", 1, "seed of the first of them")
)

// setting is a service, and the store below it.
type setting struct {
	policy func(*cache.Policy)
	store  cache.Config // the default when it is zero
	disk   bool
	// forgetful: it may lose anything.
	forgetful bool
}

// settings are what histories are tried on, by name.
var settings = map[string]setting{
	"default": {policy: func(*cache.Policy) {}},
	"stale": {policy: func(p *cache.Policy) {
		p.DefaultTTL, p.StaleIfError, p.StaleOnDisconnect, p.StaleWithSMaxAge = 10*time.Second, time.Minute, 5*time.Minute, true
	}},
	"strict": {policy: func(p *cache.Policy) {
		p.StaleOnDisconnect, p.SetCookie, p.RequestDirectives = 0, cache.CookieRefuse, cache.DirectivesIgnore
	}},
	"strip": {policy: func(p *cache.Policy) { p.SetCookie, p.TargetedFields = cache.CookieStrip, nil }},
	"keys": {policy: func(p *cache.Policy) {
		p.Key = cache.KeyRules{Query: cache.QueryRules{Mode: cache.QueryDeny, Names: []string{"utm"}}, Headers: []string{"x-tenant"}, Cookies: []string{"id"}, Device: true}
		p.PurgeFrom, p.EarlyHints = anyClient, true
	}},
	"negative": {policy: func(p *cache.Policy) {
		p.Negative, p.PurgeFrom = cache.NegativeTTLs{"4xx": 10 * time.Second, "410": 0, "5xx": 5 * time.Second, "400": time.Minute}, anyClient
		p.EarlyHints = true
	}},
	"coded":  {policy: codedPolicy},
	"slices": {policy: slicedPolicy, store: cache.Config{Memory: 1 << 20, MaxObject: 100}},
	"disk":   {policy: func(p *cache.Policy) { p.PurgeFrom = anyClient }, disk: true},
	"disk, small memory": {policy: func(p *cache.Policy) {
		codedPolicy(p)
		p.PurgeFrom, p.Key = anyClient, cache.KeyRules{IgnoreHost: true, Headers: []string{"x-tenant"}}
	}, store: cache.Config{Memory: tinyMemory, MaxObject: 100}, disk: true, forgetful: true},
	"tiny": {policy: func(p *cache.Policy) {
		codedPolicy(p)
		slicedPolicy(p)
		p.EarlyHints = true
	}, store: cache.Config{Memory: tinyMemory, MaxObject: 200}, forgetful: true},
}

// tinyMemory leaves room for a few objects besides the tables.
const tinyMemory = 305 << 10

var anyClient = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}

func codedPolicy(p *cache.Policy) {
	p.Compress.Enabled, p.Compress.MinSize = true, 0
	p.Compress.BrotliLevel, p.Compress.ZstdLevel, p.Compress.GzipLevel = 1, 1, 1
}

func slicedPolicy(p *cache.Policy) { p.Slice, p.PurgeFrom = 16, anyClient }

// settingNames has the one that matters most more often.
var settingNames = []string{"default", "default", "stale", "strict", "strip", "keys", "negative", "coded", "slices", "disk", "disk, small memory", "tiny"}

// decided is what this project has decided where the RFCs leave the choice, for a service's settings. It follows the cache's documentation.
func decided(p *cache.Policy, s *setting) modeltest.Policy {
	cookies := map[string]modeltest.CookieRule{cache.CookieStore: modeltest.CookieExplicit, cache.CookieRefuse: modeltest.CookieNever, cache.CookieStrip: modeltest.CookieStripped}
	return modeltest.Policy{
		DefaultTTL: p.DefaultTTL, StaleIfError: p.StaleIfError, StaleOnDisconnect: p.StaleOnDisconnect, SharedForbidsStale: !p.StaleWithSMaxAge,
		SetCookie: cookies[p.SetCookie], StorePost: true, StorePartial: true, TrustNotModified: true, HeadFreshens: true, InvalidateLocations: true,
		ObeyRequests: p.RequestDirectives == cache.DirectivesHonour, Targeted: len(p.TargetedFields) > 0, Useful: true,
		Key:      modeltest.Key{Without: p.Key.Query.Names, Headers: p.Key.Headers, Cookies: p.Key.Cookies, Device: p.Key.Device},
		Negative: p.Negative, PurgeMethod: len(p.PurgeFrom) > 0, EarlyHints: p.EarlyHints, Compress: p.Compress.Enabled,
		Slices: p.Slice > 0, MaxObject: int(s.store.MaxObject), Forgetful: s.forgetful,
	}
}

// player plays histories on an edge that may begin anew.
type player struct {
	*edge
	*planned
	t       *testing.T
	setting setting
	model   modeltest.Model
	dir     string // of the disk; "" without
	store   *cache.Cache
	began   string // by a "restart" or "crash"; "" once an origin has been asked
}

// start begins with what is on disk.
func (p *player) start() {
	cfg := p.setting.store
	if cfg == (cache.Config{}) {
		cfg.SetDefaults()
		cfg.Memory = 1 << 20 // the tables are made anew for each history
	}
	p.store = cache.New(cfg, nil)
	if p.dir != "" {
		disk := cache.DiskConfig{Path: p.dir, Size: 64 << 20, MaxObject: 1 << 20}
		if err := p.store.OpenDisk(disk, slog.New(slog.DiscardHandler), metrics.NewSet()); err != nil {
			p.t.Fatal(err)
		}
	}
	p.edge = newEdge(p.t, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, s *ServiceConfig) {
		o.AccessLog, o.Cache = nil, p.store
		p.setting.policy(&s.Cache)
		p.model.Policy = decided(&s.Cache, &p.setting)
	})
	p.install(p.t, p.edge)
}

// stop ends the edge. With crash what it would still write has never been.
func (p *player) stop(crash bool) {
	synctest.Wait()
	last := p.dir
	if crash && p.dir != "" {
		p.dir = filepath.Join(p.t.TempDir(), "disk")
		if err := os.CopyFS(p.dir, os.DirFS(last)); err != nil {
			p.t.Fatal(err)
		}
	}
	p.edge.Close()
	p.serving.Wait()
	if err := p.store.Close(); err != nil {
		p.t.Fatal(err)
	}
}

// replay runs a history through the pipeline, on a clock of its own, and says where it went wrong.
func replay(t *testing.T, name string, h modeltest.History) (fault error) {
	dir := ""
	if settings[name].disk {
		dir = t.TempDir()
	}
	synctest.Test(t, func(t *testing.T) {
		p := &player{t: t, setting: settings[name], model: modeltest.Model{Origin: "https://shop.example"}, planned: &planned{versions: map[string]int{}}, dir: dir}
		p.start()
		defer p.stop(false)
		for i, s := range h {
			xs, err := p.step(s)
			if err != nil {
				fault = fmt.Errorf("step %d: %w%s", i+1, err, described(xs))
				return
			}
		}
	})
	return fault
}

// step takes one step and compares it with the model.
func (p *player) step(s modeltest.Step) ([]*modeltest.Exchange, error) {
	if s.Restart != "" {
		p.stop(s.Restart == "crash")
		p.start()
		p.model.Restart()
		p.began = s.Restart
	}
	time.Sleep(s.Wait) // in which the disk is read; without, the request comes while it is
	if s.Purge.Kind != "" && s.Purge.At == 0 {
		p.purge(s.Purge)
		p.model.Purge(s.Purge, time.Now())
	}
	var purged time.Time
	if s.Purge.At > 0 {
		purged = time.Now().Add(s.Purge.At)
		p.serving.Go(func() {
			time.Sleep(s.Purge.At)
			p.purge(s.Purge)
		})
	}
	xs := p.play(p.edge, s)
	if !purged.IsZero() {
		time.Sleep(time.Until(purged) + 1)
	}
	for _, x := range xs {
		x.Crowded = len(xs) > 1
	}
	if err := p.model.CheckCrowd(xs); err != nil {
		return xs, err
	}
	for _, x := range xs {
		if len(x.Forwards) > 0 {
			p.began = ""
		}
		reached.note(x, s, p.began)
	}
	p.model.LearnCrowd(xs)
	if !purged.IsZero() {
		p.model.Purge(s.Purge, purged)
	}
	return xs, nil
}

// reached counts what histories have come to.
var reached = reach{}

type reach map[string]int

// rare is what they must come to now and then, or they don't check it.
var rare = []string{"hit", "hit after a restart", "hit after a crash", "coded hit", "304 of a coded form", "hint", "put together", "206 from the store", "answer in slices", "stale hit", "504", "purged while fetched"}

func (n reach) note(x *modeltest.Exchange, s modeltest.Step, began string) {
	a, from := &x.Answer, 0
	hit := len(x.Forwards) == 0 && strings.Contains(a.Fields.Get("cache-status"), "; hit")
	for _, f := range x.Forwards {
		if f.Response != nil && f.Response.Status == 206 {
			from += len(f.Response.Body)
		}
	}
	for what, is := range map[string]bool{
		"hit": hit, "hit after a " + began: hit && began != "", "coded hit": hit && a.Coding != "", "hint": len(a.Informed) > 0,
		"304 of a coded form": hit && a.Status == 304 && strings.Contains(a.Fields.Get("etag"), "~"),
		"put together":        from > 0 && (a.Status == 200 || a.Status == 206) && len(a.Body) > from, "206 from the store": hit && a.Status == 206,
		"answer in slices": len(x.Forwards) > 1 && from > 0 && a.Status == 200, "504": a.Status == 504 && len(x.Forwards) == 0,
		"stale hit": strings.Contains(a.Fields.Get("cache-status"), "ttl=-"), "purged while fetched": s.Purge.At > 0 && len(x.Forwards) > 0 && s.Plans[0].Delay > s.Purge.At,
	} {
		if is {
			n[what]++
		}
	}
}

// aside marks a request that is not the step's own, and that the origin always grants.
const aside = "x-aside"

// purge does what an operator does, or another client.
func (p *player) purge(want modeltest.Purge) {
	q := cache.PurgeRequest{Soft: want.Soft}
	url := "https://shop.example" + want.Target
	switch want.Kind {
	case "post":
		r := request("POST", want.Target, aside, "1")
		if got := p.edge.serve(r); got.status != 204 {
			p.t.Errorf("a POST aside: %d", got.status)
		}
		return
	case "url":
		q.URLs = []string{url}
	case "prefix":
		q.Prefixes = []string{url}
	case "tag":
		q.Tags = []string{want.Target}
	default:
		q.All = true
	}
	if result, err := p.edge.Purge(q, "a test"); err != nil || result.Failed() {
		p.t.Errorf("%v: %v %v", want, err, result)
	}
}

func described(xs []*modeltest.Exchange) string {
	var b strings.Builder
	for _, x := range xs {
		fmt.Fprintf(&b, "\n  asked %s %s %v\n  answered %d %q aborted %v %v", x.Request.Method, x.Request.Target, x.Request.Fields, x.Answer.Status, x.Answer.Body, x.Answer.Aborted, x.Answer.Fields)
		for _, f := range x.Forwards {
			fmt.Fprintf(&b, "\n    origin asked %s %v", f.Request.Method, f.Request.Fields)
			if f.Response != nil {
				fmt.Fprintf(&b, "\n    origin said %d %v cut %v", f.Response.Status, f.Response.Fields, f.Response.Cut)
			}
		}
	}
	return b.String()
}

// play takes one step: one client, or a crowd of them, in turn.
func (o *planned) play(e *edge, s modeltest.Step) []*modeltest.Exchange {
	o.script(s.Plans)
	xs := make([]*modeltest.Exchange, 1+s.Crowd)
	var clients sync.WaitGroup
	for i := range xs {
		r := request(s.Request.Method, s.Request.Target)
		for _, f := range s.Request.Fields {
			r.Fields.Add(f.Name, modeltest.Expand(f.Value, time.Now(), o.version(s.Request.Target), ""))
		}
		if s.Crowd > 0 {
			r.Fields.Set("cookie", fmt.Sprint("client=", i))
			r.Fields.Set("x-tenant", fmt.Sprint(1+i%2))
		}
		if s.Request.Body {
			r.Body, r.ContentLength = strings.NewReader("body"), 4
		}
		clients.Go(func() { xs[i] = ask(e, r, s.Leave) })
		synctest.Wait()
	}
	clients.Wait()
	e.settle()
	synctest.Wait()
	for _, f := range o.forwards() {
		n := 0
		if s.Crowd > 0 {
			fmt.Sscanf(f.Request.Fields.Get("cookie"), "client=%d", &n)
		}
		xs[n].Forwards = append(xs[n].Forwards, f)
	}
	return xs
}

// ask is one client.
func ask(e *edge, r *message.Request, leaves bool) *modeltest.Exchange {
	asked := &modeltest.Request{Method: r.Method, Target: r.Target.String(), Fields: slices.Clone(r.Fields), Body: r.Body != nil}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if leaves {
		defer time.AfterFunc(time.Second, leave).Stop()
	}
	x := &modeltest.Exchange{Request: asked, At: time.Now()}
	c := &client{}
	if a := e.Quick(r); a != nil {
		c = take(a, r)
	} else {
		e.Serve(ctx, c, r)
	}
	x.Answered, x.Left = time.Now(), ctx.Err() != nil
	x.Answer = modeltest.Answer{Status: c.status, Fields: c.fields, Body: c.body.String(), Aborted: c.aborted, Length: c.length, Informed: c.informed}
	decode(&x.Answer)
	if asked.Method == "HEAD" || bodiless(c.status) {
		x.Answer.Length = -1
	}
	return x
}

// decode takes an answer's content coding off.
func decode(a *modeltest.Answer) {
	coding := a.Fields.Get("content-encoding")
	if coding == "" || a.Body == "" {
		a.Coding = coding
		return
	}
	in := strings.NewReader(a.Body)
	var out io.Reader = errorReader{fmt.Errorf("coding %q", coding)}
	switch coding {
	case "gzip":
		if z, err := gzip.NewReader(in); err == nil {
			out = z
		}
	case "br":
		out = brotli.NewReader(in)
	case "zstd":
		if z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1)); err == nil {
			out = z
			defer z.Close()
		}
	}
	if a.Length >= 0 && a.Length != int64(len(a.Body)) && !a.Aborted {
		a.Status = 0
	}
	b, err := io.ReadAll(out)
	a.Coding, a.Length, a.Body = coding, -1, string(b)
	if err != nil && !a.Aborted {
		a.Body += " " + err.Error()
	}
}

type errorReader struct{ error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.error }

// TestHistories checks the cache, in its place in the pipeline, with random histories against the model.
func TestHistories(t *testing.T) {
	failures, n := 0, uint64(*histories)
	if raced || testing.Short() {
		n /= 6
	}
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		setting := settingNames[seed%uint64(len(settingNames))]
		h := modeltest.Generate(modeltest.Bytes(seed))
		err := replay(t, setting, h)
		if err == nil {
			continue
		}
		h = modeltest.Shrink(h, func(h modeltest.History) bool {
			again := replay(t, setting, h)
			if again != nil {
				err = again
			}
			return again != nil
		})
		t.Errorf("seed %d: %v\nas a case, with setting %q:\n%s", seed, err, setting, h)
		if failures++; failures == 5 {
			return
		}
	}
	for _, what := range rare {
		if reached[what] == 0 && n >= 3000 {
			t.Errorf("of %d histories none came to this: %s", n, what)
		}
	}
	t.Logf("%d histories came to %v", n, reached)
}

func FuzzHistories(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(uint8(seed), modeltest.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, setting uint8, b []byte) {
		name, h := settingNames[int(setting)%len(settingNames)], modeltest.Generate(b)
		if err := replay(t, name, h); err != nil {
			t.Errorf("%v\nas a case, with setting %q:\n%s", err, name, h)
		}
	})
}
