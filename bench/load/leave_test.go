package load

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// TestH3ServerThatAsksToLeave: the connection is replaced and no request is lost.
func TestH3ServerThatAsksToLeave(t *testing.T) {
	conf, client := certificate(t)
	l, err := quic.ListenAddr("127.0.0.1:0", http3.ConfigureTLSConfig(conf), nil)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	var conns, requests atomic.Int64
	old := &http3.Server{}
	old.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 5 {
			serving.Go(func() { old.Shutdown(context.Background()) })
		}
		hello(w, r)
	})
	next := &http3.Server{Handler: http.HandlerFunc(hello)}
	serving.Go(func() {
		for {
			c, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			s := next
			if conns.Add(1) == 1 {
				s = old
			}
			serving.Go(func() { s.ServeQUICConn(c) })
		}
	})
	t.Cleanup(func() { old.Close(); next.Close(); l.Close(); serving.Wait() })
	r := mustRun(t, Options{URL: "https://" + l.Addr().String(), Protocol: HTTP3, TLS: client, Streams: 3, Requests: 300})
	if r.OK != 300 || r.Failed != 0 || conns.Load() != 2 || requests.Load() < 5 {
		t.Errorf("%d connections, %d requests to the first; %+v", conns.Load(), requests.Load(), r)
	}
}
