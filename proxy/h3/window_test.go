package h3

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// TestUnreadContentIsBounded: a client that was read from fast is let send ahead, but no more than a connection may cost us.
func TestUnreadContentIsBounded(t *testing.T) {
	const fast = 24 << 20
	read := make(chan struct{})
	var got atomic.Int64
	r := start(t, handlerFunc(func(ctx context.Context, _ message.ResponseWriter, r *message.Request) {
		buf := make([]byte, 64<<10)
		for got.Load() < fast {
			n, err := r.Body.Read(buf)
			if err != nil {
				t.Error(err)
				break
			}
			got.Add(int64(n))
		}
		close(read)
		<-ctx.Done()
	}), Config{})
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	far := newFarAway(udp)
	tr := &quic.Transport{Conn: far}
	defer func() { tr.Close(); far.Close() }()
	qc, err := tr.Dial(patient(t), r.udp().LocalAddr(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	str, err := qc.OpenStreamSync(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(append(request("POST"), appendVarint([]byte{frameData}, 1<<40)...))
	sent := 0
	for err == nil {
		select {
		case <-read:
			_ = str.SetWriteDeadline(time.Now().Add(300 * time.Millisecond)) // it fills all that it may
		default:
		}
		var n int
		n, err = str.Write(make([]byte, 256<<10))
		sent += n
	}
	if ahead := int64(sent) - got.Load(); ahead > connWindowMost {
		t.Errorf("the client is %d octets ahead", ahead)
	}
	str.CancelRead(codeRequestCancelled)
}

// farAway is a socket of which the packets arrive after a while.
type farAway struct {
	net.PacketConn
	queue chan delayed
	done  chan struct{}
}

type delayed struct {
	p    []byte
	to   net.Addr
	when time.Time
}

func newFarAway(c net.PacketConn) *farAway {
	f := &farAway{PacketConn: c, queue: make(chan delayed, 1<<14), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		for l := range f.queue {
			time.Sleep(time.Until(l.when))
			_, _ = c.WriteTo(l.p, l.to)
		}
	}()
	return f
}

func (f *farAway) WriteTo(p []byte, to net.Addr) (int, error) {
	f.queue <- delayed{bytes.Clone(p), to, time.Now().Add(20 * time.Millisecond)}
	return len(p), nil
}

// Close ends it. Nobody may write any more.
func (f *farAway) Close() error {
	close(f.queue)
	<-f.done
	return f.PacketConn.Close()
}
