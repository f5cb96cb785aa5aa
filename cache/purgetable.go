package cache

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// A purge of a tag, a prefix or everything is a number and an entry in a table, whatever is stored. An object knows the number of the last
// purge when its fetch began, and an entry that up to which it has been compared with the table: nothing more happens on a hit while
// no purge has come since. After one, the first lookup of an entry compares it, and the sweep (sweep.go) those that nobody asks for.
//
// The table has two generations of bounded size. When the young one is full, the old one is forgotten and the young one is the old one. What is
// forgotten must not have been missed by anything: either every stored object has been compared with it, and only a fetch that is
// still under way since before it counts as purged; or everything from before it counts as purged, which is counted as an overflow.

// maxPurgePrefix bounds the bytes of a prefix, and so the lengths at which a URL is compared.
const maxPurgePrefix = 1024

// purgeEntryBytes is what an entry of the table takes at most: 56 bytes in a map that may be half empty.
const purgeEntryBytes = 128

// purgeTarget is what a purge names.
type purgeTarget struct {
	service, hash uint64
	length        uint16
	kind          PurgeKind
}

// purgeMark is the last hard and the last soft purge of a target.
type purgeMark struct {
	hard, soft uint64
	softAt     int64 // Unix time in nanoseconds
}

func (m *purgeMark) merge(o purgeMark) {
	m.hard = max(m.hard, o.hard)
	if o.soft > m.soft {
		m.soft, m.softAt = o.soft, o.softAt
	}
}

func (m *purgeMark) last() uint64 { return max(m.hard, m.soft) }

// purgeGeneration is a part of the table.
type purgeGeneration struct {
	marks   map[purgeTarget]purgeMark
	lengths [maxPurgePrefix/64 + 1]uint64 // of prefixes that are there
	sum     purgeMark                     // the last of all
}

func (g *purgeGeneration) hasLength(n int) bool { return g.lengths[n/64]>>(n%64)&1 != 0 }

// purgeTable holds the purges that stored objects have to be compared with.
type purgeTable struct {
	limit int           // entries of one generation
	seq   atomic.Uint64 // the number of the last purge
	swept atomic.Uint64 // every entry of the index has been compared up to here

	mu         sync.RWMutex // may be taken under a shard's lock, and not the other way round
	young, old purgeGeneration
	floor      purgeMark             // what has been forgotten
	lastOf     [purgeKinds]uint64    // the number of the last purge of each kind
	anyTag     purgeMark             // the last of all tags
	restricted uint64                // the number of the last one that is of one service alone
	tier       PurgeTier             // nil: there is none
	wake       chan struct{}         // tells the sweep
	overflowed func()                // counts
	counted    func(PurgeKind, bool) // counts
}

func newPurgeTable(limit int) *purgeTable {
	t := &purgeTable{limit: limit, wake: make(chan struct{}, 1), overflowed: func() {}, counted: func(PurgeKind, bool) {}}
	t.young.marks, t.old.marks = map[purgeTarget]purgeMark{}, map[purgeTarget]purgeMark{}
	return t
}

// purgeLimit is the number of entries in one generation of the table of a store with that budget.
func purgeLimit(memory int64) int { return int(min(max(memory>>13, 256), 16384)) }

// record gives an event its number and notes it.
func (t *purgeTable) record(now time.Time, soft bool, target purgeTarget) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := PurgeEvent{Seq: t.seq.Load() + 1, At: now, Soft: soft, Kind: target.kind, Service: target.service, Hash: target.hash, Length: target.length}
	t.note(e)
	t.seq.Store(e.Seq) // last: a fetch that begins from here on has begun after the purge
	if t.tier != nil {
		t.tier.Purged(e)
	}
	t.awaken()
	return e.Seq
}

func (t *purgeTable) awaken() {
	select {
	case t.wake <- struct{}{}:
	default: // it has been told
	}
}

// note puts an event into the table, which is locked.
func (t *purgeTable) note(e PurgeEvent) {
	m := purgeMark{hard: e.Seq}
	if e.Soft {
		m = purgeMark{soft: e.Seq, softAt: e.At.UnixNano()}
	}
	t.put(purgeTarget{e.Service, e.Hash, e.Length, e.Kind}, m)
}

func (t *purgeTable) put(target purgeTarget, m purgeMark) {
	if _, ok := t.young.marks[target]; !ok && len(t.young.marks) >= t.limit {
		t.rotate()
	}
	known := t.young.marks[target]
	known.merge(m)
	t.young.marks[target] = known
	t.young.sum.merge(m)
	t.young.lengths[target.length/64] |= 1 << (target.length % 64)
	t.lastOf[target.kind] = max(t.lastOf[target.kind], m.last())
	if target.kind == PurgeTag {
		t.anyTag.merge(m)
	}
	if target.service != 0 {
		t.restricted = max(t.restricted, m.last())
	}
}

// rotate forgets the old generation.
func (t *purgeTable) rotate() {
	gone := t.old
	t.old = t.young
	clear(gone.marks)
	t.young = purgeGeneration{marks: gone.marks}
	applied := t.swept.Load()
	if t.tier != nil {
		applied = min(applied, t.tier.Applied())
	}
	if gone.sum.last() <= applied {
		t.floor.merge(gone.sum)
		return
	}
	t.overflowed()
	t.put(purgeTarget{kind: PurgeAll}, gone.sum)
}

