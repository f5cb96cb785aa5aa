package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// hinted is a client that keeps what it is hinted at.
type hinted struct {
	client
	hints []string
}

func (c *hinted) WriteInformational(status int, f message.Fields) error {
	c.hints = append(c.hints, fmt.Sprint(status, " ", strings.Join(f.Values("link"), ", ")))
	return nil
}

func TestEarlyHints(t *testing.T) {
	const css, js = "</a.css>; rel=preload; as=style", "</b.js>; rel=preload; as=script"
	early, links := "", css
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		if early != "" {
			w.Header().Set("Link", early)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "no-cache")
		if links != "" {
			w.Header().Set("Link", links)
		}
		io.WriteString(w, "page")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.EarlyHints = true })
	for _, c := range []struct {
		why           string
		early, links  string // of the origin, from here on
		protocol      message.Protocol
		method        string
		fields, hints []string
	}{
		{"nothing is known", "", css, message.HTTP2, "GET", nil, nil},
		{"the last answer's", "", css, message.HTTP2, "GET", nil, []string{"103 " + css}},
		{"over HTTP/3", "", css, message.HTTP3, "GET", nil, []string{"103 " + css}},
		{"an HTTP/1.1 client may not know what it is", "", css, message.HTTP1, "GET", nil, nil},
		{"a browser does", "", css, message.HTTP1, "GET", []string{"sec-fetch-mode", "navigate"}, []string{"103 " + css}},
		{"HEAD", "", css, message.HTTP2, "HEAD", nil, nil},
		{"credentials", "", css, message.HTTP2, "GET", []string{"authorization", "x"}, nil},
		{"an answer that is none for others", "", "", message.HTTP2, "GET", []string{"cookie", "a=b"}, []string{"103 " + css}},
		{"the origin's own is not said twice", css, css, message.HTTP2, "GET", nil, []string{"103 " + css}},
		{"what is new is", css + ", " + js, css + ", " + js, message.HTTP2, "GET", nil, []string{"103 " + css, "103 " + js}},
		{"both", "", "", message.HTTP2, "GET", nil, []string{"103 " + css + ", " + js}},
		{"an answer without", "", css, message.HTTP2, "GET", nil, nil},
	} {
		early, links = c.early, c.links
		r := request(c.method, "/", c.fields...)
		r.Protocol = c.protocol
		got := &hinted{}
		e.Serve(context.Background(), got, r)
		e.settle()
		if got.status != 200 || !slices.Equal(got.hints, c.hints) {
			t.Errorf("%s: %d, %q, want %q", c.why, got.status, got.hints, c.hints)
		}
	}
	off := newEdge(t, map[string][]string{"fra": {url}}, nil)
	for range 2 {
		got := &hinted{}
		if off.Serve(context.Background(), got, request("GET", "/")); got.hints != nil {
			t.Errorf("switched off: %q", got.hints)
		}
	}
}
