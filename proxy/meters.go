package proxy

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// MetricHelp says what each metric of this package counts.
var MetricHelp = map[string]string{
	"nearcast_requests_total":                   "Requests answered, by service, protocol and class of the status code; code=\"499\" are clients that left before an answer.",
	"nearcast_refused_requests_total":           "Requests that a front end refused by itself, by protocol and reason.",
	"nearcast_tunnels":                          "Tunnels open (WebSocket).",
	"nearcast_tunnel_bytes_total":               "Bytes that went through tunnels: in from clients, out to them.",
	"nearcast_request_duration_seconds":         "Time from a request's header section to the end of its response.",
	"nearcast_response_bytes_total":             "Bytes of response bodies sent to clients.",
	"nearcast_cache_requests_total":             "Requests by what the cache did for them.",
	"nearcast_revalidations_crowded_out_total":  "Stale responses served without a revalidation in the background, since 1024 were under way.",
	"nearcast_incomplete_responses_total":       "Responses that ended before their end, by who was to blame.",
	"nearcast_shed_requests_total":              "Requests that were not sent to an origin, by reason: uncacheable and miss were refused under load; stale and refresh served what is stored; unreachable: no origin of the service was up.",
	"nearcast_early_requests_total":             "Requests that came in early data, here or at a hop before, by what became of them: served at once, delayed until the handshake was complete, refused with 425, or repeated then after the origin had refused them with 425.",
	"nearcast_shed_share":                       "Share of the requests for an origin that is refused under load, by the kind of work.",
	"nearcast_origin_requests_total":            "Attempts made on an origin.",
	"nearcast_origin_failures_total":            "Attempts on an origin that brought no response, by reason.",
	"nearcast_origin_response_duration_seconds": "Time from an attempt's start to the response's header section.",
	"nearcast_origin_connections_total":         "Exchanges with an origin by the connection they got: a new one, or one that was kept.",
	"nearcast_origin_connections_closed_total":  "HTTP/1.1 connections to an origin that were closed, by reason.",
	"nearcast_origin_limited_total":             "Attempts refused because the origin's max_connections were in use.",
}

const (
	protocolSlots = int(message.HTTP3) + 1 // 0 takes what no front end should send
	blameSlots    = int(message.BlameOrigin) + 1
)

// codeClass is a class of status codes, with the one that is no answer apart.
type codeClass uint8

const (
	code1xx codeClass = iota
	code2xx
	code3xx
	code4xx
	code5xx
	code499
)

var codeWords = [...]string{code1xx: "1xx", code2xx: "2xx", code3xx: "3xx", code4xx: "4xx", code5xx: "5xx", code499: "499"}

func classOf(status int) codeClass {
	switch {
	case status == 499:
		return code499
	case status >= 500 || status < 100:
		return code5xx
	}
	return codeClass(status/100 - 1)
}

var (
	// failureReasons are those of package upstream; another is counted as "other".
	failureReasons = append(upstream.Reasons[:len(upstream.Reasons):len(upstream.Reasons)], "other")
	// durations in seconds: from a memory hit to a response that someone gives up on.
	durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

type meters struct {
	set  *metrics.Set
	none *serviceMeters // requests that no service took

	refusals   refusalMeters
	crowdedOut *metrics.Counter // revalidations
}

// serviceMeters are registered when the service is built, so that every series exists from the start, and none is made or looked up on a request.
type serviceMeters struct {
	requests   [protocolSlots][len(codeWords)]*metrics.Counter
	cache      [len(cacheWords)]*metrics.Counter
	incomplete [blameSlots]*metrics.Counter
	duration   *metrics.PrometheusHistogram
	bytes      *metrics.Counter
	tunnels    *metrics.Gauge
	tunnelIn   *metrics.Counter
	tunnelOut  *metrics.Counter
	shed       [len(shedReasons)]*metrics.Counter
	early      [len(earlyWords)]*metrics.Counter
}

type originMeters struct {
	requests, limited *metrics.Counter
	dialed, reused    *metrics.Counter
	failures, closed  map[string]*metrics.Counter
	duration          *metrics.PrometheusHistogram
}

func newMeters(set *metrics.Set) *meters {
	m := &meters{set: set, crowdedOut: set.GetOrCreateCounter("nearcast_revalidations_crowded_out_total")}
	m.none = m.service("none")
	return m
}

func (m *meters) service(name string) *serviceMeters {
	counter := func(format string, labels ...any) *metrics.Counter {
		return m.set.GetOrCreateCounter(fmt.Sprintf(format, append([]any{name}, labels...)...))
	}
	s := &serviceMeters{
		duration:  m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf(`nearcast_request_duration_seconds{service=%q}`, name), durations),
		bytes:     counter(`nearcast_response_bytes_total{service=%q}`),
		tunnels:   m.set.GetOrCreateGauge(fmt.Sprintf(`nearcast_tunnels{service=%q}`, name), nil),
		tunnelIn:  counter(`nearcast_tunnel_bytes_total{service=%q,direction="in"}`),
		tunnelOut: counter(`nearcast_tunnel_bytes_total{service=%q,direction="out"}`),
	}
	for p := message.HTTP1; p <= message.HTTP3; p++ {
		for code, word := range codeWords {
			s.requests[p][code] = counter(`nearcast_requests_total{service=%q,protocol=%q,code=%q}`, p, word)
		}
	}
	s.requests[0] = s.requests[message.HTTP1]
	for use, word := range cacheWords {
		s.cache[use] = counter(`nearcast_cache_requests_total{service=%q,cache=%q}`, word)
	}
	for w, reason := range shedReasons {
		s.shed[w] = counter(`nearcast_shed_requests_total{service=%q,reason=%q}`, reason)
	}
	for u := earlyServed; int(u) < len(earlyWords); u++ {
		s.early[u] = counter(`nearcast_early_requests_total{service=%q,outcome=%q}`, u)
	}
	for b := range blameSlots {
		s.incomplete[b] = counter(`nearcast_incomplete_responses_total{service=%q,reason=%q}`, message.Blame(b))
	}
	return s
}

