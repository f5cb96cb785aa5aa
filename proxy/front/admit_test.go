package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// ends answers with the ends of the connection.
var ends = handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
	body := r.Client.String() + " " + r.Local.String()
	_ = w.WriteHeader(200, nil, int64(len(body)))
	_, _ = io.WriteString(w, body)
})

// behindBalancer is an edge whose listeners take connections from a load balancer at from.
func behindBalancer(t *testing.T, limits LimitsConfig, from string) *edge {
	t.Helper()
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	pp := &ProxyProtocolConfig{From: []netip.Prefix{netip.MustParsePrefix(from)}}
	return startListeners(t, ends, limits, []ListenConfig{
		{Address: "127.0.0.1:0", TLS: true, ProxyProtocol: pp}, {Address: "127.0.0.1:0", ProxyProtocol: pp}}, pair)
}

// talk sends header, then a request over TLS or plain, and returns the response's status and body.
func (e *edge) talk(t *testing.T, listener int, header string, proto string) (status int, body string, err error) {
	t.Helper()
	c, err := net.Dial("tcp", e.addr(listener))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	cfg := insecure.Clone()
	cfg.NextProtos = []string{proto}
	dial := func(context.Context, string, string) (net.Conn, error) {
		_, err := io.WriteString(c, header)
		return c, err
	}
	tr := &http.Transport{DialContext: dial, TLSClientConfig: cfg, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if _, err := io.WriteString(c, header); err != nil {
			return nil, err
		}
		tc := tls.Client(c, cfg)
		return tc, tc.HandshakeContext(ctx)
	}}
	defer tr.CloseIdleConnections()
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(proto == "http/1.1")
	tr.Protocols.SetHTTP2(proto == "h2" && listener == tlsListener)
	tr.Protocols.SetUnencryptedHTTP2(proto == "h2" && listener == plainListener)
	scheme := map[int]string{tlsListener: "https", plainListener: "http"}[listener]
	r, err := http.NewRequest("GET", scheme+"://example.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestALoadBalancerNamesTheClient(t *testing.T) {
	e := behindBalancer(t, testLimits(), "127.0.0.0/8")
	headers := map[string]string{
		"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n": ipv4Ends,
		v2(0x21, 0x21, v2tcp6(), tlv(4, "padding")):      ipv6Ends,
		v2(0x20, 0):         "127.0.0.1:",
		"PROXY UNKNOWN\r\n": "127.0.0.1:",
	}
	for _, listener := range []int{tlsListener, plainListener} {
		for _, proto := range []string{"http/1.1", "h2"} {
			for header, want := range headers {
				status, body, err := e.talk(t, listener, header, proto)
				if err != nil || status != 200 || !strings.HasPrefix(body, want) {
					t.Errorf("listener %d, %s, %q: %d %q %v, want %s", listener, proto, header, status, body, err, want)
				}
			}
		}
	}
	if len(e.quic) > 0 {
		t.Error("HTTP/3 is served, where nobody can name the client")
	}
	if got := e.Listeners()[0].Proxies; len(got) != 1 || got[0].String() != "127.0.0.0/8" {
		t.Errorf("described with %v", got)
	}
}

func TestALoadBalancerMustNameTheClient(t *testing.T) {
	e := behindBalancer(t, testLimits(), "127.0.0.1/32")
	for _, listener := range []int{tlsListener, plainListener} {
		for _, header := range []string{"", "PROXY TCP4 192.0.2.1 198.51.100.1 8080 65536\r\n", v2(0x21, 0x12, v2tcp4())} {
			if status, body, err := e.talk(t, listener, header, "http/1.1"); err == nil {
				t.Errorf("listener %d, %q: %d %q", listener, header, status, body)
			}
		}
	}
	if n := e.tcp[tlsListener].m.refused[refusedHeader].Get(); n != 6 { // the listeners have one name, and so one counter
		t.Errorf("%d counted, want 6", n)
	}
}

// TestNobodyElseNamesTheClient: from an address that is not listed, the header is no request.
func TestNobodyElseNamesTheClient(t *testing.T) {
	e := behindBalancer(t, testLimits(), "192.0.2.0/24")
	for _, listener := range []int{tlsListener, plainListener} {
		for _, header := range []string{"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n", v2(0x21, 0x11, v2tcp4())} {
			if status, body, err := e.talk(t, listener, header, "http/1.1"); err == nil && status != 400 {
				t.Errorf("listener %d, %q: %d %q", listener, header, status, body)
			}
		}
		if status, body, err := e.talk(t, listener, "", "http/1.1"); err != nil || status != 200 || !strings.HasPrefix(body, "127.0.0.1:") {
			t.Errorf("listener %d without a header: %d %q %v", listener, status, body, err)
		}
	}
}

func TestASlowProxyHeaderIsCut(t *testing.T) {
	limits := testLimits()
	limits.HeaderTimeout = 300 * time.Millisecond
	e := behindBalancer(t, limits, "127.0.0.1/32")
	for _, sent := range []string{"", "PROXY TCP4 192", proxyV2 + "\x21\x11\x00\xff"} {
		c := dialPlain(t, e)
		_, _ = io.WriteString(c, sent)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection is still open", sent)
		}
	}
	eventually(t, "they are counted", func() bool { return e.tcp[plainListener].m.refused[refusedHeader].Get() == 3 })
}

