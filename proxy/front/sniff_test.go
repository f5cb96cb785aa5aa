package front

import (
	"bytes"
	"io"
	"net"
	"testing"

	"nearcast/proxy/message"
)

// noWrite is a connection whose plain Write must not be used.
type noWrite struct {
	*replayTCP
	t *testing.T
}

func (c noWrite) Write(p []byte) (int, error) {
	c.t.Error("several buffers were written one by one")
	return c.replayTCP.Write(p)
}

// TestAReplayedTCPConnectionIsStillOne: what writes several buffers in one call, or ends one half, still can.
func TestAReplayedTCPConnectionIsStillOne(t *testing.T) {
	client, server := tcpPair(t)
	c := withAhead(server, []byte("ahead"))
	r, ok := c.(*replayTCP)
	if !ok {
		t.Fatalf("became a %T", c)
	}
	b := net.Buffers{[]byte("one"), []byte("two"), []byte("three")}
	if _, err := b.WriteTo(noWrite{r, t}); err != nil {
		t.Fatal(err)
	}
	if err := r.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "onetwothree" {
		t.Errorf("sent %q, %v", got, err)
	}
	_, _ = io.WriteString(client, " behind")
	client.Close()
	var got bytes.Buffer
	if n, err := io.Copy(&got, r); err != nil || n != 12 || got.String() != "ahead behind" {
		t.Errorf("copied %d bytes: %q, %v", n, &got, err)
	}
	if r.ahead != nil {
		t.Error("what was read ahead is still held")
	}
}

func TestNothingAheadIsTheConnectionItself(t *testing.T) {
	_, server := tcpPair(t)
	if c := withAhead(server, nil); c != server {
		t.Errorf("wrapped in a %T for nothing", c)
	}
}

// TestACorkIsGivenWhereThereIsTLS, and nowhere else.
func TestACorkIsGivenWhereThereIsTLS(t *testing.T) {
	e := startEdge(t, text(200, "ok"), testLimits())
	for i, want := range map[int]bool{tlsListener: true, plainListener: false} {
		client, server := tcpPair(t)
		go func() {
			if want {
				_ = tlsClient(client).Handshake()
			} else {
				_, _ = io.WriteString(client, "GET")
			}
		}()
		var info message.ConnInfo
		conn, http2, err := e.tcp[i].begin(server, nil, &info)
		if err != nil || http2 {
			t.Fatalf("listener %d: HTTP/2 %t, %v", i, http2, err)
		}
		if (info.Corker != nil) != want || (info.TLS != nil) != want {
			t.Errorf("listener %d: cork %v, TLS %v", i, info.Corker, info.TLS)
		}
		if n, ok := conn.(interface{ NetConn() net.Conn }); ok != want || ok && n.NetConn().(*corkable).NetConn() != server {
			t.Errorf("listener %d: the socket is not below a %T", i, conn)
		}
	}
}
