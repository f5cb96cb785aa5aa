package wire

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// parse takes one request from text, as a connection does.
func parse(in string, lim Limits) (*message.Request, *RequestHead, int, error) {
	b := []byte(in)
	r, h := &message.Request{}, &RequestHead{}
	var s Scanner
	start, end, err := s.Request(b, &lim)
	if err != nil || end == 0 {
		return r, h, 0, err
	}
	return r, h, end, h.Parse(b[start:end], r, &lim)
}

func TestARequestIsTakenApart(t *testing.T) {
	const in = "\r\nPOST /a/../b?c HTTP/1.1\r\nHost: A.Example:80\r\nX-One:1\r\nX-Two: \t a b \t\r\nx-empty:\r\nConnection: x-one, Keep-Alive,close\r\n" +
		"Keep-Alive: 5\r\nTE: trailers\r\nExpect: 100-Continue\r\nContent-Length: 012\r\nCookie: \xff\r\n\r\nrest"
	r, h, n, err := parse(in, Limits{})
	if err != nil || in[n:] != "rest" {
		t.Fatalf("%v after %d", err, n)
	}
	want := message.Fields{{Name: "x-two", Value: "a b"}, {Name: "x-empty"}, {Name: "te", Value: "trailers"}, {Name: "cookie", Value: "\xff"}}
	if r.Method != "POST" || r.Target.String() != "/b?c" || r.Authority != "a.example:80" || r.ContentLength != 12 || !slices.Equal(r.Fields, want) {
		t.Errorf("got %+v", r)
	}
	if h.Minor != 1 || h.KeepAlive || h.Chunked || !h.Continue {
		t.Errorf("got %+v", h)
	}
}

func TestWhatBecomesOfTheConnection(t *testing.T) {
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n":                                                       "keep 0",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n":                                  "close 0",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n":        "close 0",
		"GET / HTTP/1.2\r\nHost: a\r\n":                                                       "keep 0",
		"GET / HTTP/1.9\r\nHost: a\r\nConnection: close\r\n":                                  "close 0",
		"PUT / HTTP/1.2\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n": "keep -1 chunked continue",
		"GET / HTTP/1.0\r\n":                                                                              "close 0",
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n":                                                    "keep 0",
		"GET / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n":                                 "close 1",
		"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n":                                           "keep 0",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nExpect: 100-continue\r\n":             "keep -1 chunked continue",
		"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n":                                     "keep -1 chunked",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n":                      "keep 0 websocket",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n":                            "keep 0",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n":                                             "keep 0",
		"PUT / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n":                      "keep 0",
		"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\n":          "keep 0",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n": "keep 1",
	} {
		r, h, _, err := parse(in+"\r\n", Limits{})
		got := "close"
		if h.KeepAlive {
			got = "keep"
		}
		got += fmt.Sprint(" ", r.ContentLength)
		if h.Chunked {
			got += " chunked"
		}
		if h.Continue {
			got += " continue"
		}
		if r.Upgrade != "" {
			got += " " + r.Upgrade
		}
		if err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

func TestTargetForms(t *testing.T) {
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n":                                    "a /",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n":                                "a *",
		"GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n":                   "a:80 /x?y",
		"GET HTTPS://a HTTP/1.1\r\nHost: A\r\n":                            "a /",
		"GET http://a?b HTTP/1.1\r\nHost: a\r\n":                           "a /?b",
		"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n":                         "a *",
		"GET http://a/ HTTP/1.0\r\n":                                       "a /",
		"GET / HTTP/1.0\r\n":                                               " /",
		"GET / HTTP/1.1\r\nHost:\r\n":                                      " /",
		"GET / HTTP/1.1\r\nHost: [2001:DB8::1]:443\r\n":                    "[2001:db8::1]:443 /",
		"GET / HTTP/1.1\r\nHost: a%20b\r\n":                                "a%20b /",
		"GET //x HTTP/1.1\r\nHost: a\r\n":                                  "a //x",
		"M-SEARCH /\x80 HTTP/1.1\r\nHost: a\r\n":                           "a /%80",
		"GET /" + strings.Repeat("a", 9000) + " HTTP/1.0\r\n":              " /" + strings.Repeat("a", 9000),
		"GET http://a.b/http://c/ HTTP/1.1\r\nHost: a.b\r\n":               "a.b /http://c/",
		"GET / HTTP/1.1\r\nHost: a\r\nX: " + string(rune(0x2028)) + "\r\n": "a /",
	} {
		r, _, _, err := parse(in+"\r\n", Limits{})
		if got := r.Authority + " " + r.Target.String(); err != nil || got != want {
			t.Errorf("%.60q: got %q, %v, want %q", in, got, err, want)
		}
	}
}

