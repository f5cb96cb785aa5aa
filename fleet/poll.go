package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// selfInterval is the time between two questions to an address that was our own: the network may lead elsewhere one day.
const selfInterval = time.Minute

// poller asks one address. Its own goroutine owns it.
type poller struct {
	f    *Fleet
	i    int // of the peer in the view
	link link

	toldRegion, toldEdge bool // what is told once has been
}

// run asks, interval after interval, until ctx ends. One question is under way at a time. The first waits a random part of the interval,
// and every interval is a little longer or shorter, so that the questions of many edges spread out.
func (p *poller) run(ctx context.Context) {
	defer p.link.close()
	timer := time.NewTimer(rand.N(p.f.config.Interval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		outcome := p.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := jitter(p.f.config.Interval)
		if outcome == OutcomeSelf {
			p.link.close()
			wait = selfInterval
		}
		timer.Reset(max(0, wait-time.Since(start)))
	}
}

// jitter is d, more or less a tenth.
func jitter(d time.Duration) time.Duration { return d - d/10 + rand.N(d/5+1) }

// ask puts one question and notes what came of it, unless ctx has ended: then it says nothing.
func (p *poller) ask(ctx context.Context) Outcome {
	f := p.f
	q, keys := newQuestion(f.self.Edge), f.keys.get()
	reply, err := p.link.ask(ctx, q, keys.signQuestion(q))
	var report *Report
	if err == nil {
		report, err = f.judge(f.targets[p.i].Region, q, keys, reply)
	}
	if ctx.Err() != nil {
		return OutcomeNone
	}
	outcome := OutcomeAnswered
	if err != nil {
		outcome = outcomeOf(err)
	}
	f.metrics[p.i].outcomes[outcome].Inc()
	p.tell(outcome, report, err)
	now := time.Now()
	f.update(p.i, func(peer *Peer) *Peer {
		switch outcome {
		case OutcomeAnswered:
			return peer.answered(now, reply.rtt, report)
		case OutcomeSelf:
			return peer.own(now)
		}
		return peer.failed(now, outcome, err)
	})
	return outcome
}

// judge decides whether an answer is one to believe.
func (f *Fleet) judge(region string, q question, keys *keyring, r reply) (*Report, error) {
	if err := keys.verifyAnswer(q, r.body, r.mac); err != nil {
		return nil, &Error{OutcomeNotAuthentic, err}
	}
	report, err := decodeReport(r.body)
	switch {
	case errors.Is(err, errOldVersion):
		return nil, &Error{OutcomeOldVersion, err}
	case err != nil:
		return nil, &Error{OutcomeMalformed, err}
	case report.Instance == f.instance:
		return nil, &Error{OutcomeSelf, errors.New("the address is our own")}
	case report.Region != region:
		return nil, &Error{OutcomeWrongRegion, fmt.Errorf("the edge %s says that it stands in %s, not in %s", report.Edge, report.Region, region)}
	}
	return report, nil
}

// tell logs, once for each address, what must be a slip in somebody's configuration.
func (p *poller) tell(outcome Outcome, report *Report, err error) {
	t, before := p.f.targets[p.i], p.f.View().Peers[p.i].Edge
	switch {
	case outcome == OutcomeSelf:
		p.f.log.Debug("an address in regions.*.edges is our own", "address", t.Address)
	case outcome == OutcomeWrongRegion && !p.toldRegion:
		p.toldRegion = true
		p.f.log.Warn("an edge stands in another region than regions.*.edges has it in; its answers do not count", "address", t.Address, "error", err)
	case outcome == OutcomeAnswered && before != "" && before != report.Edge:
		p.f.metrics[p.i].otherEdge.Inc()
		if !p.toldEdge {
			p.toldEdge = true
			p.f.log.Warn("another edge than before answers at the address; each edge must have an address of its own",
				"address", t.Address, "was", before, "name", report.Edge)
		}
	}
}
