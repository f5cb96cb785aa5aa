package proxy

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/cache"
	"nearcast/cache/modeltest"
	"nearcast/proxy/message"
)

var (
	histories = flag.Int("histories", 3000, "random histories that the cache is checked with")
	firstSeed = flag.Uint64("history-seed", 1, "seed of the first of them")
)

// settings are the services that histories are tried on, by name.
var settings = map[string]func(*cache.Policy){
	"default": func(*cache.Policy) {},
	"stale": func(p *cache.Policy) {
		p.DefaultTTL, p.StaleIfError, p.StaleOnDisconnect, p.StaleWithSMaxAge = 10*time.Second, time.Minute, 5*time.Minute, true
	},
	"strict": func(p *cache.Policy) {
		p.StaleOnDisconnect, p.SetCookie, p.RequestDirectives = 0, cache.CookieRefuse, cache.DirectivesIgnore
	},
	"strip": func(p *cache.Policy) { p.SetCookie, p.TargetedFields = cache.CookieStrip, nil },
}

// settingNames has the one that matters most more often.
var settingNames = []string{"default", "default", "stale", "strict", "strip"}

// decided is what this project has decided where the RFCs leave the choice, for a service's settings. It follows the cache's documentation.
func decided(p *cache.Policy) modeltest.Policy {
	cookies := map[string]modeltest.CookieRule{cache.CookieStore: modeltest.CookieExplicit, cache.CookieRefuse: modeltest.CookieNever, cache.CookieStrip: modeltest.CookieStripped}
	return modeltest.Policy{
		DefaultTTL: p.DefaultTTL, StaleIfError: p.StaleIfError, StaleOnDisconnect: p.StaleOnDisconnect, SharedForbidsStale: !p.StaleWithSMaxAge,
		SetCookie: cookies[p.SetCookie], StorePost: true, StorePartial: true, TrustNotModified: true, HeadFreshens: true, InvalidateLocations: true,
		ObeyRequests: p.RequestDirectives == cache.DirectivesHonour, Targeted: len(p.TargetedFields) > 0, Useful: true,
	}
}

// replay runs a history through the pipeline, on a clock of its own, and says where it went wrong.
func replay(t *testing.T, setting string, h modeltest.History) (fault error) {
	synctest.Test(t, func(t *testing.T) {
		var m modeltest.Model
		e := newEdge(t, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, s *ServiceConfig) {
			o.AccessLog = nil
			settings[setting](&s.Cache)
			m = modeltest.Model{Policy: decided(&s.Cache), Origin: "https://shop.example"}
		})
		o := &planned{versions: map[string]int{}}
		o.install(t, e)
		for i, s := range h {
			xs := o.play(e, s)
			for _, x := range xs {
				x.Crowded = len(xs) > 1
			}
			if err := m.CheckCrowd(xs); err != nil {
				fault = fmt.Errorf("step %d: %w%s", i+1, err, described(xs))
				break
			}
			m.LearnCrowd(xs)
		}
		e.Close()
		o.serving.Wait()
	})
	return fault
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
	time.Sleep(s.Wait)
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
	x.Answer = modeltest.Answer{Status: c.status, Fields: c.fields, Body: c.body.String(), Aborted: c.aborted, Length: c.length}
	if asked.Method == "HEAD" || bodiless(c.status) {
		x.Answer.Length = -1
	}
	return x
}

// TestHistories checks the cache, in its place in the pipeline, with random histories against the model.
func TestHistories(t *testing.T) {
	failures, n := 0, uint64(*histories)
	if raced || testing.Short() {
		n /= 6
	}
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		setting := settingNames[seed%uint64(len(settingNames))]
		h := modeltest.Generate(modeltest.Bytes(seed))
		if replay(t, setting, h) == nil {
			continue
		}
		h = modeltest.Shrink(h, func(h modeltest.History) bool { return replay(t, setting, h) != nil })
		t.Errorf("seed %d: %v\nas a case, with setting %q:\n%s", seed, replay(t, setting, h), setting, h)
		if failures++; failures == 5 {
			return
		}
	}
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
