package proxy

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/cache/modeltest"
)

var (
	histories = flag.Int("histories", 3000, "random histories that the cache is checked with")
	firstSeed = flag.Uint64("history-seed", 1, "seed of the first of them")
)

// decided is what this project has decided where the RFCs leave the choice. It follows the cache's documentation.
func decided(s *ServiceConfig) modeltest.Policy {
	return modeltest.Policy{
		DefaultTTL: s.Cache.DefaultTTL, StaleIfError: s.Cache.StaleIfError, StaleOnDisconnect: 0, SharedForbidsStale: true,
		SetCookie: modeltest.CookieShared, StorePost: false, StorePartial: false, HeadFreshens: false, InvalidateLocations: true, ObeyRequests: true, Useful: true,
	}
}

// replay runs a history through the pipeline, on a clock of its own, and says where it went wrong.
func replay(t *testing.T, h modeltest.History) (fault error) {
	synctest.Test(t, func(t *testing.T) {
		var m modeltest.Model
		e := newEdge(t, map[string][]string{"fra": {"http://origin.example"}}, func(o *Options, s *ServiceConfig) {
			o.AccessLog = nil
			m = modeltest.Model{Policy: decided(s), Origin: "https://shop.example"}
		})
		o := &planned{versions: map[string]int{}}
		o.install(t, e)
		for i, s := range h {
			x := o.play(e, s)
			if err := m.Check(x); err != nil {
				fault = fmt.Errorf("step %d: %w\n  asked %s %s %v\n  answered %d %q aborted %v %v%s", i+1, err, x.Request.Method, x.Request.Target, x.Request.Fields,
					x.Answer.Status, x.Answer.Body, x.Answer.Aborted, x.Answer.Fields, forwarded(x))
				break
			}
			m.Learn(x)
		}
		e.Close()
		o.serving.Wait()
	})
	return fault
}

func forwarded(x *modeltest.Exchange) string {
	var b strings.Builder
	for _, f := range x.Forwards {
		fmt.Fprintf(&b, "\n  origin asked %s %v", f.Request.Method, f.Request.Fields)
		if f.Response != nil {
			fmt.Fprintf(&b, "\n  origin said %d %v cut %v", f.Response.Status, f.Response.Fields, f.Response.Cut)
		}
	}
	return b.String()
}

// play takes one step.
func (o *planned) play(e *edge, s modeltest.Step) *modeltest.Exchange {
	time.Sleep(s.Wait)
	o.script(s.Plans)
	r := request(s.Request.Method, s.Request.Target)
	for _, f := range s.Request.Fields {
		r.Fields.Add(f.Name, modeltest.Expand(f.Value, time.Now(), o.version(s.Request.Target), ""))
	}
	asked := s.Request
	asked.Fields = append(asked.Fields[:0:0], r.Fields...)
	if s.Request.Body {
		r.Body, r.ContentLength = strings.NewReader("body"), 4
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if s.Leave {
		defer time.AfterFunc(time.Second, leave).Stop()
	}
	x := &modeltest.Exchange{Request: &asked, At: time.Now()}
	c := &client{}
	if a := e.Quick(r); a != nil {
		c = take(a, r)
	} else {
		e.Serve(ctx, c, r)
	}
	x.Answered, x.Left = time.Now(), ctx.Err() != nil
	e.settle()
	synctest.Wait()
	x.Forwards = o.forwards()
	x.Answer = modeltest.Answer{Status: c.status, Fields: c.fields, Body: c.body.String(), Aborted: c.aborted, Length: c.length}
	if s.Request.Method == "HEAD" || bodiless(c.status) {
		x.Answer.Length = -1
	}
	return x
}

// TestHistories checks the cache, in its place in the pipeline, with random histories against the model.
func TestHistories(t *testing.T) {
	failures := 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*histories); seed++ {
		h := modeltest.Generate(modeltest.Bytes(seed))
		if replay(t, h) == nil {
			continue
		}
		h = modeltest.Shrink(h, func(h modeltest.History) bool { return replay(t, h) != nil })
		t.Errorf("seed %d: %v\nas a case:\n%s", seed, replay(t, h), h)
		if failures++; failures == 5 {
			return
		}
	}
}

func FuzzHistories(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(modeltest.Bytes(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h := modeltest.Generate(b)
		if err := replay(t, h); err != nil {
			t.Errorf("%v\nas a case:\n%s", err, h)
		}
	})
}
