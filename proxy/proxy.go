package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache"
	"nearcast/geo"
	"nearcast/health"
	"nearcast/proxy/message"
)

// Options is what a Proxy is made of. Services, Region and Edge are needed; a nil Health knows of no healthy origin, a nil
// Places of no place, a nil AccessLog logs nothing.
type Options struct {
	Edge     string // this edge's name: in Via, CDN-Loop and Proxy-Status
	Region   string
	Regions  map[string]geo.Region
	Services map[string]ServiceConfig
	// MaxBody is the largest request body in bytes, MaxHeader the largest header section of a response.
	MaxBody, MaxHeader int64

	Cache  *cache.Cache
	Health *health.Monitor
	Places *geo.DB
	// SelfToken is what the edge's own probe carries (package health).
	SelfToken string

	Log *slog.Logger
	// AccessLog gets one line of JSON for each exchange, whole and in one call. It must not keep the line, nor hold the exchange up.
	AccessLog io.Writer
	Set       *metrics.Set
}

// Proxy serves exchanges. It implements message.QuickHandler and message.Refuser.
type Proxy struct {
	// immutable
	opts   Options
	table  *table
	cache  *cache.Cache
	meters *meters
	log    *slog.Logger
	access *accessLog // nil: off
	places *places
	// what this hop calls itself in Via, in CDN-Loop and, as a structured field has it, in Proxy-Status
	vias       [message.HTTP3 + 1]string
	loopEntry  string
	statusName string

	// life ends what outlives its client's request: fetches that others wait for, revalidations in the background.
	life    context.Context
	end     context.CancelFunc
	fetches sync.WaitGroup
	// revalidations are under way in the background.
	revalidations atomic.Int64

	clock    clock
	quicks   sync.Pool // of *quick
	shedding shedding
}

// New builds the proxy. It fails on a service that can't be built; nothing is dialed.
func New(o Options) (*Proxy, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Set == nil {
		o.Set = metrics.NewSet()
	}
	if o.Health == nil {
		o.Health = health.New(nil, nil)
	}
	p := &Proxy{opts: o, cache: o.Cache, log: o.Log, meters: newMeters(o.Set), access: newAccessLog(&o), places: newPlaces(o.Places)}
	p.quicks.New = func() any { return &quick{p: p} }
	p.nameHop()
	t, err := newTable(&p.opts, p.meters)
	if err != nil {
		return nil, err
	}
	p.table = t
	p.meters.shedding(p)
	p.life, p.end = context.WithCancel(context.Background())
	return p, nil
}

// Targets are the origins as the health monitor is to probe them.
func (p *Proxy) Targets() []health.Target { return p.table.targets() }

// Close ends the fetches that no client waits for any more and the cache's work in the background, waits until they have, and closes the
// idle connections to origins.
// It is called when the front ends have stopped.
func (p *Proxy) Close() {
	p.end()
	p.fetches.Wait()
	if p.cache != nil {
		p.cache.StopCoding()
	}
	p.table.close()
}

// exchange is one request on its way.
type exchange struct {
	// what came
	ctx context.Context
	w   message.ResponseWriter
	r   *message.Request

	found
	outcome cache.Outcome
	hinted  message.Fields // the links that a 103 of ours had
	held    pieces         // what of the answer is stored, while the rest is fetched

	// what became of it, for record
	body       *requestBody
	origin     *origin
	attempts   int
	status     int // of the final header section, 0 while none was written
	firstByte  time.Time
	sent       int64
	fault      *message.Error
	early      earlyUse
	selfProbe  bool
	stale      bool  // answered with a stale object
	incomplete bool  // the client did not get all of it
	tunnel     bool  // it changed protocols
	got        int64 // of the tunnel, from the client
}

// found is what the steps found that need no origin, in their order.
type found struct {
	place   geo.Place
	located bool
	service *service
	asked   bool // lookup took place
	key     cache.Key
	// keyBuffer is the memory that key may refer to.
	keyBuffer cache.KeyBuffer
	result    cache.Result
}

// Serve takes one request through the steps.
func (p *Proxy) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	x := &exchange{ctx: ctx, w: w, r: r}
	if q, ok := r.State.(*quick); ok { // Quick has gone a part of the way
		r.State, x.found = nil, q.found
		q.keyBuffer = nil // it goes on with the key
		q.release()
	}
	over := false
	defer func() {
		if !over {
			x.panicked()
		}
		p.record(x)
	}()
	if err := p.serve(x); err != nil {
		p.fail(x, err)
	}
	over = true
}

// panicked notes that a step has: the front end answers, or cuts the answer that has begun.
func (x *exchange) panicked() {
	x.fault = &message.Error{Blame: message.BlameEdge, Status: 500, Reason: "internal error"}
	if x.incomplete = x.status != 0; !x.incomplete {
		x.status = 500
	}
}

func (p *Proxy) serve(x *exchange) error {
	if done, err := p.admit(x); done || err != nil {
		return err
	}
	if err := p.route(x); err != nil {
		return err
	}
	if err := p.settle(x); err != nil {
		return err
	}
	err := p.answer(x)
	if x.repeats(err) {
		return p.repeat(x)
	}
	return err
}

// answer takes the exchange from the lookup on.
func (p *Proxy) answer(x *exchange) error {
	if x.r.Upgrade == websocket && x.r.Method == "GET" {
		return p.tunnel(x)
	}
	if x.purges() {
		return p.purge(x)
	}
	x.r.Upgrade = "" // any other is as if it were not there (RFC 9110 §7.8)
	if !x.asked {
		p.lookup(x, time.Now())
	}
	if p.cache != nil {
		x.result = p.cache.Load(x.ctx, time.Now(), x.key, x.r, x.service.policy, x.result)
	}
	switch x.result.State {
	case cache.Hit:
		return p.respondObject(x, x.result.Object)
	case cache.OnlyIfCached:
		if done, err := p.storedSlices(x); done || err != nil {
			return err
		}
		return &message.Error{Blame: message.BlameClient, Status: 504, Reason: "only-if-cached"}
	case cache.Bypass:
		return p.pass(x)
	case cache.Part:
		if x.result.Part.Ask == "" {
			defer x.letGo()
			return p.respondObject(x, x.result.Object)
		}
	case cache.Stale:
		if x.result.ServeStaleWhileRevalidate {
			p.revalidate(x)
			x.stale = true
			return p.respondObject(x, x.result.Object)
		}
	}
	if x.service.policy.Slice > 0 {
		if done, err := p.sliced(x); done || err != nil {
			return err
		}
	}
	return p.fill(x)
}

// asError makes any error one that says whom to blame.
func asError(err error) *message.Error {
	var e *message.Error
	if errors.As(err, &e) {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return clientLeft(err)
	case errors.Is(err, cache.ErrLagging):
		return &message.Error{Blame: message.BlameClient, Status: 499, Reason: "client too slow", Err: err}
	case errors.Is(err, cache.ErrIncomplete):
		return &message.Error{Blame: message.BlameOrigin, Status: 502, Reason: "response body cut", Err: err}
	}
	return &message.Error{Blame: message.BlameEdge, Status: 500, Reason: "internal error", Err: err}
}
