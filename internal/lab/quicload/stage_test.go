package quicload

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/origin"
	"nearcast/internal/pki"
)

const testHost = "www.lab.example"

// stage is a server and a client, each in a namespace of its own, joined by a cable.
type stage struct {
	client, server netns.Namespace
	target         Target
	answered       atomic.Int64 // lines and responses since the server was replaced
	silent         atomic.Bool  // does not answer
	hanging        atomic.Int64 // answers that were not given for that, since the server was replaced
	last           atomic.Pointer[quic.Conn]
	edge           atomic.Value      // the server's name, a string
	replace        func(name string) // gives the server a successor with the same keys
}

// newStage brings up a server of the lab's origin over HTTP/3 and HTTP/2.
func newStage(t *testing.T) *stage {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	name := fmt.Sprintf("qc-%d-%d-", os.Getpid(), time.Now().UnixNano()%1e6)
	s := &stage{client: netns.Namespace(name + "client"), server: netns.Namespace(name + "server")}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, n := range []netns.Namespace{s.client, s.server} {
		if err := n.Create(ctx); err != nil {
			t.Skipf("needs network namespaces: %v", err)
		}
		t.Cleanup(func() {
			if err := n.Delete(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	must(t, s.client.IP(ctx, "link add up0 type veth peer name up0 netns "+string(s.server), "addr add 198.51.100.1/24 dev up0",
		"addr add 2001:db8:1::1/64 dev up0", "link set up0 up"))
	must(t, s.server.IP(ctx, "addr add 198.51.100.2/24 dev up0", "addr add 2001:db8:1::2/64 dev up0", "link set up0 up"))

	dir := t.TempDir()
	authority, err := pki.NewAuthority(time.Now(), "a test", time.Hour)
	must(t, err)
	ca, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, authority.WriteFile(ca))
	must(t, authority.Issue("edge-1", []string{testHost}, nil, cert, key))
	hash, err := pki.KeyHash(cert)
	must(t, err)
	s.target = Target{Namespace: s.client, Host: testHost, Address: netip.MustParseAddr("198.51.100.2"), Authority: ca, KeyHashes: []string{hash},
		Dir: dir, Log: filepath.Join(dir, "client.log")}
	s.serve(t, cert, key)
	return s
}

func (s *stage) serve(t *testing.T, cert, key string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	must(t, err)
	conf := &tls.Config{Certificates: []tls.Certificate{pair}}
	conf.SetSessionTicketKeys([][32]byte{{1}})
	from := origin.New("tyo")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Via", "1.1 other, 3.0 "+s.edge.Load().(string)+" (nearcast)")
		from.ServeHTTP(&answer{w, s, r.Context()}, r)
	})
	end := func() {}
	s.replace = func(name string) {
		t.Helper()
		end()
		end = func() {}
		s.edge.Store(name)
		s.answered.Store(0)
		s.hanging.Store(0)
		end = s.serveOnce(t, conf, handler)
	}
	s.replace("edge-1")
	t.Cleanup(func() { end() })
}

// serveOnce serves until the function that it returns is called, which ends all without a word to anybody.
func (s *stage) serveOnce(t *testing.T, conf *tls.Config, handler http.Handler) func() {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	socket, err := free(ctx, func() (*net.UDPConn, error) { return s.server.ListenUDP("udp", &net.UDPAddr{Port: 443}) })
	must(t, err)
	tr := &quic.Transport{Conn: socket, StatelessResetKey: &quic.StatelessResetKey{2}}
	quicListener, err := tr.ListenEarly(http3.ConfigureTLSConfig(conf), &quic.Config{Allow0RTT: true})
	must(t, err)
	over3 := &http3.Server{Handler: handler, ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
		s.last.Store(c)
		return ctx
	}}
	listener, err := free(ctx, func() (net.Listener, error) { return s.server.Listen(ctx, "tcp", ":443") })
	must(t, err)
	over2 := &http.Server{Handler: handler, TLSConfig: conf.Clone()}
	done := make(chan error, 2)
	go func() { done <- over3.ServeListener(quicListener) }()
	go func() { done <- over2.ServeTLS(listener, "", "") }()
	return func() {
		_, _, _, _, _ = socket.Close(), over3.Close(), quicListener.Close(), tr.Close(), over2.Close()
		<-done
		<-done
	}
}

// free waits for an address: a process that another test starts has a copy of a socket that was closed, until it runs its program.
func free[T any](ctx context.Context, listen func() (T, error)) (l T, err error) {
	err = poll(ctx, func() (bool, error) {
		var err error
		l, err = listen()
		if errors.Is(err, syscall.EADDRINUSE) {
			return false, nil
		}
		return true, err
	})
	return l, err
}

// answer counts what is written: a response of the origin's is one write, and a line of a stream is. A silent server writes nothing.
type answer struct {
	http.ResponseWriter
	stage *stage
	asked context.Context
}

func (a *answer) Write(p []byte) (int, error) {
	if a.stage.silent.Load() {
		a.stage.hanging.Add(1)
		<-a.asked.Done()
		return 0, context.Cause(a.asked)
	}
	a.stage.answered.Add(1)
	return a.ResponseWriter.Write(p)
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// await waits until the server has answered so often.
func (s *stage) await(t *testing.T, ctx context.Context, n int64) {
	t.Helper()
	err := poll(ctx, func() (bool, error) { return s.answered.Load() >= n, nil })
	if err != nil {
		t.Errorf("%d of %d answers: %v", s.answered.Load(), n, err)
	}
}

// gone checks that nothing of a client is left in its namespace, nor of its files.
func (s *stage) gone(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", string(s.client)).Output()
	if err != nil || len(out) > 0 {
		t.Errorf("processes in the client's namespace: %q %v", out, err)
	}
	left, err := filepath.Glob(filepath.Join(s.target.Dir, "*-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files of the client: %q %v", left, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
