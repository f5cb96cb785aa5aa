package rescue

import (
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"nearcast/proxy/h3/rescue/tunnel"
)

// processor is the CPU time of this process.
func processor() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const octets = 1200 // of the packets that are sent on

// BenchmarkSendOn is what the edge that a client's packet arrives at does with it, by how many come in one batch. The kernel's part includes
// putting it into the other socket, which over a network the other host does.
func BenchmarkSendOn(b *testing.B) {
	for _, batch := range []int{1, 8} {
		b.Run(string(rune('0'+batch)), func(b *testing.B) {
			k := pairOf(b, func(c *Config) { c.MaxRate = maxRate })
			m, id, p, by := k.packet(0, octets)
			b.ReportAllocs()
			start := processor()
			b.ResetTimer()
			for i := range b.N {
				m.N = octets
				k.hubs[1].Foreign(0, m, id, p, by)
				if i%batch == batch-1 {
					k.hubs[1].Flush(0)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(processor()-start)/float64(b.N), "cpu-ns/packet")
		})
	}
}

// BenchmarkTake is what the owner does with a datagram of the tunnel that it has read.
func BenchmarkTake(b *testing.B) {
	k := pairOf(b, func(c *Config) { c.MaxRate = maxRate })
	m, _, _, _ := k.packet(0, octets)
	packet := append([]byte(nil), m.Buffers[0][:octets]...)
	c := tunnel.Client{Remote: addrPort(m.Addr), Local: netip.MustParseAddrPort("127.0.0.9:443")}
	sealed := make([][]byte, 0, 1024)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(sealed) {
		b.StopTimer()
		for sealed = sealed[:0]; len(sealed) < min(cap(sealed), b.N); {
			var pair [2]tunnel.Buffer
			k.hubs[1].peers[0].link.Seal(time.Now(), tunnel.Forward, 0, c, packet, &pair)
			sealed = append(sealed, pair[0].Bytes())
		}
		b.StartTimer()
		for _, s := range sealed {
			m.N = copy(m.Buffers[0], s)
			k.hubs[0].Tunnelled(0, m)
		}
	}
}

// BenchmarkBothEdges is all that both do, the system calls included: one writes, the other reads.
func BenchmarkBothEdges(b *testing.B) {
	k := pairOf(b, func(c *Config) { c.MaxRate = maxRate })
	m, id, p, by := k.packet(0, octets)
	const batch = 8
	in := make([]ipv4.Message, batch)
	for i := range in {
		in[i].Buffers, in[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, 128)
	}
	conn := ipv4.NewPacketConn(k.udp[0])
	k.udp[0].SetReadDeadline(time.Time{})
	b.ReportAllocs()
	start, out := processor(), 0
	b.ResetTimer()
	for sent := 0; sent < b.N; {
		for range batch {
			m.N = octets
			k.hubs[1].Foreign(0, m, id, p, by)
			sent++
		}
		k.hubs[1].Flush(0)
		for got := 0; got < batch; {
			n, err := conn.ReadBatch(in[:batch-got], 0)
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				if k.hubs[0].Tunnelled(0, &in[i]) {
					out++
				}
			}
			got += n
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(processor()-start)/float64(out), "cpu-ns/packet")
	runtime.KeepAlive(in)
}

// BenchmarkHome is what a packet that is at home pays, while no client's packets come through other edges, and while some do.
func BenchmarkHome(b *testing.B) {
	k := pairOf(b, nil)
	m, id, _, _ := k.packet(0, octets)
	b.Run("nobody", func(b *testing.B) {
		for range b.N {
			k.hubs[0].Home(0, m, id)
		}
	})
	k.hubs[0].remember(k.hubs[0].lane(0), k.hubs[0].peers[0], tunnel.Client{Remote: netip.MustParseAddrPort("192.0.2.1:1"), Local: netip.MustParseAddrPort("127.0.0.9:443")}, id, 0)
	b.Run("others", func(b *testing.B) {
		for range b.N {
			k.hubs[0].Home(0, m, id)
		}
	})
}
