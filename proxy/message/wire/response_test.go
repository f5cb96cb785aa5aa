package wire

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"nearcast/proxy/message"
)

func parseResponse(in, method string) (*Response, int, error) {
	b := []byte(in)
	p := &Response{}
	var s Scanner
	var lim Limits
	end, err := s.Response(b, &lim)
	if err != nil || end == 0 {
		return p, 0, err
	}
	return p, end, p.Parse(b[:end], method, &lim)
}

func TestAResponseIsTakenApart(t *testing.T) {
	const in = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Hop: 1\r\nConnection: X-Hop\r\nContent-Length: 4\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nbody"
	p, n, err := parseResponse(in, "GET")
	want := message.Fields{{Name: "content-type", Value: "text/plain"}, {Name: "set-cookie", Value: "a"}, {Name: "set-cookie", Value: "b"}}
	if err != nil || in[n:] != "body" || !slices.Equal(p.Fields, want) || p.ContentLength != 4 || p.Status != 200 || p.Minor != 1 {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestHowAResponseBodyEnds(t *testing.T) {
	for _, c := range []struct{ method, head, want string }{
		{"GET", "HTTP/1.1 200 OK\r\n", "until close -1 close"},
		{"GET", "HTTP/1.1 200\r\nContent-Length: 0\r\n", "none 0 keep"},
		{"GET", "HTTP/1.1 200 \r\nContent-Length: 3\r\n", "length 3 keep"},
		{"GET", "HTTP/1.1 200 a\tb\xff\r\nContent-Length: 3\r\nConnection: close\r\n", "length 3 close"},
		{"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n", "length 3 close"},
		{"GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n", "length 3 keep"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "chunked -1 keep"},
		{"GET", "HTTP/1.2 200 OK\r\nTransfer-Encoding: chunked\r\n", "chunked -1 keep"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nConnection: keep-alive\r\n", "until close -1 close"},
		{"GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: X-Made-Up\r\n", "until close -1 close"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x-made-up\r\n", "none -1 close"},
		{"GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: x-made-up\r\n", "none -1 close"},
		{"GET", "HTTP/1.9 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n", "length 3 close"},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", "none 3 keep"},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "none -1 keep"},
		{"HEAD", "HTTP/1.1 200 OK\r\n", "none -1 keep"},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n", "none 3 keep"},
		{"GET", "HTTP/1.1 204 No Content\r\n", "none -1 keep"},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n", "none -1 keep"},
		{"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n", "none -1 close"},
		{"GET", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n", "none -1 close"},
		{"GET", "HTTP/1.1 103 Early Hints\r\n", "none -1 keep"},
		{"GET", "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n", "none -1 keep websocket"},
		{"GET", "HTTP/1.1 101 x\r\nUpgrade: WebSocket\r\n", "none -1 keep"},
		{"POST", "HTTP/1.1 599 x\r\nContent-Length: 1\r\n", "length 1 keep"},
	} {
		p, _, err := parseResponse(c.head+"\r\n", c.method)
		got := fmt.Sprint([]string{"none", "length", "chunked", "until close"}[p.Framing], " ", p.ContentLength)
		if p.KeepAlive {
			got += " keep"
		} else {
			got += " close"
		}
		if p.Upgrade != "" {
			got += " " + p.Upgrade
		}
		if err != nil || got != c.want {
			t.Errorf("%s %q: got %q, %v, want %q", c.method, c.head, got, err, c.want)
		}
	}
}

func TestMalformedResponsesAreRefused(t *testing.T) {
	for in, want := range map[string]string{
		"\r\nHTTP/1.1 200 OK\r\n\r\n":           "empty lines before a message",
		"HTTP/1.1 200 OK\n\r\n":                 "bare LF",
		"HTTP/1.1 200 O\rK\r\n\r\n":             "malformed status line",
		"HTTP/1.1 200 O\x00K\r\n\r\n":           "malformed status line",
		"HTTP/1.1  200 OK\r\n\r\n":              "malformed status line",
		"HTTP/1.1 20 OK\r\n\r\n":                "malformed status line",
		"HTTP/1.1 2000 OK\r\n\r\n":              "malformed status line",
		"HTTP/1.1 099 OK\r\n\r\n":               "malformed status line",
		"HTTP/1.1 000 OK\r\n\r\n":               "malformed status line",
		"HTTP/1.1 2x0 OK\r\n\r\n":               "malformed status line",
		"HTTP/1.1\r\n\r\n":                      "malformed status line",
		"HTTP/1.1 200OK\r\n\r\n":                "malformed status line",
		"HTTP/2.0 200 OK\r\n\r\n":               "unknown version",
		"ICY 200 OK\r\n\r\n":                    "malformed version",
		"H\r\n\r\n":                             "malformed version",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n": "folded field line",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n":      "space before a colon",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n":                         "two lengths",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n":                "length and transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n":                                        "unknown transfer-encoding",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":                                     "transfer-encoding in HTTP/1.0",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: x-made-up\r\nContent-Length: 1\r\n\r\n":              "length and transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: x-made-up\r\nTransfer-Encoding: chunked\r\n\r\n":     "two transfer-encodings",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: x-made-up, chunked\r\n\r\n":                          "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n":                           "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked;x\r\n\r\n":                                   "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: \"identity\"\r\n\r\n":                                "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\x0b\r\n\r\n":                                 "control byte in a field value",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: \xe9chunked\r\n\r\n":                                 "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n":                                             "unknown transfer-encoding",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: Deflate\r\n\r\n":                                     "unknown transfer-encoding",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: identity\r\n\r\n":                                    "transfer-encoding in HTTP/1.0",
		"HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: identity\r\n\r\n":                           "body where none may be",
		"HTTP/1.1 103 Early Hints\r\nContent-Length: 1\r\n\r\n":                                     "body where none may be",
		"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: a\r\nTransfer-Encoding: chunked\r\n\r\n": "body where none may be",
	} {
		_, _, err := parseResponse(in, "GET")
		var e *message.Error
		if !errors.As(err, &e) || e.Status != 502 || e.Reason != want || e.Blame != message.BlameOrigin {
			t.Errorf("%q: got %v, want %s", in, err, want)
		}
	}
}
