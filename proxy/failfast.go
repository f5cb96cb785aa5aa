package proxy

import (
	"net/http"
	"sync/atomic"
	"time"

	"nearcast/health"
	"nearcast/proxy/message"
)

// SetFailFast says whether requests for a service none of whose origins is up are answered at once: with what is stored, stale too within
// stale_on_disconnect and stale_if_error, else with 503 and Retry-After. Otherwise, and to begin with, every origin is tried before a
// request fails, those that are down last, since the checks may be what is broken; a client then waits for as many timeouts as there are attempts.
//
// It is meant for an edge that holds its route although its origins are gone, since no other region is better off. A service is forwarded as
// always as soon as one of its origins is up; one that is not probed yet counts as that. Once in trialEvery a safe request is tried all the
// same: when an origin answers it, the checks are wrong, and the service is forwarded for trialHolds, and on while origins answer.
//
// It is idempotent and may be called at any time.
func (p *Proxy) SetFailFast(on bool) {
	s := &p.shedding
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failFast = on
	s.publish()
}

const (
	// trialEvery is as often as health probes come by default.
	trialEvery = time.Second
	// trialHolds is longer than trialEvery, so that a service that answers does not fall back between two of its requests.
	trialHolds = 5 * time.Second
)

// noneUp is the reason of requests that failing fast refuses.
const noneUp = "no origin is up"

var errUnreachable = &message.Error{Blame: message.BlameEdge, Status: http.StatusServiceUnavailable, Reason: noneUp}

// trials tell whether a service's origins answer in spite of their checks.
type trials struct {
	next     atomic.Int64 // when the next trial may be, Unix nanoseconds
	answered atomic.Int64 // until when an answer counts
}

// worthTrying reports whether a request of the service may go to an origin while the edge fails fast.
func (p *Proxy) worthTrying(s *service, method string, now time.Time) bool {
	if !p.allDown(s) || now.UnixNano() < s.trials.answered.Load() {
		return true
	}
	next := s.trials.next.Load()
	return safe(method) && now.UnixNano() >= next && s.trials.next.CompareAndSwap(next, now.Add(trialEvery).UnixNano())
}

// allDown reports whether every origin of the service is known to be down.
func (p *Proxy) allDown(s *service) bool {
	snapshot := p.opts.Health.Snapshot()
	for _, o := range s.origins {
		if st := snapshot.Get(o.id); st == nil || st.Status != health.Down {
			return false
		}
	}
	return true
}

// reached notes an origin's answer, where the checks have it that there would be none. Those of an origin that is up say nothing of
// the time after it has gone down.
func (p *Proxy) reached(s *service, status int, now time.Time) {
	if p.shedding.word.Load()&failFastBit != 0 && !staleOnStatus(status) && p.allDown(s) {
		s.trials.answered.Store(now.Add(trialHolds).UnixNano())
	}
}

// unreachable is what a client is told of a failed try while the edge fails fast: that it may come back, as everybody else is told, and not what
// this one try came to.
func (p *Proxy) unreachable(s *service, err error) error {
	if p.shedding.word.Load()&failFastBit == 0 || !p.allDown(s) {
		return err
	}
	if e := asError(err); e.Blame == message.BlameOrigin {
		return &message.Error{Blame: errUnreachable.Blame, Status: errUnreachable.Status, Reason: noneUp, Err: e}
	}
	return err
}
