package load

import (
	"os"
	"strings"
	"testing"
	"time"

	"nearcast/bench/process"
)

func TestHandshakes(t *testing.T) {
	s := serve(t, hello)
	for _, protocol := range []string{HTTP1, HTTP2, HTTP3} {
		for _, kind := range []string{Full, Resumed} {
			r := mustRun(t, Options{URL: s.https, Protocol: protocol, TLS: s.client, Handshakes: kind, Connections: 3, Requests: 12})
			if r.OK != 12 || r.Failed != 0 || r.Handshakes != kind || r.Latency.Max == 0 {
				t.Errorf("%s %s: %+v", kind, protocol, r)
			}
		}
	}
	if n := s.count(); n != 12+3+12+3 { // HTTP/1.1 has no other sign that the server has finished
		t.Errorf("%d requests were made", n)
	}
}

func TestResumingNeedsAServerThatDoes(t *testing.T) {
	conf, client := certificate(t)
	conf.SessionTicketsDisabled = true
	url := serveTLS(t, conf)
	_, err := Run(t.Context(), Options{URL: url, Protocol: HTTP2, TLS: client, Handshakes: Resumed, Requests: 1})
	if err == nil || !strings.Contains(err.Error(), "no ticket") {
		t.Errorf("%v", err)
	}
}

func TestIdleConnectionsAreHeldAndCounted(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		o.Streams, o.Connections = 0, 10
		r, err := Idle(t.Context(), IdleOptions{Options: o, Server: process.Set{PIDs: []int{os.Getpid()}}, Settle: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if r.Connections != 10 || r.Alive != 10 || r.Failed != 0 || r.Before == 0 || r.After == 0 || s.count() != 20 {
			t.Errorf("%+v, %d requests", r, s.count())
		}
	})
}

func TestIdleConnectionsThatTheServerClosesAreMissed(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		o.Streams, o.Connections = 0, 4
		once := true
		o.Progress = func(p Progress) {
			if p.Phase == "settling" && once {
				once = false
				s.close()
			}
		}
		r, err := Idle(t.Context(), IdleOptions{Options: o, Server: process.Self(), Settle: 300 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if r.Alive != 0 || r.PerConn != 0 {
			t.Errorf("%+v", r)
		}
	})
}
