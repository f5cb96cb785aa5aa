package rescue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
)

func TestMain(m *testing.M) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	os.Exit(m.Run())
}

// family is what a test's addresses and sockets are.
type family struct {
	name, network string
	edges         [3]string
	anycast       string
	client        string
	six           bool // the sockets'
}

var families = []family{
	{"udp4", "udp4", [3]string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, "127.0.0.9", "127.0.0.1", false},
	{"IPv4 on a dual-stack socket", "udp", [3]string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}, "127.0.0.9", "127.0.0.1", true},
	{"IPv6", "udp", [3]string{"::1", "::1", "::1"}, "::1", "::1", true},
}

// node is an edge: a hub, a QUIC server that answers each stream with what it says, and the socket between.
type node struct {
	t     *testing.T
	udp   *net.UDPConn
	port  uint16
	hub   *Hub
	codec *cid.Codec
	set   *metrics.Set
	place cid.Place
	tr    *quic.Transport
	ln    *quic.Listener
	stop  context.CancelFunc
	work  sync.WaitGroup
	nonce atomic.Uint32
	ended sync.Once
	deaf  atomic.Bool // what other edges send it is lost
	conns sync.Map    // *quic.Conn
}

// fleetOptions are what the tests choose.
type fleetOptions struct {
	n         int
	reply     Reply
	sameplace bool // all edges are in one region
	announced func(edge int, a netip.Addr) bool
	deadAfter time.Duration
	maxRate   int
	log       *slog.Logger
	params    func(edge int) [8]byte
}

func fleetOf(t *testing.T, f family, o fleetOptions) []*node {
	t.Helper()
	ring, err := keys.New([]string{"a secret of the tests that is long enough"})
	if err != nil {
		t.Fatal(err)
	}
	if o.deadAfter == 0 {
		o.deadAfter = 2 * time.Second
	}
	var edges []Edge
	var nodes []*node
	for i := range o.n {
		udp := listen(t, f, 0)
		n := &node{t: t, udp: udp, port: uint16(udp.LocalAddr().(*net.UDPAddr).Port)}
		e := Edge{Address: netip.MustParseAddr(f.edges[i]), Region: fmt.Sprint("region ", i)}
		if o.sameplace {
			e.Region = "region"
		}
		e.Number = cid.EdgeNumber(netip.AddrPortFrom(e.Address, n.port))
		edges, nodes = append(edges, e), append(nodes, n)
	}
	for i, n := range nodes {
		cfg := Config{Self: edges[i], Instance: uint8(10 + i), Keys: func() *keys.Ring { return ring }, Reply: o.reply, DeadAfter: o.deadAfter, MaxRate: o.maxRate, Log: o.log}
		for j, e := range edges {
			if i != j {
				cfg.Peers = append(cfg.Peers, e)
			}
		}
		if o.announced != nil {
			cfg.Announced = func(a netip.Addr) bool { return o.announced(i, a) }
		}
		if o.params != nil {
			cfg.Parameters = o.params(i)
		}
		n.open(cfg, nodes)
	}
	for _, n := range nodes {
		n.awaitPeers()
	}
	return nodes
}

func listen(t *testing.T, f family, port uint16) *net.UDPConn {
	t.Helper()
	udp, err := net.ListenUDP(f.network, &net.UDPAddr{Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	return udp
}

// open starts the node. Edges have ports of their own here, since they share a host.
func (n *node) open(cfg Config, nodes []*node) {
	n.set = metrics.NewSet()
	cfg.Metrics = n.set
	n.hub = New(cfg, n.port)
	for _, p := range n.hub.peers {
		for _, other := range nodes {
			if p.edge.Number == cid.EdgeNumber(netip.AddrPortFrom(p.edge.Address, other.port)) {
				p.addr.Port = int(other.port)
			}
		}
	}
	n.hub.Add(0, n.udp)
	n.codec = cid.NewCodec(cfg.Keys, time.Now())
	epoch := keys.At(time.Now())
	n.place = cid.Place{Edge: cfg.Self.Number, Generation: uint16(epoch), Instance: cfg.Instance}
	reset := quic.StatelessResetKey(cfg.Keys().First().Key(keys.Reset, epoch, ""))
	n.tr = &quic.Transport{Conn: &testSocket{UDPConn: n.udp, batch: ipv4.NewPacketConn(n.udp), n: n}, ConnectionIDGenerator: n, StatelessResetKey: &reset}
	ln, err := n.tr.Listen(serverTLS(n.t), &quic.Config{MaxIdleTimeout: time.Minute})
	if err != nil {
		n.t.Fatal(err)
	}
	n.ln = ln
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.work.Go(func() { n.hub.Run(ctx) })
	n.work.Go(func() { n.serve(ctx) })
	n.t.Cleanup(n.kill)
}

func (n *node) awaitPeers() {
	n.t.Helper()
	for _, p := range n.hub.peers {
		await(n.t, "a peer that is up", func() bool { return p.view.Load().reach == up && p.link.Peer(time.Now()).Ready })
	}
}

// kill ends the node without a word to anybody.
func (n *node) kill() {
	n.ended.Do(func() {
		n.stop()
		n.udp.Close()
		n.tr.Close()
		n.work.Wait()
	})
}

func (n *node) serve(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		qc, err := n.ln.Accept(ctx)
		if err != nil {
			return
		}
		n.conns.Store(qc, true)
		conns.Go(func() {
			defer n.conns.Delete(qc)
			for {
				s, err := qc.AcceptStream(ctx)
				if err != nil {
					return
				}
				conns.Go(func() {
					b, err := io.ReadAll(s)
					if err == nil {
						fmt.Fprintf(s, "%v %s", qc.RemoteAddr(), b)
						s.Close()
					}
				})
			}
		})
	}
}

// ConnectionIDLen and GenerateConnectionID make the node a quic.ConnectionIDGenerator.
func (n *node) ConnectionIDLen() int { return cid.Len }

func (n *node) GenerateConnectionID() (quic.ConnectionID, error) {
	id := n.codec.Encode(n.place, n.nonce.Add(1))
	return quic.ConnectionIDFromBytes(id[:]), nil
}

// testSocket does what a QUIC listener's socket does with each datagram.
type testSocket struct {
	*net.UDPConn
	batch *ipv4.PacketConn
	n     *node
}

func (s *testSocket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	n, err := s.batch.ReadBatch(ms, flags)
	for i := range max(n, 0) {
		s.n.take(&ms[i])
	}
	s.n.hub.Flush(0)
	return n, err
}

func (n *node) take(m *ipv4.Message) {
	b := m.Buffers[0][:m.N]
	if IsTunnel(b) {
		if n.deaf.Load() {
			m.N = 0
			return
		}
		n.hub.Tunnelled(0, m)
		return
	}
	id, _ := cid.Destination(b)
	p, by, ok := n.codec.Decode(id)
	if ok && (p.Edge != n.place.Edge || p.Instance != n.place.Instance) {
		n.hub.Foreign(0, m, id, p, by)
		return
	}
	n.hub.Home(0, m, id)
}

func (s *testSocket) WriteMsgUDP(b, oob []byte, to *net.UDPAddr) (int, int, error) {
	if n, oobn, err, ok := s.n.hub.Write(0, b, oob, to); ok {
		return n, oobn, err
	}
	return s.UDPConn.WriteMsgUDP(b, oob, to)
}

// await waits for what other goroutines bring about.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("there is no ", what)
		}
	}
}

func (n *node) dropped(d drop) uint64 { return n.hub.metrics.dropped[d].Get() }

var certificate = sync.OnceValues(func() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	c, err := certificate()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"test"}}
}
