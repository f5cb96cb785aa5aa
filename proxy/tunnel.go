package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// websocket is the one protocol that an exchange may change to.
const websocket = "websocket"

// tunnel asks an origin to change protocols, and where it does carries bytes both ways until both have ended. The cache has no part in it.
func (p *Proxy) tunnel(x *exchange) error {
	if e := p.refusal(x, workPass); e != nil {
		return e
	}
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	res, err := p.forward(ctx, x, x.r.Fields, p.inform(x))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.Tunnel == nil {
		return p.respondLive(x, res)
	}
	defer res.Tunnel.Close()
	client, err := x.w.SwitchProtocols(p.live(x, res))
	if err != nil {
		return p.clientGone(x, err)
	}
	x.status, x.firstByte, x.tunnel = http.StatusSwitchingProtocols, time.Now(), true
	x.service.meters.tunnels.Inc()
	defer x.service.meters.tunnels.Dec()
	t := &tunnel{client: client, origin: res.Tunnel, cut: func() {
		cancel() // ends what waits for the origin
		res.Tunnel.Close()
		if i, ok := client.(message.Interrupter); ok { // and what waits for the client
			i.Interrupt()
		}
	}}
	p.carry(x, t)
	if t.fault != nil {
		x.fault, x.incomplete = x.tunnelFault(t), true
		x.w.Abort()
	}
	return nil
}

// tunnel is an exchange that has changed to another protocol.
type tunnel struct {
	client message.Tunnel
	origin upstream.Tunnel
	cut    func()

	once  sync.Once
	blame message.Blame // of the side that failed first
	fault error         // how it did; nil when both have ended well
}

// carry copies both ways and returns when neither goes on: the origin's bytes here, the client's in a goroutine of its own.
func (p *Proxy) carry(x *exchange, t *tunnel) {
	done := make(chan struct{})
	p.background(func() {
		defer close(done)
		x.got = t.copy(t.origin, t.client, message.BlameClient, message.BlameOrigin, x.service.meters.tunnelIn)
	})
	defer func() { <-done }() // also after a panic: the exchange is over when this returns
	x.sent = t.copy(t.client, t.origin, message.BlameOrigin, message.BlameClient, x.service.meters.tunnelOut)
}

// copy carries what from sends to its end, and passes that on: the other direction may go on for as long as it likes. A failure ends both.
func (t *tunnel) copy(to, from message.Tunnel, reads, writes message.Blame, count *metrics.Counter) (n int64) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	ok := false
	defer func() {
		if !ok { // also after a panic
			t.fail(reads, errors.New("copying ended"))
		}
	}()
	for {
		k, rerr := from.Read(*buf)
		if k > 0 {
			w, err := to.Write((*buf)[:k])
			n += int64(w)
			count.Add(w)
			if err != nil {
				t.fail(writes, err)
				break
			}
		}
		if rerr == io.EOF {
			if to.CloseWrite() != nil { // there are no halves to it, or it is gone already: one end closing ends both
				t.once.Do(t.cut)
			}
			break
		}
		if rerr != nil {
			t.fail(reads, rerr)
			break
		}
	}
	ok = true
	return n
}

// fail notes the first failure and ends both directions.
func (t *tunnel) fail(blame message.Blame, err error) {
	t.once.Do(func() {
		t.blame, t.fault = blame, err
		t.cut()
	})
}

// tunnelFault is why a tunnel did not end well.
func (x *exchange) tunnelFault(t *tunnel) *message.Error {
	gone := x.ctx.Err() != nil
	if cut := message.Cut(x.ctx); gone && cut != nil {
		return stopped(cut)
	}
	e := &message.Error{Blame: t.blame, Status: x.status, Reason: "tunnel cut", Err: t.fault}
	if t.blame == message.BlameClient && isIdle(t.fault) || gone && isIdle(message.Cause(x.ctx)) {
		e.Reason = tunnelIdle
	}
	if gone { // the origin's side, too, ends with the client's connection
		e.Blame = message.BlameClient
	}
	return e
}

// tunnelIdle is the reason by which a front end says that it has given a tunnel up because nothing moved.
const tunnelIdle = "tunnel idle"

func isIdle(err error) bool {
	var e *message.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &e) && e.Reason == tunnelIdle
}
