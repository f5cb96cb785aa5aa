package rescue

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/ipv4"

	"nearcast/proxy/h3/rescue/tunnel"
)

// maxBatch is how many datagrams a system call sends at most. The even ones begin a pair, for what doesn't fit into one.
const maxBatch = 32

// lane is the sending side of a worker's socket.
type lane struct {
	udp   *net.UDPConn
	conn  *ipv4.PacketConn // for sendmmsg, whatever the family
	six   bool             // the socket is one for IPv6, which gives IPv4 addresses in 16 octets
	local netip.Addr       // what it is bound to; invalid: everything

	mu    sync.Mutex // mostly held by the worker
	batch batch      // what was left to be sent until Flush
}

func newLane(udp *net.UDPConn) *lane {
	l := &lane{udp: udp, conn: ipv4.NewPacketConn(udp)}
	if a, ok := udp.LocalAddr().(*net.UDPAddr); ok {
		l.six = isSix(udp)
		if ip := addrPort(a).Addr(); !ip.IsUnspecified() {
			l.local = ip
		}
	}
	return l
}

// batch are datagrams that one system call will send.
type batch struct {
	n        int
	messages [maxBatch]ipv4.Message
	vectors  [maxBatch][1][]byte
	control  [maxBatch][maxControl]byte
	sealed   [maxBatch]tunnel.Buffer
	copies   [maxBatch][tunnel.MaxDatagram]byte
}

// batches are for those that send without a worker.
var batches = sync.Pool{New: func() any { return new(batch) }}

// room reports whether n more have a place.
func (b *batch) room(n int) bool { return b.n+n <= maxBatch }

// pair is where the next two datagrams can be made.
func (b *batch) pair() *[2]tunnel.Buffer { return (*[2]tunnel.Buffer)(b.sealed[b.n : b.n+2]) }

// add adds data, which must lie in the next place or stay as it is until send.
func (b *batch) add(data []byte, to *net.UDPAddr, c control) {
	i := b.n
	b.n++
	b.vectors[i][0] = data
	m := &b.messages[i]
	m.Buffers = b.vectors[i][:]
	m.OOB = appendControl(b.control[i][:0], c)
	m.Addr = to
}

// copy adds a copy of data. false: it is too long.
func (b *batch) copy(data []byte, to *net.UDPAddr, c control) bool {
	place := b.copies[b.n][:]
	if len(data) > len(place) {
		return false
	}
	b.add(place[:copy(place, data)], to, c)
	return true
}

// send sends all and returns how many the kernel did not take.
func (b *batch) send(conn *ipv4.PacketConn) (refused int) {
	for ms := b.messages[:b.n]; len(ms) > 0; {
		n, err := conn.WriteBatch(ms, 0)
		if err != nil || n <= 0 { // it is the first that could not be sent
			refused++
			n = 1
		}
		ms = ms[n:]
	}
	for i := range b.n {
		b.messages[i].Addr = nil
		b.vectors[i][0] = nil
	}
	b.n = 0
	return refused
}
