// Package replay bounds how often requests in TLS early data are acted on. An attacker can send a client's first flight again, here and to every other
// edge that reads its ticket; crypto/tls and QUIC accept it each time. So each edge notes which tickets early data has come with, and believes
// each of them once (RFC 8446 §8.1).
package replay

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

const (
	// Skew is how far the clocks of edges may be apart: a ticket from further in the future is not believed.
	Skew = 2 * time.Second
	// maxTickets bounds the tickets of one generation, of which there are two. One costs 36 octets at most: 19 MB a generation.
	maxTickets = 1 << 19
)

// DefaultMaxAge is a [Config]'s MaxAge: long enough for who comes back in one sitting.
const DefaultMaxAge = time.Hour

// Verdict says whether early data is to be acted on before the handshake is complete, and why not.
type Verdict uint8

// The verdicts. With all but the first, what came in early data waits for the handshake, which a replay can't complete.
const (
	Accepted Verdict = iota // the first use of the ticket here
	Used                    // it was used before
	Old                     // it is older than MaxAge, or than this register, or does not say how old it is
	Full                    // no more tickets can be noted
	verdicts
)

var words = [verdicts]string{Accepted: "accepted", Used: "used", Old: "old", Full: "full"}

// String returns the word for metrics.
func (v Verdict) String() string {
	if v < verdicts {
		return words[v]
	}
	return "unknown"
}

// Config is what a register is made of. The zero value will do.
type Config struct {
	MaxAge time.Duration // tickets are good for early data for so long; 0: DefaultMaxAge
	// Since is when this process started, where it reads tickets that are older: which of them were used here before is not known (RFC 8446 §8.2).
	// The zero value: it can read none.
	Since   time.Time
	Metrics *metrics.Set // nil: a set of its own
}

// Register notes which tickets were used for early data. It is safe for concurrent use, and one serves all listeners of a process.
type Register struct {
	// immutable
	seed     maphash.Seed
	maxAge   time.Duration
	earliest time.Time
	most     int
	counts   [verdicts]*metrics.Counter

	mu     sync.Mutex
	latest time.Time // a clock that is set back makes no ticket young again
	// Two generations, so that each use is remembered for as long as its ticket is good, and forgetting costs nothing.
	began            time.Time
	current, earlier map[uint64]struct{}
}

// New makes a register.
func New(c Config) *Register {
	if c.MaxAge <= 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.Metrics == nil {
		c.Metrics = metrics.NewSet()
	}
	r := &Register{seed: maphash.MakeSeed(), maxAge: c.MaxAge, most: maxTickets}
	if !c.Since.IsZero() {
		// Whatever was used here before was at most Skew ahead then.
		r.earliest = c.Since.Round(0).Add(Skew)
	}
	r.register(c.Metrics)
	return r
}

// Ticket is a session ticket as a register knows it. The zero value is one that does not say how old it is.
type Ticket struct {
	id   uint64
	made time.Time
}

// Ticket names the ticket that is on the wire as identity. made is when it was made, the zero time when that is not known. identity is not kept.
func (r *Register) Ticket(identity []byte, made time.Time) Ticket {
	return Ticket{maphash.Bytes(r.seed, identity), made.Round(0)}
}

// Use notes that early data came with t. Call it once for each connection that early data was accepted on, when the client has proven that it has the
// ticket's key (the binder): else whoever sees a ticket pass could use it up.
func (r *Register) Use(t Ticket, now time.Time) Verdict {
	r.mu.Lock()
	v := r.use(t, now.Round(0))
	r.mu.Unlock()
	r.counts[v].Inc()
	return v
}

func (r *Register) use(t Ticket, now time.Time) Verdict {
	if now.Before(r.latest) {
		now = r.latest
	}
	r.latest = now
	r.turn(now)
	if age := now.Sub(t.made); age >= r.maxAge || age < -Skew || t.made.Before(r.earliest) {
		return Old
	}
	if has(r.current, t.id) || has(r.earlier, t.id) {
		return Used
	}
	if len(r.current) >= r.most {
		return Full
	}
	r.current[t.id] = struct{}{}
	return Accepted
}

// turn begins a new generation when it is time. A use is remembered for one lifetime of a generation at least, by then its ticket is too old.
func (r *Register) turn(now time.Time) {
	life := r.maxAge + Skew
	switch age := now.Sub(r.began); {
	case age < life:
		return
	case age < 2*life:
		r.earlier = r.current
	default:
		r.earlier = nil
	}
	r.current, r.began = make(map[uint64]struct{}), now
}

func has(m map[uint64]struct{}, id uint64) bool {
	_, ok := m[id]
	return ok
}

// size is how many uses are remembered.
func (r *Register) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.current) + len(r.earlier)
}
