package quicload

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"nearcast/internal/lab/origin"
)

// Direction is the way of a transfer.
type Direction string

const (
	Down Direction = "down" // a GET of /bulk?size=N
	Up   Direction = "up"   // a POST to /bulk
)

// maxTransfer bounds a transfer: clients hold it in memory.
const maxTransfer = 256 << 20

// Mover is a client that can move bytes in one request, to and from /bulk of the lab's origin.
type Mover interface {
	Client
	// Move transfers size bytes and returns what came of it; the target's path and rate are not used. When ctx is done before the end, the
	// transfer is unfinished, as a record is. The error says that there was no transfer to speak of; one that broke has its own.
	Move(ctx context.Context, t Target, d Direction, size int64) (Transfer, error)
}

// Transfer is what came of one.
type Transfer struct {
	Start    time.Time
	Took     time.Duration
	Bytes    int64         // as the receiver counts; of an upload that broke, what the client knows to have left it
	Verified bool          // what arrived is what was sent, by its SHA-256
	Stall    time.Duration // the longest time without progress that the client saw; an upload of ngtcp2's shows none
	Err      string        // empty: the whole came
	Protocol string
	Via      string // empty from ngtcp2
}

// Movers returns the clients that can move bytes, installed or not.
func Movers() []Mover {
	var movers []Mover
	for _, c := range Clients() {
		if m, ok := c.(Mover); ok {
			movers = append(movers, m)
		}
	}
	return movers
}

// checkTransfer refuses what no client does.
func checkTransfer(d Direction, size int64) error {
	switch {
	case d != Up && d != Down:
		return fmt.Errorf("a transfer goes %s or %s, not %q", Up, Down, string(d))
	case size <= 0 || size > maxTransfer:
		return fmt.Errorf("a transfer of %d bytes is not of 1 to %d", size, int64(maxTransfer))
	}
	return nil
}

// bulkURL is where a transfer is asked for.
func bulkURL(t *Target, d Direction, size int64) string {
	url := "https://" + t.authority() + "/bulk"
	if d == Down {
		url += fmt.Sprintf("?size=%d", size)
	}
	return url
}

// digestField is the form of a SHA-256 in Repr-Digest (RFC 9530 §3).
func digestField(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// settle completes a transfer by what the receiver has: the receipt of an upload, or the digest that came with a download.
func (tr *Transfer) settle(d Direction, size int64, sum []byte, receipt, digest string) {
	if tr.Err != "" {
		return
	}
	if d == Up {
		var r origin.Receipt
		if err := json.Unmarshal([]byte(receipt), &r); err != nil {
			tr.Err = fmt.Sprintf("%.80q is no receipt", receipt)
			return
		}
		tr.Bytes, tr.Verified = r.Bytes, r.SHA256 == hex.EncodeToString(sum)
	} else {
		tr.Verified = strings.TrimSpace(digest) == digestField(sum)
	}
	if tr.Bytes != size || !tr.Verified {
		tr.Err = fmt.Sprintf("%d of %d bytes came, verified %t", tr.Bytes, size, tr.Verified)
	}
}

// stop ends a transfer that broke or that ctx ends.
func (tr *Transfer) stop(ctx context.Context, err error) {
	tr.Took = time.Since(tr.Start)
	if ctx.Err() != nil {
		tr.Err = Unfinished + tr.Took.Round(time.Millisecond).String()
	} else if err != nil {
		tr.Err = err.Error()
	}
}

// payload is what our own clients send, with its SHA-256.
func payload(size int64) (data, sum []byte) {
	b := make(sink, 0, size)
	_ = origin.Bulk(&b, size) // memory takes everything
	s := sha256.Sum256(b)
	return b, s[:]
}

type sink []byte

func (s *sink) Write(p []byte) (int, error) {
	*s = append(*s, p...)
	return len(p), nil
}

// gauge watches progress.
type gauge struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
	count   int64
}

func newGauge() *gauge { return &gauge{last: time.Now()} }

// progress says that n more bytes have gone.
func (g *gauge) progress(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.longest = max(g.longest, now.Sub(g.last))
	g.last = now
	g.count += n
}

// read returns the bytes that have gone, and the longest time without any, which may not be over.
func (g *gauge) read() (int64, time.Duration) {
	g.progress(0)
	return g.count, g.longest
}

// pageTransfer is a transfer as a page reports it.
type pageTransfer struct {
	Done     bool    `json:"done"`
	Took     float64 `json:"took"` // milliseconds
	Stall    float64 `json:"stall"`
	Bytes    int64   `json:"bytes"`
	Err      string  `json:"err"`
	Protocol string  `json:"protocol"`
	Via      string  `json:"via"`
	Sum      string  `json:"sum"` // in hex
	Receipt  string  `json:"receipt"`
	Digest   string  `json:"digest"`
}

// movePage transfers in a page, which it closes.
func movePage(ctx context.Context, p page, t Target, d Direction, size int64) (tr Transfer, err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	url, _ := json.Marshal(bulkURL(&t, d, size)) // a string always has a form in JSON
	sent := int64(0)
	if d == Up {
		sent = size
	}
	tr.Start = time.Now().Round(0)
	if _, err := p.evaluate(ctx, fmt.Sprintf("%s && (window.quicload.transfer(%s, %d), true)", pageScript, url, sent)); err != nil {
		return tr, err
	}
	var got pageTransfer
	err = poll(ctx, func() (bool, error) {
		data, err := p.evaluate(ctx, "window.quicload.transferred()")
		if err != nil {
			return false, err
		}
		got, err = parseTransfer(data)
		return got.Done, err
	})
	tr.Bytes, tr.Protocol, tr.Via, tr.Stall = got.Bytes, got.Protocol, via([]string{got.Via}), duration(got.Stall)
	if ctx.Err() != nil {
		tr.stop(ctx, nil)
		return tr, nil
	}
	if err != nil {
		return tr, err
	}
	tr.Took, tr.Err = duration(got.Took), got.Err
	sum, _ := hex.DecodeString(got.Sum) // what is no sum verifies nothing
	tr.settle(d, size, sum, got.Receipt, got.Digest)
	return tr, nil
}

// parseTransfer reads how far a page's transfer is.
func parseTransfer(data []byte) (pageTransfer, error) {
	var got pageTransfer
	if err := json.Unmarshal(data, &got); err != nil {
		return got, fmt.Errorf("the page's transfer: %w", err)
	}
	if got.Took < 0 || got.Took > 1e9 || got.Stall < 0 || got.Stall > 1e9 || got.Bytes < 0 {
		return got, fmt.Errorf("the page's transfer: %d bytes in %g ms, stalled for %g ms", got.Bytes, got.Took, got.Stall)
	}
	return got, nil
}

func duration(ms float64) time.Duration { return time.Duration(ms * 1e6) }
