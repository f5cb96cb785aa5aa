package h3

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// deaf is a client's socket that hears nothing: its handshake stays in progress.
type deaf struct{ net.PacketConn }

func (d deaf) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(p); err != nil {
			return 0, nil, err
		}
	}
}

// begin has a client begin a handshake that it never completes.
func beginHandshake(t *testing.T, to net.Addr) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: deaf{udp}}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		_, _ = tr.Dial(ctx, to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
	})
	t.Cleanup(func() { cancel(); work.Wait(); tr.Close(); udp.Close() })
}

// within fails when do takes as long as a handshake may.
func within(t *testing.T, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { do(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

// TestTheEndWaitsForNobody: neither for a handshake in progress nor, in a server that was never served, for a connection that nobody has accepted; and the
// days may change meanwhile.
func TestTheEndWaitsForNobody(t *testing.T) {
	for _, early := range []bool{false, true} {
		for _, serve := range []bool{false, true} {
			var c calendar
			var counts counts
			s, err := Listen(portOf(t, 3), Config{TLS: testTLS(t), now: c.now, EarlyData: early, HandshakeTimeout: time.Hour, Events: counts.events()})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(context.Background())
			if serve {
				go func() { ended <- s.Serve(ctx, ok) }()
			}
			beginHandshake(t, s.sockets[0].udp.LocalAddr())
			eventually(t, "a handshake is in progress", func() bool { return s.guard.HalfOpen() == 1 })
			c.turn(s, 1)
			beginHandshake(t, s.sockets[0].udp.LocalAddr())
			eventually(t, "another is, of the next day", func() bool { return s.guard.HalfOpen() == 2 })
			if !serve {
				qc, err := quic.DialAddr(patient(t), s.sockets[0].udp.LocalAddr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer qc.CloseWithError(0, "")
			}
			var turning sync.WaitGroup
			turning.Go(func() {
				for range 20 {
					c.turn(s, 1)
				}
			})
			within(t, "the end does not come", func() {
				cancel()
				if serve {
					<-ended
				} else {
					s.Close()
				}
				turning.Wait()
				s.admitted.Wait()
			})
			if a, c := counts.admitted.Load(), counts.closed.Load(); a != c || s.guard.HalfOpen() != 0 {
				t.Errorf("early %t, served %t: %d admitted, %d closed, %d half-open", early, serve, a, c, s.guard.HalfOpen())
			}
			for _, sock := range s.sockets {
				if err := sock.udp.SetDeadline(time.Now()); err == nil {
					t.Errorf("early %t, served %t: a socket is open", early, serve)
				}
			}
		}
	}
}
