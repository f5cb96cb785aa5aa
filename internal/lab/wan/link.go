// Package wan emulates a long link between two network namespaces in user space, for kernels without netem: a TUN device at
// each end, and between them a delay, jitter and loss that can be changed while packets are under way. Linux, root only.
package wan

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"nearcast/internal/lab/netns"
)

// Endpoint is one end of a link: the device that appears in the namespace.
type Endpoint struct {
	Namespace netns.Namespace
	Interface string // at most 15 bytes
}

// Config describes a link. Only the endpoints are required.
type Config struct {
	A, B  Endpoint
	Delay time.Duration // one way, both directions
	MTU   int           // default 1500
	Queue int           // bytes under way in one direction, default 16 MiB; what does not fit is dropped and counted
	// NoOffload has the kernel segment before the link. A packet with offload is up to 64 KiB and is lost as a whole, so use it
	// together with SetLoss.
	NoOffload bool
}

// Counters count one direction since the link was opened.
type Counters struct {
	Packets     uint64        // taken from the sending device
	Bytes       uint64        // of those, with the virtio header
	Dropped     uint64        // by loss, by SetDrop or because the queue was full
	WriteErrors uint64        // the receiving device refused
	MaxLateness time.Duration // longest time a packet left after it was due
}

// Link is an open link. Its methods may be called from any goroutine.
type Link struct {
	// immutable
	fds     [2]int // A, B
	wake    int    // eventfd, readable once the link closes
	forward *direction
	reverse *direction

	threads sync.WaitGroup
	once    sync.Once
}

// Open makes the devices and starts forwarding. Addresses and routes are the caller's to set.
func Open(cfg Config) (*Link, error) {
	if cfg.MTU == 0 {
		cfg.MTU = 1500
	}
	if cfg.Queue == 0 {
		cfg.Queue = 16 << 20
	}
	if cfg.Queue < 2*maxPacket {
		return nil, fmt.Errorf("wan link: a queue of %d bytes holds less than two packets of %d", cfg.Queue, maxPacket)
	}
	a, err := openTun(cfg.A.Namespace, cfg.A.Interface, cfg.MTU, !cfg.NoOffload)
	if err != nil {
		return nil, fmt.Errorf("wan link: %w", err)
	}
	b, err := openTun(cfg.B.Namespace, cfg.B.Interface, cfg.MTU, !cfg.NoOffload)
	if err != nil {
		unix.Close(a)
		return nil, fmt.Errorf("wan link: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(a)
		unix.Close(b)
		return nil, fmt.Errorf("wan link: %w", err)
	}
	l := &Link{fds: [2]int{a, b}, wake: wake}
	l.forward = newDirection(a, b, wake, cfg.Queue, 1)
	l.reverse = newDirection(b, a, wake, cfg.Queue, 2)
	l.SetDelay(cfg.Delay)
	for _, d := range []*direction{l.forward, l.reverse} {
		l.threads.Go(d.run)
	}
	return l, nil
}

// SetDelay sets the one-way delay of both directions. Packets already under way keep theirs; none overtakes another.
func (l *Link) SetDelay(d time.Duration) {
	l.forward.delay.Store(int64(max(d, 0)))
	l.reverse.delay.Store(int64(max(d, 0)))
}

// SetJitter spreads the delay evenly by up to ±d, order kept.
func (l *Link) SetJitter(d time.Duration) {
	l.forward.jitter.Store(int64(max(d, 0)))
	l.reverse.jitter.Store(int64(max(d, 0)))
}

// SetLoss drops each packet with probability p, 0 to 1.
func (l *Link) SetLoss(p float64) {
	l.forward.loss.Store(math.Float64bits(p))
	l.reverse.loss.Store(math.Float64bits(p))
}

// SetDrop makes the link a black hole, silently: the devices stay up. Packets already under way still arrive.
func (l *Link) SetDrop(drop bool) {
	l.forward.drop.Store(drop)
	l.reverse.drop.Store(drop)
}

// Counters returns those from A to B and from B to A.
func (l *Link) Counters() (aToB, bToA Counters) { return l.forward.counters(), l.reverse.counters() }

// Close removes the devices and returns when both threads have ended. Packets under way are lost. Closing twice is harmless.
func (l *Link) Close() error {
	var err error
	l.once.Do(func() {
		_, werr := unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		if werr != nil {
			err = fmt.Errorf("wan link: wake its threads: %w", werr)
			return
		}
		l.threads.Wait()
		err = errors.Join(l.forward.err, l.reverse.err, unix.Close(l.fds[0]), unix.Close(l.fds[1]), unix.Close(l.wake))
	})
	return err
}

// settings are what may change while a direction runs.
type settings struct {
	delay, jitter atomic.Int64  // nanoseconds
	loss          atomic.Uint64 // float64 bits
	drop          atomic.Bool
}

// stats are what a direction counts.
type stats struct {
	packets, bytes, dropped, writeErrors atomic.Uint64
	lateness                             atomic.Int64 // nanoseconds, maximum
}

func (s *stats) counters() Counters {
	return Counters{
		Packets: s.packets.Load(), Bytes: s.bytes.Load(), Dropped: s.dropped.Load(),
		WriteErrors: s.writeErrors.Load(), MaxLateness: time.Duration(s.lateness.Load()),
	}
}