// makeRoom lets the table hold the events of an earlier life, which may be some more than its limit.
func (t *purgeTable) makeRoom(events int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.limit = max(t.limit, min(events/2+1, t.limit*3/2))
}

// apply notes events that have their numbers already.
func (t *purgeTable) apply(seq uint64, events []PurgeEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		t.note(e)
		seq = max(seq, e.Seq)
	}
	if seq > t.seq.Load() {
		t.seq.Store(seq)
	}
	t.awaken()
}

// log is what the table holds, in the order of the numbers.
func (t *purgeTable) log() []PurgeEvent {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []PurgeEvent
	for _, g := range [...]*purgeGeneration{&t.old, &t.young} {
		for target, m := range g.marks {
			e := PurgeEvent{Kind: target.kind, Service: target.service, Hash: target.hash, Length: target.length}
			if m.hard > 0 {
				e.Seq = m.hard
				out = append(out, e)
			}
			if m.soft > 0 {
				e.Seq, e.Soft, e.At = m.soft, true, time.Unix(0, m.softAt)
				out = append(out, e)
			}
		}
	}
	slices.SortFunc(out, func(a, b PurgeEvent) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	return out
}

// crowded reports whether the young generation is filling up: what is swept may be forgotten.
func (t *purgeTable) crowded() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.young.marks) > t.limit/2
}

func (t *purgeTable) targets() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.young.marks) + len(t.old.marks)
}

// purgeVerdict is what purges have done to an object.
type purgeVerdict struct {
	hard, soft bool
	softAt     time.Time // with soft
}

func (v purgeVerdict) untouched() bool { return !v.hard && !v.soft }

// judge compares what is stored under a key with the purges after since. upTo is the number of the last purge that it knows of.
func (t *purgeTable) judge(key *Key, tags *tagSet, since uint64) (v purgeVerdict, upTo uint64) {
	if upTo = t.seq.Load(); since >= upTo {
		return v, since
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	q := purgeQuery{t: t, since: since, m: t.floor}
	if t.restricted > since {
		q.service = serviceHash(key.service)
	}
	if t.lastOf[PurgeAll] > since {
		q.look(purgeTarget{kind: PurgeAll})
	}
	if t.lastOf[PurgeTag] > since && tags != nil {
		for _, h := range tags.hashes {
			q.look(purgeTarget{kind: PurgeTag, hash: h})
		}
		if tags.all {
			q.m.merge(t.anyTag)
		}
	}
	if max(t.lastOf[PurgeURL], t.lastOf[PurgePrefix]) > since {
		q.lookURL(key, t.lastOf[PurgePrefix] > since)
	}
	v.hard, v.soft = q.m.hard > since, q.m.soft > since
	if v.soft {
		v.softAt = time.Unix(0, q.m.softAt)
	}
	return v, t.seq.Load()
}

// purgeQuery is one comparison with the table, which is locked.
type purgeQuery struct {
	t       *purgeTable
	since   uint64
	service uint64 // 0: no purge since is of one service alone
	m       purgeMark
}

// look adds what is known of a target, for every service and for the one.
func (q *purgeQuery) look(target purgeTarget) {
	for _, g := range [...]*purgeGeneration{&q.t.young, &q.t.old} {
		if g.sum.last() <= q.since {
			continue
		}
		if found, ok := g.marks[target]; ok {
			q.m.merge(found)
		}
		if q.service != 0 {
			own := target
			own.service = q.service
			if found, ok := g.marks[own]; ok {
				q.m.merge(found)
			}
		}
	}
}

// lookURL adds what is known of the key's URL and, with prefixes, of every beginning of it that has the length of a purged one.
func (q *purgeQuery) lookURL(key *Key, prefixes bool) {
	t, h, n := q.t, uint64(fnvBasis), 0
	query := key.url().query
	parts := [...]string{key.scheme, "://", key.authority, key.path, "?", query}
	used := parts[:]
	if !key.hasQuery {
		used = parts[:4]
	}
	for _, part := range used {
		if !prefixes || n >= maxPurgePrefix {
			h = fnv(h, part)
			continue
		}
		for i := 0; i < len(part); i++ {
			h = (h ^ uint64(part[i])) * fnvPrime
			if n++; n <= maxPurgePrefix && (t.young.hasLength(n) || t.old.hasLength(n)) {
				q.look(purgeTarget{kind: PurgePrefix, hash: h, length: uint16(n)})
			}
		}
	}
	if t.lastOf[PurgeURL] > q.since {
		q.look(purgeTarget{kind: PurgeURL, hash: h})
	}
}

// count registers the table's metrics.
func (t *purgeTable) count(set *metrics.Set) {
	var kinds [purgeKinds][2]*metrics.Counter
	for k := range purgeKinds {
		for soft := range 2 {
			kinds[k][soft] = set.NewCounter(fmt.Sprintf(`nearcast_cache_purges_total{kind=%q,soft="%t"}`, k, soft == 1))
		}
	}
	t.counted = func(k PurgeKind, soft bool) {
		if soft {
			kinds[k][1].Inc()
			return
		}
		kinds[k][0].Inc()
	}
	t.overflowed = set.NewCounter("nearcast_cache_purge_overflows_total").Inc
	set.NewGauge("nearcast_cache_purges_pending", func() float64 {
		swept := t.swept.Load() // first: it is never more than the number of the last purge by then
		return float64(t.seq.Load() - swept)
	})
	set.NewGauge("nearcast_cache_purge_targets", func() float64 { return float64(t.targets()) })
}
