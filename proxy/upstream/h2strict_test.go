package upstream

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

func TestAStatusThatHTTP2DoesNotKnowIsMalformed(t *testing.T) {
	for _, status := range []string{"101", "199", "600", "999", "1000", "-200", "20"} {
		url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, EndStream: status[0] != '1' || len(status) > 3, BlockFragment: block(":status", status)})
			if status[0] == '1' && len(status) == 3 {
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, EndStream: true, BlockFragment: block(":status", "200")})
			}
			return true
		})
		a := &Attempt{Request: get("/"), Informational: func(status int, _ message.Fields) {
			if status != 199 {
				t.Errorf("%d was passed on", status)
			}
		}}
		_, _, err := fetch(t.Context(), originOf(t, url, quick), a)
		if status == "199" || status == "600" || status == "999" { // one that is unknown is passed on (RFC 9110 §15)
			if err != nil {
				t.Errorf("%s: %v", status, err)
			}
			continue
		}
		want(t, status, err, message.BlameOrigin, 502, "malformed response", false)
	}
}

// As over HTTP/1.1 (RFC 9110 §6.5.1).
func TestAnHTTP2OriginsTrailersThatMayNotBeOnesStayBehind(t *testing.T) {
	url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, BlockFragment: block(":status", "200")})
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, EndStream: true,
			BlockFragment: block("grpc-status", "0", "set-cookie", "a=b", "content-encoding", "gzip", "cache-control", "public")}) == nil
	})
	res, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	if g := fmt.Sprint(res.Trailers()); g != "[{grpc-status 0}]" {
		t.Errorf("trailers %s", g)
	}
}

func TestAnOriginThatClosesAtOnceOverHTTP2(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if n%2 == 0 { // with a reset
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	}()
	o := originOf(t, "h2c://"+l.Addr().String(), quick)
	for n := range 300 {
		_, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
		var e *message.Error
		if !errors.As(err, &e) || e.Reason != "connection closed" && e.Reason != "stale connection" && e.Reason != "connect failed" {
			t.Fatalf("%d: %v", n, err)
		}
	}
}
