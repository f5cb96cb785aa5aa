package proxy

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// Load is how hard pressed the edge is, as far as the proxy acts on it.
type Load uint8

// The loads, in their order.
const (
	LoadOK Load = iota
	LoadHigh
	LoadCritical
)

// work is what a request would have an origin do, in the order in which it is shed.
type work uint8

const (
	// workStale would validate a stored response that may serve without: nobody is refused anything.
	workStale work = iota
	// workRefresh is a revalidation in the background, whose client has its answer.
	workRefresh
	// workPass is nobody else's: what is not cacheable, or was not when it was last asked for; tunnels.
	workPass
	// workFill may be stored, and so spares the origin and this edge the next such request. It is shed last.
	workFill
	workKinds
)

// shedReasons are the words of the metric's label reason: by work, and shedUnreachable.
var shedReasons = [...]string{workStale: "stale", workRefresh: "refresh", workPass: "uncacheable", workFill: "miss", shedUnreachable: "unreachable"}

// shedUnreachable stands for what failing fast refuses.
const shedUnreachable = workKinds

// How the share that is shed moves, a second. It rises in small steps, since each of them shows in the load only after a while, and falls in such
// that what comes back does not bring the load back with it before that shows.
const (
	shedRise         = 0.05
	shedRiseCritical = 0.2
	shedFall         = 0.1
	shedFallFills    = 0.2  // of fills, which come back first
	shedEase         = 0.01 // while the load has not ended and is below its threshold: no more than is needed is shed
)

// The pressure is one number: up to 1 it is the share of uncacheable work that is shed, and what exceeds 1 is that of fills.
const (
	// pressureHigh leaves a tenth of the uncacheable work: as long as the edge is not about to fail, nothing is dark.
	pressureHigh     = 0.9
	pressureCritical = 2.0
)

// maxElapsed bounds the time that one look at the load may count for: after a process was stopped, nothing is known of the time between.
const maxElapsed = 5 * time.Second

// nextPressure moves the pressure. held is the load with hysteresis, latest that of the latest sample alone: while the first is
// high and the second is not, what is shed is enough, and perhaps too much. It is pure.
func nextPressure(pressure float64, elapsed time.Duration, held, latest Load) float64 {
	t := min(elapsed, maxElapsed).Seconds()
	limit := 0.0
	switch {
	case held == LoadCritical:
		limit = pressureCritical
	case held == LoadHigh:
		limit = pressureHigh
	case latest > LoadOK: // it has begun to rise again
		limit = pressure
	}
	if over := pressure - max(limit, 1); over > 0 {
		fall := min(over, shedFallFills*t)
		pressure -= fall
		t -= fall / shedFallFills
	}
	if pressure > limit {
		return max(pressure-shedFall*t, limit)
	}
	switch latest {
	case LoadOK:
		return max(pressure-shedEase*t, 0)
	case LoadHigh:
		pressure += shedRise * t
	case LoadCritical:
		pressure += shedRiseCritical * t
	}
	return min(pressure, limit)
}

// shares are the parts of a thousand of uncacheable work and of fills that are shed.
func shares(pressure float64) (passes, fills uint32) {
	return uint32(min(pressure, 1)*shareUnit + 0.5), uint32(max(pressure-1, 0)*shareUnit + 0.5)
}

const shareUnit = 1000

// due spreads a share evenly: of any thousand turns in a row exactly so many are. Who is refused and asks again finds another turn.
func due(turn, share uint32) bool { return uint64(turn)*uint64(share)%shareUnit < uint64(share) }

// shedding is what requests on their way to an origin look at: one word, 0 while everything may go there.
type shedding struct {
	word atomic.Uint32 // the shares, passes above fills; failFast

	mu       sync.Mutex
	pressure float64
	failFast bool
}

const (
	failFastBit = 1 << 31
	shareBits   = 10 // a thousand fits
	shareMask   = 1<<shareBits - 1
)

// publish is called with mu held.
func (s *shedding) publish() {
	passes, fills := shares(s.pressure)
	w := passes<<shareBits | fills
	if s.failFast {
		w |= failFastBit
	}
	s.word.Store(w)
}

// share is what of a kind of work a word says is to be shed.
func share(word uint32, w work) uint32 {
	if w == workFill {
		return word & shareMask
	}
	return word >> shareBits & shareMask
}

// ObserveLoad tells the proxy how hard pressed the edge is. It is called once for each look at the load, elapsed after the one before: the share
// of the requests for an origin that is refused follows from that. held is the load with hysteresis, latest that of the latest look alone.
//
// Hits are never refused, nor are the edge's own probes. First to be shed is uncacheable work, a growing part of it while the load lasts, nine tenths at most
// with LoadHigh; with LoadCritical all of it, and then fills too. What is stored and stale serves instead where its directives let it serve
// when no origin can be reached (stale_on_disconnect, stale-if-error); everything else gets 503 with Retry-After.
func (p *Proxy) ObserveLoad(elapsed time.Duration, held, latest Load) {
	s := &p.shedding
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pressure = nextPressure(s.pressure, elapsed, held, latest)
	s.publish()
}

// Shedding are the shares of uncacheable work and of fills that are refused now, from 0 to 1.
func (p *Proxy) Shedding() (uncacheable, fills float64) {
	w := p.shedding.word.Load()
	return float64(share(w, workPass)) / shareUnit, float64(share(w, workFill)) / shareUnit
}

// reasonOverload is the reason of requests that are shed.
const reasonOverload = "overload"

var errOverload = &message.Error{Blame: message.BlameEdge, Status: http.StatusServiceUnavailable, Reason: reasonOverload}

// refusal says why a request is not to go to an origin, nil when it may. While the edge is well it costs one atomic load.
func (p *Proxy) refusal(x *exchange, w work) *message.Error {
	word := p.shedding.word.Load()
	if word == 0 {
		return nil
	}
	s := x.service
	if word&failFastBit != 0 && !p.worthTrying(s, x.r.Method, time.Now()) {
		s.meters.shed[shedUnreachable].Inc()
		return errUnreachable
	}
	if n := share(word, w); n > 0 && due(s.turns[w].Add(1), n) {
		s.meters.shed[w].Inc()
		return errOverload
	}
	return nil
}

// refusedFill is refusal for a fetch that others may share. p.refused asks the cache, so it is only asked under load.
func (p *Proxy) refusedFill(x *exchange) *message.Error {
	switch {
	case p.shedding.word.Load() == 0:
		return nil
	case x.result.ServeStaleOnDisconnect:
		return p.refusal(x, workStale)
	case p.refused(x):
		return p.refusal(x, workPass)
	}
	return p.refusal(x, workFill)
}

// unanswered notes for Cache-Status and the log that the store was not used, nor an origin.
func (x *exchange) unanswered(e *message.Error) {
	x.result.Object, x.outcome.Reason = nil, cache.ReasonDisconnected
	if e.Reason == reasonOverload {
		x.outcome.Reason = cache.ReasonOverload
	}
}
