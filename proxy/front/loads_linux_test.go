package front

import (
	"context"
	"net"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestConnectionsThatWaitToBeAcceptedAreCounted(t *testing.T) {
	f, err := Open([]ListenConfig{{Address: "127.0.0.1:0"}, {Address: "[::1]:0"}}, TLSConfig{}, testLimits(), testLog(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.closeSockets()
	const waiting = 3
	for range waiting { // nobody accepts them before Run
		c, err := net.Dial("tcp", f.Listeners()[0].Address.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	// The kernel counts a connection in when the last segment of its handshake has come, which the client does not wait for.
	var queues []AcceptQueue
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if queues, err = f.AcceptQueues(); err != nil {
			t.Fatal(err)
		}
		if queues[0].Waiting >= waiting || time.Now().After(end) {
			break
		}
	}
	if len(queues) != 2 || queues[0].Waiting != waiting || queues[0].Limit < waiting || queues[0].Listener != "127.0.0.1:0" || queues[1].Waiting != 0 {
		t.Errorf("%+v", queues)
	}
	f.closeSockets()
	if queues, err := f.AcceptQueues(); err != nil || len(queues) != 0 {
		t.Errorf("of closed listeners: %+v, %v", queues, err)
	}
}

func TestOpenConnectionsAreToldWithTheirLimit(t *testing.T) {
	limits := testLimits()
	limits.MaxConnections = 200
	served := make(chan struct{})
	release := make(chan struct{})
	e := startEdge(t, handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		close(served)
		<-release
		_ = w.WriteHeader(200, nil, 0)
	}), limits)
	c, err := net.Dial("tcp", e.Listeners()[plainListener].Address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: example.test\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-served
	if open, limit := e.Connections(); open != 1 || limit != 200 {
		t.Errorf("%d of %d", open, limit)
	}
	close(release)
}
