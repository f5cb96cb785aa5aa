package cache

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

// mix is an origin whose every byte says which fetch brought it, and a cache with a disk that stores it in every form there is.
type mix struct {
	*onDisk
	rnd     *rand.Rand
	step    int
	fetches []mixFetch // by the byte
	log     []mixPurge
	pending []mixPending
	served  map[string]int
}

type mixFetch struct {
	path             string
	began, confirmed int // confirmed: when the fetch began that a 304 answered last
}

type mixPurge struct {
	at     int
	what   string
	unsafe bool // a 304 may bring back what it took
	covers func(path string) bool
}

type mixPending struct {
	n     int
	kind  string // whole, part, slice, 304
	r     *message.Request
	f     *Fill
	held  *Object // of a 304; its fetch has begun when f is there
	rg    Range
	began int
}

const (
	mixLength = 4096
	mixSlice  = 1024
)

func (m *mix) request() *message.Request { return get(fmt.Sprint("/", m.rnd.IntN(4))) }

// fresh fails when bytes are from before a hard purge that concerns them.
func (m *mix) fresh(how, path string, b []byte) {
	m.Helper()
	m.served[how]++
	seen := [256]bool{}
	for _, n := range b {
		if seen[n] {
			continue
		}
		seen[n] = true
		f := &m.fetches[n]
		if f.path != path {
			m.Fatalf("step %d: %s of %s is of %s", m.step, how, path, f.path)
		}
		for _, p := range m.log {
			if since := f.began; p.covers(path) && (p.unsafe && p.at > max(since, f.confirmed) || !p.unsafe && p.at > since) {
				m.Fatalf("step %d: %s of %s is of the fetch of step %d, purged in step %d by %s", m.step, how, path, since, p.at, p.what)
			}
		}
	}
}

func (m *mix) purge() {
	path := fmt.Sprint("/", m.rnd.IntN(4))
	soft := m.rnd.IntN(3) == 0
	now := time.Now()
	p := mixPurge{at: m.step, covers: func(of string) bool { return of == path }}
	switch m.rnd.IntN(9) {
	case 0:
		p.what, p.covers = "all", func(string) bool { return true }
		m.PurgeAll(now, []string{"", "shop"}[m.rnd.IntN(2)], soft)
	case 1, 2:
		p.what = "tag"
		m.PurgeTag(now, "", "T"+path, soft)
	case 3, 4:
		p.what = "prefix"
		m.PurgePrefix(now, "shop", "https://shop.example.com"+path, soft)
	case 5, 6:
		p.what = "url"
		m.PurgeURL(now, m.key(get(path)), soft)
	default:
		p.what, p.unsafe, soft = "an unsafe method", true, false
		m.Invalidate("shop", request("POST", path), m.policy, 200, nil)
	}
	if !soft {
		m.log = append(m.log, p)
	}
}

// begin begins a fetch of one kind or another.
func (m *mix) begin() {
	if len(m.fetches) == 256 {
		return
	}
	p := mixPending{n: len(m.fetches), r: m.request(), began: m.step}
	now, key, leader := time.Now(), m.key(p.r), false
	switch m.rnd.IntN(4) {
	case 0:
		p.kind = "whole"
		p.f, leader = m.Begin(now, key, p.r)
	case 1:
		p.kind = "part"
		from := int64(m.rnd.IntN(mixLength))
		p.rg = Range{from, from + 1 + m.rnd.Int64N(mixLength-from)}
		ask := rangeSpec{p.rg.Start, p.rg.End - 1}
		p.r.Fields.Add("range", ask.String())
		p.f, leader = m.BeginPart(now, key, p.r, ask.String())
	case 2:
		p.kind = "slice"
		n := m.rnd.Int64N(mixLength / mixSlice)
		p.rg = Range{n * mixSlice, (n + 1) * mixSlice}
		p.f, leader = m.BeginSlice(now, key, p.r, n, mixSlice)
	default:
		p.kind = "304"
		p.r.Fields.Add("cache-control", "no-cache")
		res := m.find(p.r)
		p.held, leader = res.Object, res.Object != nil && res.Object.Status == 200
	}
	if leader {
		m.fetches = append(m.fetches, mixFetch{path: p.r.Target.Path, began: m.step})
		m.pending = append(m.pending, p)
	}
}

// end brings a fetch to its end, in one step or, of a 304, begins it first.
func (m *mix) end() {
	if len(m.pending) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.pending))
	p := &m.pending[i]
	if p.kind == "304" && p.f == nil {
		f, leader := m.Begin(time.Now(), m.key(p.r), p.r)
		if p.f, p.began = f, m.step; leader && m.rnd.IntN(2) == 0 {
			return // it goes on later
		}
		if !leader {
			m.pending = append(m.pending[:i], m.pending[i+1:]...)
			return
		}
	}
	done := *p
	m.pending = append(m.pending[:i], m.pending[i+1:]...)
	defer done.f.Fail(nil)
	now, path := time.Now(), done.r.Target.Path
	lines := []string{"Cache-Control: max-age=3600", `ETag: "1"`, "Content-Type: text/html", "Surrogate-Key: t" + path, fmt.Sprintf("Link: </%d>; rel=preload", done.n)}
	resp := answer(200, lines...).at(now)
	resp.Length = mixLength
	var w *Writer
	switch done.kind {
	case "304":
		old := m.body304(done.held)
		if o := done.f.NotModified(done.r, answer(304, "Cache-Control: max-age=3600").at(now), done.held, m.policy); o != nil {
			for _, n := range old {
				m.fetches[n].confirmed = max(m.fetches[n].confirmed, done.began)
			}
		}
		if o := m.waited(done.f, path); o != nil {
			m.fresh("a shared 304", path, m.body304(o))
		}
		return
	case "whole":
		done.f.NoteHints(done.r, &resp, m.policy)
		w, _ = done.f.Respond(done.r, resp, m.policy)
	default:
		resp.Status, resp.Length = 206, done.rg.End-done.rg.Start
		resp.Fields.Add("content-range", done.rg.ContentRange(mixLength))
		if done.kind == "part" {
			w, _ = done.f.RespondPart(done.r, resp, nil, m.policy)
		} else {
			w, _ = done.f.RespondSlice(done.r, resp, m.policy)
		}
	}
	if w == nil {
		return
	}
	_, _ = w.Write(bytes.Repeat([]byte{byte(done.n)}, int(resp.Length)))
	if o := m.join(path); o == w.Object() {
		m.fresh("what arrives", path, []byte{byte(done.n)})
	}
	w.Commit(nil)
}