// shedding registers what is refused now.
func (m *meters) shedding(p *Proxy) {
	m.set.GetOrCreateGauge(`nearcast_shed_share{work="uncacheable"}`, func() float64 { v, _ := p.Shedding(); return v })
	m.set.GetOrCreateGauge(`nearcast_shed_share{work="miss"}`, func() float64 { _, v := p.Shedding(); return v })
}

func (m *meters) origin(service, url string) *originMeters {
	labels := fmt.Sprintf(`service=%q,origin=%q`, service, url)
	o := &originMeters{
		requests: m.set.GetOrCreateCounter(`nearcast_origin_requests_total{` + labels + `}`),
		limited:  m.set.GetOrCreateCounter(`nearcast_origin_limited_total{` + labels + `}`),
		duration: m.set.GetOrCreatePrometheusHistogramExt(`nearcast_origin_response_duration_seconds{`+labels+`}`, durations),
		dialed:   m.set.GetOrCreateCounter(`nearcast_origin_connections_total{` + labels + `,use="new"}`),
		reused:   m.set.GetOrCreateCounter(`nearcast_origin_connections_total{` + labels + `,use="kept"}`),
		failures: map[string]*metrics.Counter{},
		closed:   map[string]*metrics.Counter{},
	}
	for _, reason := range upstream.CloseReasons {
		o.closed[reason] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_origin_connections_closed_total{%s,reason=%q}`, labels, reason))
	}
	for _, reason := range failureReasons {
		o.failures[reason] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_origin_failures_total{%s,reason=%q}`, labels, reason))
	}
	return o
}

// events counts what happens to the origin's connections.
func (o *originMeters) events() upstream.Events {
	return upstream.Events{Dialed: o.dialed.Inc, Reused: o.reused.Inc, Limited: o.limited.Inc, Closed: func(reason string) {
		if c := o.closed[reason]; c != nil {
			c.Inc()
		}
	}}
}

func (o *originMeters) attempted(took time.Duration, err error) {
	o.requests.Inc()
	if err == nil {
		o.duration.Update(took.Seconds())
	}
}

func (o *originMeters) failed(e *message.Error) {
	if e.Blame != message.BlameOrigin {
		return
	}
	c, ok := o.failures[e.Reason]
	if !ok {
		c = o.failures["other"]
	}
	c.Inc()
}

func (s *serviceMeters) answered(p message.Protocol, status int) {
	if int(p) >= protocolSlots {
		p = 0
	}
	s.requests[p][classOf(status)].Inc()
}

func (s *serviceMeters) observe(x *exchange, took time.Duration) {
	s.answered(x.r.Protocol, x.status)
	s.noteEarly(x)
	if x.asked {
		s.cache[x.cacheUse()].Inc()
	}
	if x.incomplete {
		blame := message.BlameClient
		if x.fault != nil {
			blame = x.fault.Blame
		}
		s.incomplete[blame].Inc()
	}
	if x.tunnel { // whose time says nothing about how fast anything is
		return
	}
	s.bytes.AddInt64(x.sent)
	s.duration.Update(took.Seconds())
}

// maxRefusalSeries bounds the pairs of protocol and reason that are counted apart. The reasons are fixed phrases of the front ends.
const maxRefusalSeries = 256

// refusalMeters count what front ends refused.
type refusalMeters struct {
	mu     sync.Mutex
	series map[refusalKey]*metrics.Counter
}

type refusalKey struct {
	protocol message.Protocol
	reason   string
}

func (m *meters) refused(x *message.Refusal) {
	if x.Status != 0 {
		m.none.answered(x.Protocol, x.Status)
	}
	key := refusalKey{x.Protocol, x.Reason}
	r := &m.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.series[key]
	if c == nil {
		key.reason = strings.Clone(key.reason) // it may be a part of something large
		if len(r.series) >= maxRefusalSeries {
			key.reason = "other"
		}
		c = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_refused_requests_total{protocol=%q,reason=%q}`, key.protocol, key.reason))
		if r.series == nil {
			r.series = map[refusalKey]*metrics.Counter{}
		}
		r.series[key] = c
	}
	c.Inc()
}
