package flood

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// Sources are where a flood comes from, all of it in 127.0.0.0/8.
const (
	Random   = "random"   // every packet from another address
	Hundreds = "hundreds" // from 200 addresses, each in a /24 of its own
	OneNet   = "net"      // from one /24
)

// Sources are all of them.
var Sources = []string{Random, Hundreds, OneNet}

const (
	tick     = 2 * time.Millisecond
	maxBatch = 1024 // packets of a tick
	ports    = 16   // source ports
)

// sender sends Initials at a rate.
type sender struct {
	in    *initials
	to    *net.UDPAddr
	rate  int
	from  string
	rnd   *rand.Rand
	conns []*ipv4.PacketConn
	batch []ipv4.Message
	sent  atomic.Int64
}

func newSender(in *initials, to *net.UDPAddr, rate int, from string, seed uint64) (*sender, error) {
	s := &sender{in: in, to: to, rate: rate, from: from, rnd: rand.New(rand.NewPCG(seed, 7)), batch: make([]ipv4.Message, maxBatch)}
	for i := range s.batch {
		s.batch[i] = ipv4.Message{Buffers: [][]byte{make([]byte, 0, initialSize)}, Addr: to}
	}
	for range ports {
		c, err := net.ListenUDP("udp4", nil)
		if err != nil {
			s.close()
			return nil, err
		}
		_ = c.SetReadBuffer(4096) // what is answered is of no interest
		s.conns = append(s.conns, ipv4.NewPacketConn(c))
	}
	return s, nil
}

func (s *sender) close() {
	for _, c := range s.conns {
		c.Close()
	}
}

// source is where the next packet comes from.
func (s *sender) source() net.IP {
	n := s.rnd.Uint32()
	switch s.from {
	case Hundreds:
		return net.IPv4(127, 1, byte(n%200), 7)
	case OneNet:
		return net.IPv4(127, 2, 3, byte(n))
	}
	return net.IPv4(127, byte(64+n%64), byte(n>>8), byte(n>>16)) // never a client's
}

// run sends until ctx ends.
func (s *sender) run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	began, first := time.Now(), s.sent.Load()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		due := int(time.Since(began).Seconds()*float64(s.rate)) - int(s.sent.Load()-first)
		for due > 0 {
			n := min(due, maxBatch)
			if err := s.send(s.batch[:n]); err != nil {
				return err
			}
			due -= n
		}
	}
}

// send makes and sends a batch.
func (s *sender) send(batch []ipv4.Message) error {
	for i := range batch {
		m := &batch[i]
		var id [idLen]byte
		binary.BigEndian.PutUint64(id[:], s.rnd.Uint64())
		b, err := s.in.make(m.Buffers[0], id)
		if err != nil {
			return err
		}
		m.Buffers[0] = b
		m.OOB = (&ipv4.ControlMessage{Src: s.source()}).Marshal()
	}
	conn := s.conns[s.rnd.IntN(ports)]
	for len(batch) > 0 {
		n, err := conn.WriteBatch(batch, 0)
		if err != nil {
			return fmt.Errorf("sending the flood: %w", err)
		}
		s.sent.Add(int64(n))
		batch = batch[n:]
	}
	return nil
}
