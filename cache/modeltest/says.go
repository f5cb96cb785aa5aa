package modeltest

import (
	"strings"
	"time"

	"nearcast/proxy/message"
)

// flag is a directive without an argument: said is what the grammar says it says, perhaps what a wary reader may make of it.
type flag struct{ said, perhaps bool }

// span is a lifetime that readers may take for any value from lo to hi.
type span struct {
	there  bool
	lo, hi time.Duration
}

// says is what a response says about its caching, or a request about what it will take.
type says struct {
	noStore, noCache, private, public, mustRevalidate, proxyRevalidate, mustUnderstand, onlyIfCached flag

	maxAge, sMaxAge, swr, sie, maxStale, minFresh span

	hidden   []string // fields that a qualified no-cache or private keeps out (RFC 9111 §5.2.2.4, §5.2.2.7)
	targeted bool     // CDN-Cache-Control counts, and not Expires
	doubtful bool     // a field that no two readers read alike
}

const anyStale = 1 << 32 * time.Second // longer than any lifetime

// responseSays reads a response: the targeted field when it can be read and is not empty, else Cache-Control (RFC 9213 §2.2).
func responseSays(f message.Fields, p Policy) says {
	if ds, ok := Targeted(Lines(f, "cdn-cache-control")); ok && p.Targeted {
		s := gather(ds)
		s.targeted = true
		return s
	}
	ds, whole := CacheControl(Lines(f, "cache-control"))
	s := gather(ds)
	s.doubtful = !whole
	return s
}

// requestSays reads a request. Pragma counts where there is no Cache-Control (RFC 9111 §5.4).
func requestSays(f message.Fields) says {
	lines := Lines(f, "cache-control")
	ds, whole := CacheControl(lines)
	s := gather(ds)
	s.doubtful = !whole
	if members, _ := List(Lines(f, "pragma")); len(lines) == 0 {
		for _, m := range members {
			if strings.EqualFold(m, "no-cache") {
				s.noCache = flag{true, true}
			}
		}
	}
	return s
}

// gather adds the directives up.
func gather(ds []Directive) (s says) {
	flags := map[string]*flag{
		"no-store": &s.noStore, "no-cache": &s.noCache, "private": &s.private, "public": &s.public, "must-revalidate": &s.mustRevalidate,
		"proxy-revalidate": &s.proxyRevalidate, "must-understand": &s.mustUnderstand, "only-if-cached": &s.onlyIfCached,
	}
	spans := map[string]*span{
		"max-age": &s.maxAge, "s-maxage": &s.sMaxAge, "stale-while-revalidate": &s.swr, "stale-if-error": &s.sie,
		"max-stale": &s.maxStale, "min-fresh": &s.minFresh,
	}
	for _, d := range ds {
		if p := flags[d.Name]; p != nil {
			s.flag(p, d)
		}
		if p := spans[d.Name]; p != nil {
			p.add(d)
		}
		s.doubtful = s.doubtful || d.Bad
	}
	return s
}

func (s *says) flag(p *flag, d Directive) {
	qualified := (d.Name == "no-cache" || d.Name == "private") && d.HasValue && !d.Bad
	names, _ := List([]string{d.Value})
	switch {
	case qualified && len(names) > 0:
		for _, n := range names {
			s.hidden = append(s.hidden, strings.ToLower(n))
		}
	case d.HasValue: // an argument that the grammar does not have
		p.perhaps = true
	default:
		*p = flag{true, true}
	}
}

// add notes one occurrence. Of several the first counts, or the response is stale; one that can't be read is stale (RFC 9111 §4.2.1).
func (p *span) add(d Directive) {
	v, ok := Delta(d.Value)
	switch {
	case d.Name == "max-stale" && !d.HasValue:
		v, ok = anyStale, true // RFC 9111 §5.2.1.2
	case d.Bad || !ok:
		v = 0
	}
	if p.there {
		p.lo = 0
		return
	}
	*p = span{true, v, v}
}
