package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawOrigin answers each connection's first request with the given bytes and closes it.
func rawOrigin(t *testing.T, answer string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
					io.WriteString(c, answer)
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// soon is a deadline that only a hanging test meets.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestHTTPProbeJudgesTheResponse(t *testing.T) {
	tests := []struct {
		name, answer string
		want         Reason
	}{
		{"200", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ReasonOK},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", ReasonOK},
		{"a redirection is an answer", "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n", ReasonOK},
		{"an informational response first", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ReasonOK},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ReasonOK},
		{"until close", "HTTP/1.0 200 OK\r\n\r\nok", ReasonOK},
		{"more than a probe reads", "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + strings.Repeat("x", 10000000), ReasonOK},
		{"404", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ReasonStatus},
		{"503", "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ReasonStatus},
		{"101 without an upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n", ReasonStatus},
		{"a body cut short", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", ReasonClosed},
		{"a header section cut short", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", ReasonClosed},
		{"nothing", "", ReasonClosed},
		{"an endless header section", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 100000), ReasonOther},
		{"not HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", ReasonOther},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := HTTPProbe(rawOrigin(t, tt.answer), "/healthz", "")(soon(t))
			got := ReasonOf(err)
			if got == ReasonReset && tt.want == ReasonClosed { // the origin's close may overtake our reading
				got = ReasonClosed
			}
			if got != tt.want {
				t.Errorf("%v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestHTTPProbeRequest(t *testing.T) {
	var mu sync.Mutex
	var requests []string
	conns := map[string]bool{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, fmt.Sprint(r.Method, " ", r.Host, " ", r.RequestURI, " ", r.Proto, " ", r.UserAgent()))
		conns[r.RemoteAddr] = true
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, probe := range []Probe{HTTPProbe(u, "/healthz?deep=1", "shop.example.com"), HTTPProbe(u, "/", "")} {
		rtt, err := probe(soon(t))
		if err != nil || rtt <= 0 {
			t.Fatalf("round-trip time %v, error %v", rtt, err)
		}
	}
	want := []string{
		"GET shop.example.com /healthz?deep=1 HTTP/1.1 nearcast-health",
		"GET " + u.Host + " / HTTP/1.1 nearcast-health",
	}
	mu.Lock()
	defer mu.Unlock()
	if len(requests) != 2 || requests[0] != want[0] || requests[1] != want[1] {
		t.Errorf("requests %q, want %q", requests, want)
	}
	if len(conns) != 2 {
		t.Errorf("%d connections for two probes: only a new one measures the path", len(conns))
	}
}

func TestRTTIsOfThePathNotOfTheCheck(t *testing.T) {
	const work = 300 * time.Millisecond
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(work) }))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	rtt, err := HTTPProbe(u, "/", "")(soon(t))
	if err != nil {
		t.Fatal(err)
	}
	if rtt >= work {
		t.Errorf("%v to a loopback address whose health check works for %v", rtt, work)
	}
}

func TestHTTPProbeOfADeadOrigin(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deaf := &url.URL{Scheme: "http", Host: l.Addr().String()} // the kernel accepts, nobody answers
	defer l.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := &url.URL{Scheme: "http", Host: gone.Addr().String()}
	gone.Close()
	tests := []struct {
		name   string
		origin *url.URL
		want   Reason
	}{
		{"nobody answers", deaf, ReasonTimeout},
		{"nobody listens", refused, ReasonRefused},
		{"no such name", &url.URL{Scheme: "http", Host: "origin.invalid:80"}, ReasonDNS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			timeout := 20 * time.Second
			if tt.want == ReasonTimeout {
				timeout = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			_, err := HTTPProbe(tt.origin, "/", "")(ctx)
			if got := ReasonOf(err); got != tt.want {
				t.Errorf("%v (%v), want %v", got, err, tt.want)
			}
		})
	}
}

func TestOriginAddress(t *testing.T) {
	for in, want := range map[string]string{
		"http://10.0.0.1": "10.0.0.1:80", "http://10.0.0.1:8080": "10.0.0.1:8080",
		"http://[2001:db8::1]": "[2001:db8::1]:80", "http://origin.example:81/": "origin.example:81",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := originAddress(u); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