// join is what somebody gets who comes now, and waits for another's fetch.
func (m *mix) join(path string) *Object {
	r := get(path)
	f, leader := m.Begin(time.Now(), m.key(r), r)
	if leader {
		f.Fail(nil)
		return nil
	}
	select {
	case <-f.decided:
		o, _, _ := f.Wait(context.Background(), r)
		return o
	default: // what is not known yet is not waited for
		return nil
	}
}

// waited is what those get who have waited for a fetch; nil after an unsafe method, as they came before it.
func (m *mix) waited(f *Fill, path string) *Object {
	for _, p := range m.log {
		if p.unsafe && p.covers(path) {
			return nil
		}
	}
	o, _, _ := f.Wait(context.Background(), get(path))
	return o
}

func (m *mix) body304(o *Object) []byte { return []byte(m.body(o, Whole)) }

// look asks for something in one of the ways that clients do.
func (m *mix) look() {
	r := m.request()
	path, now := r.Target.Path, time.Now()
	for _, link := range m.Hints(m.key(r), r).Values("link") {
		var n byte
		if _, err := fmt.Sscanf(link, "</%d>", &n); err != nil {
			m.Fatal(link)
		}
		m.fresh("a hint", path, []byte{n})
	}
	if n := m.rnd.Int64N(mixLength / mixSlice); m.rnd.IntN(2) == 0 {
		if res := m.Slice(now, m.key(r), r, n, m.policy); res.State == Hit {
			m.fresh("a slice", path, []byte(m.body(res.Object, Range{n * mixSlice, (n + 1) * mixSlice})))
		}
	}
	ranged := m.rnd.IntN(2) == 0
	if from := m.rnd.IntN(mixLength - 9); ranged {
		r.Fields.Add("range", fmt.Sprintf("bytes=%d-%d", from, from+8))
	}
	res := m.find(r)
	switch {
	case res.Part != nil:
		for _, piece := range res.Part.Pieces {
			if piece.Object != nil {
				m.fresh("a part", path, []byte(m.body(piece.Object, piece.Range)))
			}
		}
	case res.Object == nil:
	case ranged:
		if rg, status := ParseRange(r, res.Object); status == 206 && res.Object.Holds(rg) {
			m.fresh("a range", path, []byte(m.body(res.Object, rg)))
		}
	default:
		m.fresh(res.State.String(), path, []byte(m.body(res.Object, Whole)))
		r.Fields.Add("accept-encoding", "gzip")
		if f := res.Object.Form(r); f != res.Object {
			z, err := gzip.NewReader(strings.NewReader(m.body(f, Whole)))
			if err != nil {
				m.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				m.Fatal(err)
			}
			m.fresh("a coded form", path, b)
		}
	}
}

func (m *mix) restart() {
	for _, p := range m.pending {
		if p.f != nil {
			p.f.Fail(nil)
		}
	}
	m.pending = nil
	m.StopCoding()
	if err := m.Sync(context.Background()); err != nil {
		m.Fatal(err)
	}
	policy := m.policy
	m.onDisk = m.onDisk.restart()
	m.policy = policy
}

// TestNothingPurgedIsServedInAnyForm: whole responses, parts and what they are combined to, slices, coded forms, hints, 304s and what the disk has, in
// random histories with purges of every kind, sweeps, a table that overflows, and restarts.
func TestNothingPurgedIsServedInAnyForm(t *testing.T) {
	served := map[string]int{}
	for seed := range uint64(12) {
		m := &mix{onDisk: newOnDisk(t, t.TempDir()), rnd: rand.New(rand.NewPCG(seed, 7)), served: served}
		m.policy.Compress.Enabled, m.policy.Compress.Encodings = true, []coding.Coding{coding.Gzip}
		m.policy.EarlyHints, m.policy.Slice = true, mixSlice
		for m.step = range 1200 {
			if seed%2 == 0 && m.step%100 == 0 {
				m.purges.mu.Lock()
				m.purges.limit = 6
				m.purges.mu.Unlock()
			}
			switch n := m.rnd.IntN(40); {
			case n == 0 && m.rnd.IntN(8) == 0:
				m.restart()
			case n < 2:
				m.purge()
			case n == 3:
				m.sweep(t.Context())
			case n < 12:
				m.begin()
			case n < 24:
				m.end()
			default:
				m.look()
			}
		}
		m.restart()
	}
	for _, how := range []string{"hit", "a hint", "a slice", "a part", "a range", "a coded form", "what arrives", "a shared 304"} {
		if served[how] == 0 {
			t.Errorf("%s was never looked at: %v", how, served)
		}
	}
}