// TestLimitsCountForTheNamedClient, not for the load balancer.
func TestLimitsCountForTheNamedClient(t *testing.T) {
	limits := testLimits()
	limits.MaxConnectionsPerAddress, limits.HandshakesPerAddress = 1, RateConfig{Rate: 1, Burst: 1}
	e := behindBalancer(t, limits, "127.0.0.1/32")
	from := func(client string) net.Conn {
		c := dialPlain(t, e)
		fmt.Fprintf(c, "PROXY TCP4 %s 198.51.100.1 8080 443\r\nGET / HTTP/1.1\r\nHost: example.test\r\n\r\n", client)
		return c
	}
	served := func(c net.Conn) bool {
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.HasPrefix(line, "HTTP/1.1 200")
	}
	first := from("192.0.2.1")
	if !served(first) {
		t.Fatal("the first connection was not served")
	}
	if served(from("192.0.2.1")) {
		t.Error("a second connection of the address was served")
	}
	if !served(from("192.0.2.2")) {
		t.Error("another address was not served")
	}
	first.Close()
	eventually(t, "the place is free again", func() bool { return served(from("192.0.2.1")) })
	for i, want := range []bool{true, false} {
		if _, _, err := e.talk(t, tlsListener, "PROXY TCP4 192.0.2.9 198.51.100.1 8080 443\r\n", "http/1.1"); (err == nil) != want {
			t.Errorf("handshake %d: %v", i, err)
		}
		eventually(t, "its connection has ended", func() bool { return e.open.Load() <= 2 })
	}
	if n := e.tcp[tlsListener].m.refused[refusedHandshakes].Get(); n != 1 {
		t.Errorf("%d handshakes refused, want 1", n)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	limits := testLimits()
	limits.MaxConnectionsPerAddress = 2
	e := startEdge(t, text(200, "ok"), limits)
	held := []net.Conn{dialPlain(t, e), dialPlain(t, e)}
	eventually(t, "two connections are open", func() bool { return e.open.Load() == 2 })
	if n, err := dialPlain(t, e).Read(make([]byte, 1)); err == nil {
		t.Errorf("the third connection got %d bytes, want it closed", n)
	}
	if n := e.tcp[plainListener].m.refused[refusedAddress].Get(); n != 1 {
		t.Errorf("%d refusals counted, want 1", n)
	}
	held[0].Close()
	eventually(t, "a place is free again", func() bool { return e.open.Load() < 2 })
	c := e.h1()
	defer c.close()
	c.get(t, "/")
}

func TestHandshakesPerAddress(t *testing.T) {
	limits := testLimits()
	limits.HandshakesPerAddress = RateConfig{Rate: 1, Burst: 3}
	e := startEdge(t, text(200, "ok"), limits)
	for i := range 6 {
		c, err := tls.Dial("tcp", e.addr(tlsListener), insecure)
		if i < 3 && err != nil {
			t.Errorf("handshake %d: %v", i, err)
		}
		if err == nil {
			c.Close()
		}
	}
	if n := e.tcp[tlsListener].m.refused[refusedHandshakes].Get(); n < 2 {
		t.Errorf("%d refusals counted, want 3 or so", n)
	}
	for range 6 { // no handshake, no limit
		c := e.h1()
		c.get(t, "/")
		c.close()
	}
}

// TestQUICCountsForTheAddressToo: for its connections and its handshakes, which are one over both transports.
func TestQUICCountsForTheAddressToo(t *testing.T) {
	limits := testLimits()
	limits.MaxConnectionsPerAddress, limits.HandshakesPerAddress = 2, RateConfig{Rate: 1, Burst: 1000}
	e := startEdge(t, text(200, "ok"), limits)
	held := []net.Conn{dialPlain(t, e), dialPlain(t, e)}
	eventually(t, "two connections are open", func() bool { return e.open.Load() == 2 })
	refused := e.h3()
	defer refused.close()
	if _, err := refused.rt.RoundTrip(refused.request(t, "GET", "/", nil)); err == nil {
		t.Error("a third connection of the address was taken")
	}
	if n := e.quic[0].m.refused[refusedAddress].Get(); n == 0 {
		t.Error("the refusal is not counted")
	}
	held[0].Close()
	eventually(t, "a place is free again", func() bool { return e.open.Load() < 2 })
	c := e.h3()
	c.get(t, "/")
	c.close()
	eventually(t, "the QUIC connection has given its place back", func() bool { return e.open.Load() == 1 })

	k := keyOf(netip.MustParseAddr("127.0.0.1"))
	shard := e.addresses.shard(k)
	shard.mu.Lock()
	spent := shard.m[k]
	shard.mu.Unlock()
	if spent.owed == 0 || spent.conns != 1 {
		t.Errorf("the address is remembered as %+v, want a handshake and one connection", spent)
	}
}

// TestClientsThatNeverBegin leave room for those that have.
func TestClientsThatNeverBegin(t *testing.T) {
	limits := testLimits()
	limits.MaxConnections = 2 * minEarly
	e := startEdge(t, text(200, "ok"), limits)
	kept := dialPlain(t, e)
	ask := func() bool {
		_, _ = io.WriteString(kept, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(kept), nil)
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return err == nil && resp.StatusCode == 200
	}
	if !ask() {
		t.Fatal("not served at first")
	}
	var silent []net.Conn
	for range minEarly {
		silent = append(silent, dialPlain(t, e))
	}
	eventually(t, "all have been accepted", func() bool { return e.early.Load() == minEarly })
	if n, err := dialPlain(t, e).Read(make([]byte, 1)); err == nil {
		t.Errorf("one more got %d bytes, want it closed", n)
	}
	if n := e.tcp[plainListener].m.refused[refusedEarly].Get(); n != 1 {
		t.Errorf("%d refusals counted, want 1", n)
	}
	if !ask() {
		t.Error("the client that has begun is not served any more")
	}
	silent[0].Close()
	eventually(t, "a place is free again", func() bool { return e.early.Load() < minEarly })
	c := e.h1()
	defer c.close()
	c.get(t, "/")
}
