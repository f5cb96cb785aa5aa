package upstream

import (
	"fmt"
	"testing"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

func TestAStatusThatHTTP2DoesNotKnowIsMalformed(t *testing.T) {
	for _, status := range []string{"101", "199", "600", "1000", "-200", "20"} {
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
		if status == "199" {
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
