package nethttp

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"nearcast/proxy/message"
)

func TestOnlyTheStreamsEndTellsAnEmptyHTTP3Request(t *testing.T) {
	of := func(proto message.Protocol, method, body string, length int64) *message.Request {
		return &message.Request{Protocol: proto, Method: method, Body: strings.NewReader(body), ContentLength: length}
	}
	for _, c := range []struct {
		what string
		r    *message.Request
		body string // "" for none
	}{
		{"a GET that ended with its header section", of(message.HTTP3, "GET", "", -1), ""},
		{"a GET with content keeps every byte of it", of(message.HTTP3, "GET", "query", -1), "query"},
	} {
		if err := settleBody(c.r); err != nil {
			t.Fatal(err)
		}
		got := ""
		if c.r.Body != nil {
			b, err := io.ReadAll(c.r.Body)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != c.body || (c.body == "") != (c.r.Body == nil) {
			t.Errorf("%s: got %q, body %v", c.what, got, c.r.Body)
		}
	}
}

func TestAStreamThatFailsIsNotAnEmptyOne(t *testing.T) {
	broken := errors.New("reset")
	r := &message.Request{Protocol: message.HTTP3, Method: "GET", Body: iotest.ErrReader(broken), ContentLength: -1}
	if err := settleBody(r); err != broken {
		t.Errorf("got %v", err)
	}
}
