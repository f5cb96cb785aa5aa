package flood

import (
	"context"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// patience is how long a client tries.
const patience = 10 * time.Second

// Clients are honest clients, each with an address that was not seen before, and what became of them.
type Clients struct {
	Came   int           `json:"came"`
	In     int           `json:"in"`
	Median time.Duration `json:"median_ns"` // from the first packet to a complete handshake
	P95    time.Duration `json:"p95_ns"`
	Worst  time.Duration `json:"worst_ns"`
	Error  string        `json:"error,omitempty"` // of the last that did not get in
}

// clients come at a rate.
type clients struct {
	to   *net.UDPAddr
	tls  *tls.Config
	rnd  *rand.Rand
	work sync.WaitGroup

	mu    sync.Mutex
	waits []time.Duration
	c     Clients
}

// run lets clients come until ctx ends, and waits until each is in or has given up.
func (c *clients) run(ctx context.Context, rate int) Clients {
	if rate > 0 {
		t := time.NewTicker(time.Second / time.Duration(rate))
		defer t.Stop()
		for ctx.Err() == nil {
			from := net.IPv4(127, byte(128+c.rnd.IntN(64)), byte(c.rnd.IntN(256)), byte(1+c.rnd.IntN(254)))
			c.c.Came++
			c.work.Go(func() { c.visit(from) })
			select {
			case <-ctx.Done():
			case <-t.C:
			}
		}
	}
	c.work.Wait()
	r := c.c
	if r.In = len(c.waits); r.In > 0 {
		slices.Sort(c.waits)
		r.Median, r.P95, r.Worst = c.waits[r.In/2], c.waits[r.In*95/100], c.waits[r.In-1]
	}
	return r
}

// visit makes one connection.
func (c *clients) visit(from net.IP) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	err := handshake(ctx, from, c.to, c.tls)
	took := time.Since(began)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.c.Error = err.Error()
		return
	}
	c.waits = append(c.waits, took)
}

// handshake makes a connection and ends it.
func handshake(ctx context.Context, from net.IP, to *net.UDPAddr, conf *tls.Config) error {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: from})
	if err != nil {
		return err
	}
	defer udp.Close()
	tr := &quic.Transport{Conn: udp}
	defer tr.Close()
	qc, err := tr.Dial(ctx, to, conf, &quic.Config{HandshakeIdleTimeout: patience})
	if err != nil {
		return err
	}
	// The server says that it has all when it confirms the handshake.
	select {
	case <-qc.HandshakeComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	return qc.CloseWithError(0x100, "")
}
