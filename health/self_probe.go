package health

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// Protocol is an HTTP version that a listener is asked over.
type Protocol string

const (
	H1 Protocol = "h1"
	H2 Protocol = "h2" // over TLS by ALPN, on a plain listener with prior knowledge (RFC 9113 §3.3)
	H3 Protocol = "h3"
)

// A request for SelfPath with the field SelfField is the edge asking itself. Whoever serves it and knows the token
// answers 200 with SelfField holding SelfReply(token); any other token gets what any unknown path gets.
const (
	SelfPath  = "/.well-known/nearcast/self"
	SelfField = "nearcast-self-probe"
)

// SelfReply is the answer to a token: its SHA-256 in hex. It tells a probe that it reached this process and not another
// on the same address, since the token is drawn anew in each process and only sent to our own listeners.
func SelfReply(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// SelfProbe asks one of the edge's own listeners for SelfPath, over a new connection each time.
type SelfProbe struct {
	Protocol Protocol
	// Address is the listener's, host:port. An unspecified host means the loopback address of that family, IPv4 when there is none.
	Address string
	// TLS says that the listener terminates TLS. The certificate's name and chain are not checked, but it must be valid now.
	TLS bool
	// ServerName is the SNI and the request's authority. Default: the address dialled.
	ServerName string
	Token      string
	// Source is the probe's own address. Default: the kernel's choice. From a loopback address the kernel lets nothing out to another
	// machine (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3), and lets nothing in that pretends to it: so what answers is on this machine, and no
	// stranger uses up what one address may do.
	Source netip.Addr
	// Proxies are the addresses from which the listener wants a PROXY protocol header; the probe may come from one of them.
	Proxies []netip.Prefix
}

// Probe performs one request. The time returned is that of the whole exchange, from the first packet to the response's end.
func (p SelfProbe) Probe(ctx context.Context) (time.Duration, error) {
	addr, err := dialAddress(p.Address)
	if err != nil {
		return 0, err
	}
	var do func(context.Context, string) (*http.Response, error)
	switch p.Protocol {
	case H1:
		do = p.overHTTP1
	case H2:
		do = p.overHTTP2
	case H3:
		do = p.overHTTP3
	default:
		return 0, fmt.Errorf("%q is not a protocol of a listener", p.Protocol)
	}
	start := time.Now()
	if err := p.route(ctx, addr); err != nil {
		return 0, err
	}
	resp, err := do(ctx, addr)
	if err != nil {
		return 0, ctxError(ctx, err)
	}
	if resp.StatusCode != http.StatusOK {
		return 0, &Error{ReasonStatus, fmt.Errorf("status %d to the self probe, wanted 200", resp.StatusCode)}
	}
	if resp.Header.Get(SelfField) != SelfReply(p.Token) {
		return 0, &Error{ReasonNotSelf, errors.New("the listener's address is answered, but not by this process")}
	}
	return time.Since(start), nil
}

// route refuses an address that this machine does not have, as far as the kernel says so: a UDP socket that is connected sends nothing.
func (p SelfProbe) route(ctx context.Context, addr string) error {
	if !p.Source.IsLoopback() {
		return nil
	}
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0))}
	conn, err := d.DialContext(ctx, "udp", addr)
	if errors.Is(err, syscall.EINVAL) {
		return &Error{ReasonUnreachable, fmt.Errorf("this machine does not have the address: %w", err)}
	}
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p SelfProbe) overHTTP1(ctx context.Context, addr string) (*http.Response, error) {
	conn, err := p.connect(ctx, addr, "http/1.1")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer closeWithContext(ctx, conn)()
	return exchange(conn, "GET "+SelfPath+" HTTP/1.1\r\nHost: "+p.authority(addr)+"\r\n"+SelfField+": "+p.Token+"\r\nConnection: close\r\n\r\n")
}

