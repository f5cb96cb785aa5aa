package stage

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
)

// prove waits until the server answers and sees that it does the row's work: the body, the protocol, TLS as for all, and the origin asked
// each time or not again.
func (s *server) prove(ctx context.Context) error {
	client, end := s.client()
	defer end()
	if err := s.awaitAnswer(ctx, client); err != nil {
		return err
	}
	for range 2 { // some servers store an answer only after they have sent it
		if err := s.get(ctx, client); err != nil {
			return err
		}
	}
	before, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.asked = before
	const again = 3
	for range again {
		if err := s.get(ctx, client); err != nil {
			return err
		}
	}
	return s.Check(ctx, again)
}

// awaitAnswer repeats the first request until it succeeds, the server has ended or ctx does.
func (s *server) awaitAnswer(ctx context.Context, client *http.Client) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := s.get(ctx, client)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // that the time is over says least
			last = err
		}
		if s.program != nil && !s.program.Alive() {
			return errors.New("it ended instead of serving")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it did not answer as it must: %w", last)
		case <-tick.C:
		}
	}
}

// get asks for the row's body once.
func (s *server) get(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	scheme := "https"
	if s.row.Protocol == peers.HTTP1 {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+Host+origin.Path(s.row.Body), nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	if !bytes.Equal(body, origin.Body(s.row.Body)) {
		return fmt.Errorf("a body of %d bytes that is not the one of %d", len(body), s.row.Body)
	}
	return alike(s.row.Protocol, resp.ProtoMajor, resp.TLS)
}

// alike says what of a response's connection is not as for all.
func alike(p peers.Protocol, major int, state *tls.ConnectionState) error {
	if want := map[peers.Protocol]int{peers.HTTP1: 1, peers.HTTP1TLS: 1, peers.HTTP2: 2, peers.HTTP3: 3}[p]; major != want {
		return fmt.Errorf("it speaks HTTP/%d, not HTTP/%d", major, want)
	}
	if p == peers.HTTP1 {
		return nil
	}
	switch {
	case state == nil:
		return errors.New("no TLS")
	case state.Version != tls.VersionTLS13:
		return fmt.Errorf("%s instead of TLS 1.3", tls.VersionName(state.Version))
	case state.CipherSuite != tls.TLS_AES_128_GCM_SHA256:
		return fmt.Errorf("cipher suite %s instead of TLS_AES_128_GCM_SHA256", tls.CipherSuiteName(state.CipherSuite))
	case state.CurveID != tls.X25519:
		return fmt.Errorf("key exchange %v instead of X25519", state.CurveID)
	}
	return nil
}

// client is a client that speaks the row's protocol only, to this server whatever the URL, and what ends it.
func (s *server) client() (*http.Client, func()) {
	conf := &tls.Config{RootCAs: s.roots, ServerName: Host, CurvePreferences: []tls.CurveID{tls.X25519}}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.address)
	}
	if s.row.Protocol == peers.HTTP3 {
		t := &http3.Transport{TLSClientConfig: conf, Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, s.address, c, q)
		}}
		return &http.Client{Transport: t}, func() { _ = t.Close() }
	}
	t := &http.Transport{TLSClientConfig: conf, DialContext: dial, DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(s.row.Protocol != peers.HTTP2)
	t.Protocols.SetHTTP2(s.row.Protocol == peers.HTTP2)
	return &http.Client{Transport: t}, t.CloseIdleConnections
}

// count asks the origin how often it was asked.
func (s *server) count(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.site.Origin.String()+"/count", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("origin: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err != nil {
		return 0, fmt.Errorf("origin: %w", err)
	}
	return strconv.ParseInt(string(text), 10, 64)
}
