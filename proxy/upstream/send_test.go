package upstream

import (
	"errors"
	"net"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestTheLengthOf304IsTheRepresentationsOrNone(t *testing.T) {
	for reply, want := range map[string]int64{
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n": 1234,
		"HTTP/1.1 304 Not Modified\r\n\r\n":                         -1,
		"HTTP/1.1 204 No Content\r\n\r\n":                           0,
	} {
		res, err := originOf(t, rawOrigin(t, reply), quick).RoundTrip(t.Context(), &Attempt{Request: get("/")})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.ContentLength != want {
			t.Errorf("%q: length %d, want %d", reply, res.ContentLength, want)
		}
	}
}

func TestAnOriginThatTakesNothingIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts in the kernel, reads never
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hasty := quick
	hasty.ResponseTimeout = 100 * time.Millisecond
	r := get("/")
	r.Method, r.ContentLength = "POST", -1
	done := make(chan error, 1)
	go func() {
		_, err := originOf(t, "http://"+l.Addr().String(), hasty).RoundTrip(t.Context(), &Attempt{Request: r, Body: zeros{}})
		done <- err
	}()
	select {
	case err := <-done:
		var e *message.Error
		if !errors.As(err, &e) || e.Status != 504 || e.Reason != "response timeout" || e.RetrySafe {
			t.Errorf("got %#v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("an upload hangs for as long as its client")
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTrailersThatMeanSomethingElseStayBehind(t *testing.T) {
	for _, name := range []string{"content-length", "transfer-encoding", "host", "authorization", "x-forwarded-for", "x_forwarded_for", "forwarded", "cookie", "content-type", "connection"} {
		if !held(name) {
			t.Errorf("%s passed as a trailer", name)
		}
	}
	for _, name := range []string{"grpc-status", "x-sum", "digest"} {
		if held(name) {
			t.Errorf("%s was held back", name)
		}
	}
}