func (p SelfProbe) overHTTP2(ctx context.Context, addr string) (*http.Response, error) {
	conn, err := p.connect(ctx, addr, "h2")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer closeWithContext(ctx, conn)()
	given := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	t := &http.Transport{DialContext: given, DialTLSContext: given, DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP2(p.TLS)
	t.Protocols.SetUnencryptedHTTP2(!p.TLS)
	cc, err := t.NewClientConn(ctx, p.scheme(), addr)
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	return p.roundTrip(ctx, addr, cc)
}

func (p SelfProbe) overHTTP3(ctx context.Context, addr string) (*http.Response, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0)))
	if err != nil {
		return nil, err
	}
	defer socket.Close()
	transport := &quic.Transport{Conn: socket}
	defer transport.Close()
	config := &quic.Config{HandshakeIdleTimeout: timeLeft(ctx)}
	conn, err := transport.Dial(ctx, to, p.tlsConfig(http3.NextProtoH3), config)
	if err != nil {
		return nil, err
	}
	defer conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	t := &http3.Transport{DisableCompression: true}
	defer t.Close()
	return p.roundTrip(ctx, addr, t.NewClientConn(conn))
}

// timeLeft is the time until the deadline, 0 without one.
func timeLeft(ctx context.Context) time.Duration {
	if d, ok := ctx.Deadline(); ok {
		return time.Until(d)
	}
	return 0
}

// roundTrip asks over an HTTP/2 or HTTP/3 connection and reads the response to its end.
func (p SelfProbe) roundTrip(ctx context.Context, addr string, rt http.RoundTripper) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.scheme()+"://"+p.authority(addr)+SelfPath, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(SelfField, p.Token)
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	_, err = io.CopyN(io.Discard, resp.Body, maxProbeBytes)
	if err != nil && err != io.EOF {
		return nil, err
	}
	return resp, nil
}

// introduce sends a PROXY protocol header where the listener wants one: the connection is for nobody else.
func (p SelfProbe) introduce(conn net.Conn) error {
	from, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return nil
	}
	for _, prefix := range p.Proxies {
		if prefix.Contains(from.Addr().Unmap()) {
			_, err := io.WriteString(conn, "PROXY UNKNOWN\r\n")
			return err
		}
	}
	return nil
}

func (p SelfProbe) scheme() string {
	if p.TLS {
		return "https"
	}
	return "http"
}

func (p SelfProbe) authority(addr string) string {
	if p.ServerName != "" {
		return p.ServerName
	}
	return addr
}

// connect makes a TCP connection and, where the listener has it, the TLS handshake for one ALPN protocol.
func (p SelfProbe) connect(ctx context.Context, addr, alpn string) (net.Conn, error) {
	var d net.Dialer
	if p.Source.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Source, 0))
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := p.introduce(conn); err != nil {
		conn.Close()
		return nil, err
	}
	if !p.TLS {
		return conn, nil
	}
	tc := tls.Client(conn, p.tlsConfig(alpn))
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		if ReasonOf(err) == ReasonOther { // a remote alert has no type of its own
			err = &Error{ReasonTLS, err}
		}
		return nil, err
	}
	// A server without ALPN speaks HTTP/1.1.
	if got := tc.ConnectionState().NegotiatedProtocol; got != alpn && (got != "" || alpn != "http/1.1") {
		conn.Close()
		return nil, &Error{ReasonTLS, fmt.Errorf("ALPN negotiated %q, wanted %q", got, alpn)}
	}
	return tc, nil
}

func (p SelfProbe) tlsConfig(alpn string) *tls.Config {
	name := p.ServerName
	if name == "" {
		name = "localhost" // no name fits; without one the handshake is refused
	}
	return &tls.Config{
		ServerName: name,
		NextProtos: []string{alpn},
		// Clients check the name and the chain against roots this machine may not have. What the edge must notice itself
		// is that its certificate has run out.
		InsecureSkipVerify: true,
		VerifyConnection:   verifyLeaf,
	}
}

// verifyLeaf refuses a certificate that is not valid now.
func verifyLeaf(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return &Error{ReasonCertificate, errors.New("the listener sent no certificate")}
	}
	leaf, now := cs.PeerCertificates[0], time.Now()
	if now.After(leaf.NotAfter) {
		return &Error{ReasonCertificate, fmt.Errorf("the certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))}
	}
	if now.Before(leaf.NotBefore) {
		return &Error{ReasonCertificate, fmt.Errorf("the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))}
	}
	return nil
}

// dialAddress turns a listener's address into one that can be dialled.
func dialAddress(listen string) (string, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", err
	}
	if host == "" {
		host = "127.0.0.1"
	} else if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port), nil
}
