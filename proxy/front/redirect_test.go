package front

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRedirectToHTTPS(t *testing.T) {
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	e := startListeners(t, text(200, "the handler"), testLimits(), []ListenConfig{
		{Address: "127.0.0.1:0", TLS: true}, {Address: "127.0.0.1:0", RedirectToHTTPS: true}}, pair)
	port := e.tcp[tlsListener].info.Address.Port()
	tests := []struct{ method, target, host, status, location string }{
		{"GET", "/a?b=c", "example.test", "308", fmt.Sprintf("https://example.test:%d/a?b=c", port)},
		{"POST", "/", "Example.TEST:80", "308", fmt.Sprintf("https://example.test:%d/", port)},
		{"GET", "/%0d%0aevil:1", "example.test", "308", fmt.Sprintf("https://example.test:%d/%%0D%%0Aevil:1", port)},
		{"GET", "/", "[2001:db8::1]:80", "308", fmt.Sprintf("https://[2001:db8::1]:%d/", port)},
		{"GET", SelfProbePath, "example.test", "200", ""},
		{"GET", "/", "", "400", ""},
		{"OPTIONS", "*", "example.test", "400", ""},
	}
	for _, tt := range tests {
		c := dialPlain(t, e)
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", tt.method, tt.target, tt.host)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(resp.Status, tt.status) || resp.Header.Get("Location") != tt.location {
			t.Errorf("%s %s of %q: %s to %q; want %s to %q", tt.method, tt.target, tt.host, resp.Status, resp.Header.Get("Location"), tt.status, tt.location)
		}
		c.Close()
	}
	if !e.Listeners()[plainListener].Redirect {
		t.Error("the listener is not described as redirecting")
	}
}

func TestHTTPSAuthority(t *testing.T) {
	tests := []struct {
		authority string
		port      uint16
		want      string
	}{
		{"a.test", 443, "a.test"}, {"a.test:80", 443, "a.test"}, {"a.test:8080", 8443, "a.test:8443"},
		{"[::1]", 443, "[::1]"}, {"[::1]:80", 443, "[::1]"}, {"[::1]", 8443, "[::1]:8443"},
	}
	for _, tt := range tests {
		if got := httpsAuthority(tt.authority, tt.port); got != tt.want {
			t.Errorf("%s on %d: %s, want %s", tt.authority, tt.port, got, tt.want)
		}
	}
}
