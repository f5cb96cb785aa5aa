package load

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// targets are the things that may be asked for. All connections share one; each has a chooser of its own.
type targets struct {
	sizes  []int64
	forms  [][]part // one for each size, or a single one
	keys   *zipf    // nil for a single key
	nonce  string
	method string

	asked       atomic.Uint64 // requests chosen so far
	missPer1e9  uint64        // how many of 1e9 requests are misses
	wordInQuery bool          // a miss adds its word to the query
	separator   byte          // before that
}

// part is a piece of a path: text, or where a key goes.
type part struct {
	text string
	key  bool
}

// pick is one chosen target.
type pick struct {
	form int32
	key  uint32
	miss uint64 // which miss it is, from 1; 0 for none
}

func newTargets(p *plan) *targets {
	// The URL's own spelling is kept: what is escaped in it stays so.
	path := p.URL[strings.Index(p.URL, "://")+3:]
	path, _, _ = strings.Cut(path, "#")
	if i := strings.IndexAny(path, "/?"); i < 0 {
		path = "/"
	} else if path = path[i:]; path[0] == '?' {
		path = "/" + path
	}
	t := &targets{sizes: p.Sizes, nonce: p.nonce, method: p.Method, separator: '?',
		missPer1e9: uint64(p.MissRatio*1e9 + 0.5), wordInQuery: !strings.Contains(path, "{key}")}
	if strings.Contains(path, "?") {
		t.separator = '&'
	}
	if t.nonce == "" {
		t.nonce = strconv.FormatUint(rand.Uint64(), 36)
	}
	if p.Keys > 1 {
		t.keys = newZipf(p.Keys, p.Zipf)
	}
	if len(p.Sizes) == 0 {
		t.forms = [][]part{split(path)}
	}
	for _, s := range p.Sizes {
		t.forms = append(t.forms, split(strings.ReplaceAll(path, "{size}", strconv.FormatInt(s, 10))))
	}
	return t
}

// split cuts a path at its {key}s.
func split(path string) (parts []part) {
	for {
		before, after, found := strings.Cut(path, "{key}")
		if before != "" {
			parts = append(parts, part{text: before})
		}
		if !found {
			return parts
		}
		parts, path = append(parts, part{key: true}), after
	}
}

// appendPath appends the path and query of a target.
func (t *targets) appendPath(b []byte, p pick) []byte {
	for _, part := range t.forms[p.form] {
		switch {
		case !part.key:
			b = append(b, part.text...)
		case p.miss != 0:
			b = t.appendWord(b, p)
		default:
			b = strconv.AppendUint(b, uint64(p.key), 10)
		}
	}
	if p.miss != 0 && t.wordInQuery {
		b = append(b, t.separator)
		b = append(b, "miss="...)
		b = t.appendWord(b, p)
	}
	return b
}

// appendWord appends the word that makes a miss new.
func (t *targets) appendWord(b []byte, p pick) []byte {
	b = append(b, t.nonce...)
	b = append(b, '-')
	return strconv.AppendUint(b, p.miss, 10)
}

// wantLength is the length that the body of a target's response must have, -1 when any will do.
func (t *targets) wantLength(p pick) int64 {
	if len(t.sizes) == 0 || t.method == http.MethodHead {
		return -1
	}
	return t.sizes[p.form]
}

// chooser chooses targets for one connection.
type chooser struct {
	*targets
	random rand.PCG
}

func (t *targets) chooser(seed, connection uint64) *chooser {
	return &chooser{targets: t, random: *rand.NewPCG(seed, connection)}
}

// next chooses. The misses are spread evenly over all requests of the run: of the first n, n times the ratio are misses, rounded down.
func (c *chooser) next() (p pick) {
	if len(c.forms) > 1 {
		p.form = int32(below(&c.random, uint32(len(c.forms))))
	}
	if c.missPer1e9 > 0 {
		n := c.asked.Add(1)
		if before, after := share(n-1, c.missPer1e9), share(n, c.missPer1e9); after > before {
			p.miss = after
			return p
		}
	}
	if c.keys != nil {
		p.key = c.keys.next(&c.random)
	}
	return p
}

// share is n times per1e9 divided by 1e9, without overflow for every n that a run can reach.
func share(n, per1e9 uint64) uint64 {
	const billion = 1e9
	return n/billion*per1e9 + n%billion*per1e9/billion
}

// below is a number less than n; its bias of at most n/2^32 does not matter here.
func below(r *rand.PCG, n uint32) uint32 { return uint32(r.Uint64() >> 32 * uint64(n) >> 32) }
