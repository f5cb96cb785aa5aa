package cache

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"nearcast/proxy/message"
)

// NegativeTTLs are lifetimes of errors that state no freshness of their own, by status ("404") or class ("4xx", "5xx"); a status goes before
// its class, and 0s excepts it. What the origin says of freshness goes before both, and what forbids storing still does.
//
// A class means the statuses that are about the resource, whoever asks and however: 404, 405, 410 and 451; 500 to 504, 507 and 508. Others must
// be named, and 407, 412, 416 and 425, which are about one client or one request, can't be.
type NegativeTTLs map[string]time.Duration

const (
	// maxNegative bounds the lifetime of a 4xx, maxNegative5xx that of a 5xx.
	maxNegative    = 24 * time.Hour
	maxNegative5xx = 10 * time.Minute
)

// Validate calls report with the key and the fault of each value that can't be.
func (n NegativeTTLs) Validate(report func(key, fault string)) {
	for _, key := range slices.Sorted(maps.Keys(n)) {
		ttl, most := n[key], maxNegative
		if key[:min(len(key), 1)] == "5" {
			most = maxNegative5xx
		}
		switch {
		case key != "4xx" && key != "5xx" && !isErrorStatus(key):
			report(key, `must be a status from 400 to 599, "4xx" or "5xx"`)
		case key == "407", key == "412", key == "416", key == "425":
			report(key, "can't be: it is about one client or one request, and not stored")
		case ttl < 0:
			report(key, "must not be negative")
		case ttl > most:
			report(key, fmt.Sprintf("must be at most %v", most))
		}
	}
}

func isErrorStatus(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && len(s) == 3 && n >= 400 && n <= 599
}

// of is the lifetime of an error with that status; false when none is set.
func (n NegativeTTLs) of(status int) (ttl time.Duration, ok bool) {
	if len(n) == 0 || status < 400 {
		return 0, false
	}
	if ttl, ok = n[strconv.Itoa(status)]; !ok {
		ttl = n[classOf(status)]
	}
	return ttl, ttl > 0
}

// classOf is the class that speaks for a status; "" when it must be named.
func classOf(status int) string {
	switch status {
	case 404, 405, 410, 451:
		return "4xx"
	case 500, 501, 502, 503, 504, 507, 508:
		return "5xx"
	}
	return ""
}

// outlives reports whether something is stored that may serve longer than an error with that status would be of use: it then stays, and
// the error is not stored in its place.
func (f *Fill) outlives(r *message.Request, resp *Response, p *Policy) bool {
	if _, negative := p.Negative.of(resp.Status); !negative || resp.Status < 500 {
		return false
	}
	s := f.c.shard(f.hash)
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := f.stored(s, r)
	if e == nil || e.obj.Status >= 500 {
		return false
	}
	res := judge(resp.Received, e.obj, &noDirectives, p)
	return res.State == Hit || res.ServeStaleWhileRevalidate || res.ServeStaleOnError
}
