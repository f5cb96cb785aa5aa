package proxy

import (
	"fmt"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// MetricHelp says what each metric of this package counts.
var MetricHelp = map[string]string{
	"nearcast_requests_total":                   "Requests answered, by service, protocol and class of the status code; code=\"499\" are clients that left before an answer.",
	"nearcast_request_duration_seconds":         "Time from a request's header section to the end of its response.",
	"nearcast_response_bytes_total":             "Bytes of response bodies sent to clients.",
	"nearcast_cache_requests_total":             "Requests by what the cache did for them.",
	"nearcast_incomplete_responses_total":       "Responses that ended before their end, by who was to blame.",
	"nearcast_origin_requests_total":            "Attempts made on an origin.",
	"nearcast_origin_failures_total":            "Attempts on an origin that brought no response, by reason.",
	"nearcast_origin_response_duration_seconds": "Time from an attempt's start to the response's header section.",
	"nearcast_origin_limited_total":             "Attempts refused because the origin's max_connections were in use.",
}

var (
	protocols   = []message.Protocol{message.HTTP1, message.HTTP2, message.HTTP3}
	codeClasses = []string{"2xx", "3xx", "4xx", "5xx", "499"}
	// failureReasons are those of package upstream; another is counted as "other".
	failureReasons = []string{"connection refused", "connect timeout", "connect failed", "connection closed", "response timeout", "malformed response", "other"}
	blames         = []message.Blame{message.BlameEdge, message.BlameClient, message.BlameOrigin}
	// durations in seconds: from a memory hit to a response that someone gives up on.
	durations = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
)

type meters struct {
	set  *metrics.Set
	none *serviceMeters // requests that no service took
}

// serviceMeters are registered when the service is built, so that every series exists from the start and none is made on a request.
type serviceMeters struct {
	requests   map[message.Protocol]map[string]*metrics.Counter
	cache      map[string]*metrics.Counter
	incomplete map[message.Blame]*metrics.Counter
	duration   *metrics.PrometheusHistogram
	bytes      *metrics.Counter
}

type originMeters struct {
	requests, limited *metrics.Counter
	failures          map[string]*metrics.Counter
	duration          *metrics.PrometheusHistogram
}

func newMeters(set *metrics.Set) *meters {
	m := &meters{set: set}
	m.none = m.service("none")
	return m
}

func (m *meters) service(name string) *serviceMeters {
	s := &serviceMeters{
		requests:   map[message.Protocol]map[string]*metrics.Counter{},
		cache:      map[string]*metrics.Counter{},
		incomplete: map[message.Blame]*metrics.Counter{},
		duration:   m.set.GetOrCreatePrometheusHistogramExt(fmt.Sprintf(`nearcast_request_duration_seconds{service=%q}`, name), durations),
		bytes:      m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_response_bytes_total{service=%q}`, name)),
	}
	for _, p := range protocols {
		s.requests[p] = map[string]*metrics.Counter{}
		for _, code := range codeClasses {
			s.requests[p][code] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_requests_total{service=%q,protocol=%q,code=%q}`, name, p, code))
		}
	}
	for _, word := range cacheWords {
		s.cache[word] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_cache_requests_total{service=%q,cache=%q}`, name, word))
	}
	for _, b := range blames {
		s.incomplete[b] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_incomplete_responses_total{service=%q,reason=%q}`, name, b))
	}
	return s
}

func (m *meters) origin(service, url string) *originMeters {
	labels := fmt.Sprintf(`service=%q,origin=%q`, service, url)
	o := &originMeters{
		requests: m.set.GetOrCreateCounter(`nearcast_origin_requests_total{` + labels + `}`),
		limited:  m.set.GetOrCreateCounter(`nearcast_origin_limited_total{` + labels + `}`),
		duration: m.set.GetOrCreatePrometheusHistogramExt(`nearcast_origin_response_duration_seconds{`+labels+`}`, durations),
		failures: map[string]*metrics.Counter{},
	}
	for _, reason := range failureReasons {
		o.failures[reason] = m.set.GetOrCreateCounter(fmt.Sprintf(`nearcast_origin_failures_total{%s,reason=%q}`, labels, reason))
	}
	return o
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

func (s *serviceMeters) observe(x *exchange, took time.Duration) {
	if byCode, ok := s.requests[x.r.Protocol]; ok {
		byCode[codeClass(x.status)].Inc()
	}
	if x.asked {
		s.cache[cacheWord(x)].Inc()
	}
	if x.incomplete {
		blame := message.BlameClient
		if x.fault != nil {
			blame = x.fault.Blame
		}
		s.incomplete[blame].Inc()
	}
	s.bytes.AddInt64(x.sent)
	s.duration.Update(took.Seconds())
}

func codeClass(status int) string {
	switch {
	case status == 499:
		return "499"
	case status >= 500 || status < 200:
		return "5xx"
	case status >= 400:
		return "4xx"
	case status >= 300:
		return "3xx"
	}
	return "2xx"
}
