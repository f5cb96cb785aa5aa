package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
)

// serve runs an origin for the test and returns its URL.
func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New().Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestBodiesAreAnsweredAndCounted(t *testing.T) {
	url := serve(t)
	for _, size := range Sizes {
		status, body := get(t, url+Path(size))
		if status != 200 || len(body) != size || !bytes.Equal(body, Body(size)) {
			t.Errorf("%d: %d, %d bytes", size, status, len(body))
		}
	}
	if status, _ := get(t, url+"/healthz"); status != 200 {
		t.Errorf("/healthz: %d", status)
	}
	if status, _ := get(t, url+"/else"); status != 404 {
		t.Errorf("/else: %d", status)
	}
	if _, n := get(t, url+"/count"); string(n) != "3" {
		t.Errorf("counted %s requests, want the 3 for bodies", n)
	}
}

func TestPipelinedAndSplitRequests(t *testing.T) {
	url := serve(t)
	c, err := net.Dial("tcp", url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, part := range []string{"GET /hea", "lthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r", "\n"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 2*len(healthy))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, bytes.Repeat(healthy, 2)) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestOversizeRequestEndsTheConnection(t *testing.T) {
	url := serve(t)
	c, err := net.Dial("tcp", url[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write(bytes.Repeat([]byte("x"), maxRequest))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes instead of an end", n)
	}
}
