package tunnel

import (
	"bytes"
	"fmt"
	"testing"
)

var benchSizes = []int{60, 1200, 1252, 1452}

func BenchmarkSeal(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, _, now := twins(b)
			l.mtu.Store(MaxDatagram)
			into, p := new([2]Buffer), make([]byte, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if l.Seal(now, Forward, 1, client4, p, into) == 0 {
					b.Fatal()
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			l, o, now := twins(b)
			l.mtu.Store(MaxDatagram)
			into, in, p := new([2]Buffer), make([]byte, MaxPacket), make([]byte, size)
			var sealed [][]byte // 1000 packets, opened in turn; each round begins with a new window
			for range 1000 {
				for i := range l.Seal(now, Forward, 1, client4, p, into) {
					sealed = append(sealed, bytes.Clone(into[i].Bytes()))
				}
			}
			pieces := len(sealed) / 1000
			b.SetBytes(int64(size))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == len(sealed) {
					o.receivers.Load().pairs[0].window.reset(0)
					i = 0
				}
				for range pieces {
					if _, err := o.Open(now, in[:copy(in, sealed[i])]); err != nil {
						b.Fatal(err)
					}
					i++
				}
			}
		})
	}
}

// Two sockets at the same link.
func BenchmarkParallel(b *testing.B) {
	l, o, now := twins(b)
	b.SetBytes(1200)
	b.RunParallel(func(pb *testing.PB) {
		into, p := new([2]Buffer), make([]byte, 1180)
		for pb.Next() {
			l.Seal(now, Forward, 1, client4, p, into)
			if _, err := o.Open(now, into[0].Bytes()); err != nil && err != ErrReplayed { // held up for long
				b.Error(err)
			}
		}
	})
}

// What a forged datagram costs.
func BenchmarkForged(b *testing.B) {
	l, o, now := twins(b)
	into := new([2]Buffer)
	l.Seal(now, Forward, 1, client4, make([]byte, 1200), into)
	for name, d := range map[string][]byte{"hello": l.Tick(now, Hello{})[0], "packet": into[0].Bytes(), "session": change(bytes.Clone(into[0].Bytes()), 12, 0)} {
		d := append(make([]byte, 0, MaxDatagram), d...)
		d[len(d)-1]++
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.Open(now, d); err == nil {
					b.Fatal()
				}
			}
		})
	}
}