// refused are malformed requests, with the reason of each.
var refused = []struct {
	in     string
	status int
	reason string
}{
	{"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "empty lines before a message"},
	{"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bare LF"},
	{"GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "bare LF"},
	{"GET / HTTP/1.1\r\nHost: a\n\r\n", 400, "bare LF"},
	{"GET / HTTP/1.1\r\nHost: a\r\n\n", 400, "bare LF"},
	{"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, "bare CR"},
	{"GET / HTTP/1.1\r\n\rHost: a\r\n\r\n", 400, "bare CR"},
	{"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, "bare CR"},
	{"GET /\r\n\r\n", 400, "malformed request line"},
	{"GET\r\n\r\n", 400, "malformed method"},
	{" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed method"},
	{"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed method"},
	{"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed method"},
	{"GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET / http/1.1\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"GET / HTTP/1.2\r\n\r\n", 400, "no host"},
	{"GET / HTTP/1.a\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"POST / HTTP/1.9\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "length and transfer-encoding"},
	{"GET / HTTP/0.9\r\n\r\n", 400, "malformed version"},
	{"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, "malformed request line"},
	{"GET / HTTP/1\r\nHost: a\r\n\r\n", 400, "malformed version"},
	{"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "unknown version"},
	{"PRI * HTTP/2.0\r\n\r\n", 505, "unknown version"},
	{"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501, "method CONNECT"},
	{"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "wrong form of request target"},
	{"GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "wrong form of request target"},
	{"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "wrong form of request target"},
	{"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host and authority differ"},
	{"GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", 400, "host and authority differ"},
	{"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host and authority differ"},
	{"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed host"},
	{"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed host"},
	{"GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n", 400, "malformed host"},
	{"GET http://u:p@a:80 HTTP/1.0\r\n\r\n", 400, "malformed host"},
	{"GET http://@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed host"},
	{"OPTIONS http://u@a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed host"},
	{"GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"GET http://a#@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"GET http://a?c#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"OPTIONS http://a# HTTP/1.1\r\nHost: a\r\n\r\n", 400, "malformed request target"},
	{"OPTIONS *#b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "wrong form of request target"},
	{"GET http://a/ HTTP/1.1\r\n\r\n", 400, "no host"},
	{"GET / HTTP/1.1\r\n\r\n", 400, "no host"},
	{"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "two hosts"},
	{"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, "two hosts"},
	{"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: a,b\\\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n", 400, "malformed host"},
	{"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, "space before a colon"},
	{"GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", 400, "space before a colon"},
	{"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "folded field line"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400, "folded field line"},
	{"GET / HTTP/1.1\r\nHost: a\r\n\tc: d\r\n\r\n", 400, "folded field line"},
	{"GET / HTTP/1.1\r\n: a\r\nHost: a\r\n\r\n", 400, "malformed field name"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, "malformed field name"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n", 400, "malformed field name"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: b\r\n\r\n", 400, "malformed field name"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400, "control byte in a field value"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: 12345678\x7f90\r\n\r\n", 400, "control byte in a field value"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", 400, "control byte in a field value"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "length and transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "two lengths"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\n", 400, "malformed content-length"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501, "unknown transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 501, "unknown transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;a=b\r\n\r\n", 501, "unknown transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", 501, "unknown transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 501, "unknown transfer-encoding"},
	{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "two transfer-encodings"},
	{"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "transfer-encoding in HTTP/1.0"},
	{"GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n", 400, "malformed connection option"},
	{"GET / HTTP/1.1\r\nHost: a\r\nConnection: \"close\"\r\n\r\n", 400, "malformed connection option"},
	{"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + strings.Repeat("x,", 33) + "\r\n\r\n", 400, "too many connection options"},
	{"PUT / HTTP/1.1\r\nHost: a\r\nExpect: x\r\nContent-Length: 1\r\n\r\n", 417, "unknown expectation"},
	{"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n", 417, "unknown expectation"},
	{"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:\r\n", 256) + "\r\n", 431, "too many field lines"},
	{"GET /" + strings.Repeat("a", 17<<10), 414, "request line too long"},
	{"GET /" + strings.Repeat("a", message.MaxTarget) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "request target too long"},
	{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 64<<10), 431, "header section too large"},
	{"\x16\x03\x01", 400, "malformed method"},
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	for _, x := range refused {
		_, _, _, err := parse(x.in, Limits{})
		var e *message.Error
		if !errors.As(err, &e) || e.Status != x.status || e.Reason != x.reason || e.Blame != message.BlameClient {
			t.Errorf("%.80q: got %v, want %d %s", x.in, err, x.status, x.reason)
		}
	}
}

func TestLimitsAreTheCallers(t *testing.T) {
	const in = "GET /1234567 HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"
	for lim, want := range map[Limits]string{
		{Line: 23, Head: len(in), Fields: 2}: "",
		{Line: 22}:                           "request line too long",
		{Head: len(in) - 1}:                  "header section too large",
		{Fields: 1}:                          "too many field lines",
	} {
		_, _, _, err := parse(in, lim)
		got := ""
		var e *message.Error
		if errors.As(err, &e) {
			got = e.Reason
		}
		if got != want {
			t.Errorf("%+v: got %q, want %q", lim, got, want)
		}
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	const in = "GET /index.html?a=b HTTP/1.1\r\nHost: Example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip, br\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nCookie: a=b; c=d\r\n\r\n"
	b := make([]byte, len(in))
	var r message.Request
	var h RequestHead
	var lim Limits
	if n := testing.AllocsPerRun(100, func() {
		copy(b, in)
		var s Scanner
		start, end, err := s.Request(b, &lim)
		if err != nil || h.Parse(b[start:end], &r, &lim) != nil || len(r.Fields) != 4 {
			t.Fatal(err, r.Fields)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	const in = "GET /index.html?a=b HTTP/1.1\r\nHost: example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n\r\n"
	buf := []byte(in)
	var r message.Request
	var h RequestHead
	var lim Limits
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		var s Scanner
		start, end, _ := s.Request(buf, &lim)
		if h.Parse(buf[start:end], &r, &lim) != nil {
			b.Fatal()
		}
	}
}
