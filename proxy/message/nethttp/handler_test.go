package nethttp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

type handlerFunc func(ctx context.Context, w message.ResponseWriter, r *message.Request)

func (f handlerFunc) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	f(ctx, w, r)
}

// serve lets h answer r and returns what it wrote; aborted is whether the server was told to break the exchange off.
func serve(h message.Handler, o Options, r *http.Request) (rec *httptest.ResponseRecorder, aborted bool) {
	if o.Protocol == 0 {
		o.Protocol = message.HTTP1
	}
	rec = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			aborted = true
		}
	}()
	Handler(h, o).ServeHTTP(rec, r)
	return rec, false
}

func TestOriginForm(t *testing.T) {
	for raw, want := range map[string]string{
		"/a?b": "/a?b", "*": "*", "http://h/a?b": "/a?b", "HTTPS://h": "/", "http://h?q": "/?q", "//a//b": "//a//b",
		"http://u@h:1/": "/", "": "refused", "a": "refused", "a:443": "refused", "ftp://h/": "refused", "http:/a": "refused",
		"http://h#f": "/#f", // which message.ParseTarget refuses
	} {
		got, err := originForm(&http.Request{RequestURI: raw})
		if err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestAuthority(t *testing.T) {
	tests := []struct{ host, field, want string }{
		{"A.Test:80", "", "a.test:80"}, {"[2001:DB8::1]:80", "", "[2001:db8::1]:80"}, {"", "", ""},
		{"a", "A", "a"}, {"a", "b", "refused"},
		{"a/b", "", "refused"}, {"u@a", "", "refused"}, {"a b", "", "refused"}, {"a\x00", "", "refused"}, {"a?b", "", "refused"},
	}
	for _, tt := range tests {
		r := &http.Request{Host: tt.host, Header: http.Header{}}
		if tt.field != "" {
			r.Header["Host"] = []string{tt.field}
		}
		got, err := authority(r)
		if err != nil {
			got = "refused"
		}
		if got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestFields(t *testing.T) {
	got := fields(http.Header{
		"X-B": {"1", "2"}, "A": {""}, "Connection": {"close, X-Hop", " x-other\t"}, "X-Hop": {"1"}, "X-Other": {"1"},
		"Keep-Alive": {"1"}, "Proxy-Connection": {"1"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}, "Http2-Settings": {"x"},
		"Trailer": {"X"}, "Host": {"h"}, "Content-Length": {"1"}, "Expect": {"100-continue"}, "Te": {"trailers"}, "Proxy-Authorization": {"kept"},
	})
	want := message.Fields{{Name: "a", Value: ""}, {Name: "proxy-authorization", Value: "kept"}, {Name: "te", Value: "trailers"},
		{Name: "x-b", Value: "1"}, {Name: "x-b", Value: "2"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	for _, te := range [][]string{{"gzip"}, {"trailers, gzip"}, {"trailers", "gzip"}} {
		if got := fields(http.Header{"Te": te}); len(got) != 0 {
			t.Errorf("Te %q went on as %v", te, got)
		}
	}
	if got := fields(http.Header{"Te": {"trailers"}, "Connection": {"TE"}}); len(got) != 0 {
		t.Errorf("a Te that Connection names went on as %v", got)
	}
}

func TestRequest(t *testing.T) {
	var got *message.Request
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		got = r
		_ = w.WriteHeader(200, nil, 0)
	})
	hr := httptest.NewRequest("GET", "http://a.test/x", nil)
	hr.RequestURI = "/x"
	info := message.ConnInfo{Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:1"), Local: netip.MustParseAddrPort("[::ffff:192.0.2.1]:443"),
		TLS: &message.TLS{ServerName: "a.test"}}
	begin := time.Now()
	serve(h, Options{Protocol: message.HTTP2}, hr.WithContext(WithConn(context.Background(), context.Background(), info)))
	if got == nil {
		t.Fatal("the handler was not called")
	}
	if got.Client.String() != "192.0.2.7:1" || got.Local.String() != "192.0.2.1:443" {
		t.Errorf("addresses %s and %s, want them unmapped", got.Client, got.Local)
	}
	if got.Scheme != "https" || got.TLS != info.TLS || got.Protocol != message.HTTP2 {
		t.Errorf("scheme %s, TLS %v, protocol %s", got.Scheme, got.TLS, got.Protocol)
	}
	if got.Body != nil || got.ContentLength != 0 {
		t.Errorf("body %v of %d bytes, want none", got.Body, got.ContentLength)
	}
	if got.Received.Before(begin) || got.Received.After(time.Now()) {
		t.Errorf("received %v", got.Received)
	}
}

func TestRefusedRequestsLeaveTheConnection(t *testing.T) {
	h := handlerFunc(func(context.Context, message.ResponseWriter, *message.Request) { t.Error("reached the handler") })
	for target, want := range map[string]int{"/%zz": 400, "/" + strings.Repeat("a", message.MaxTarget): 414, "nonsense": 400} {
		hr := httptest.NewRequest("GET", "/", nil)
		hr.RequestURI = target
		if rec, _ := serve(h, Options{}, hr); rec.Code != want || rec.Header().Get("Connection") != "close" {
			t.Errorf("%.20s: status %d, Connection %q; want %d and close", target, rec.Code, rec.Header().Get("Connection"), want)
		}
	}
}

// TestResponseCannotBreakTheFraming: whatever fields a handler passes on, they stay fields.
func TestResponseCannotBreakTheFraming(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, message.Fields{
			{Name: "content-length", Value: "999"}, {Name: "transfer-encoding", Value: "chunked"}, {Name: "connection", Value: "x"},
			{Name: "trailer", Value: "x-good"}, {Name: "upgrade", Value: "h2c"}, {Name: "x-evil", Value: "a\r\nset-cookie: b"},
			{Name: "x y", Value: "1"}, {Name: "", Value: "1"}, {Name: "x-nul", Value: "\x00"}, {Name: "x-good", Value: "1"},
		}, 2)
		_, _ = io.WriteString(w, "ok")
	})
	rec, aborted := serve(h, Options{}, httptest.NewRequest("GET", "/", nil))
	want := http.Header{"Content-Length": {"2"}, "X-Good": {"1"}, "Content-Type": nil}
	if aborted || !reflect.DeepEqual(rec.Header(), want) {
		t.Errorf("aborted: %t, fields %v; want %v", aborted, rec.Header(), want)
	}
}

func TestClosing(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) { _ = w.WriteHeader(200, nil, 0) })
	for proto, want := range map[message.Protocol]string{message.HTTP1: "close", message.HTTP2: "close", message.HTTP3: ""} {
		rec, _ := serve(h, Options{Protocol: proto, Closing: func(context.Context) bool { return true }}, httptest.NewRequest("GET", "/", nil))
		if got := rec.Header().Get("Connection"); got != want {
			t.Errorf("%s: Connection %q, want %q", proto, got, want)
		}
	}
}

// TestWriterRefusesWhatMakesNoSense, with an error and never with a damaged response.
func TestWriterRefusesWhatMakesNoSense(t *testing.T) {
	tests := []struct {
		name string
		call func(w message.ResponseWriter) error
	}{
		{"a final status as informational", func(w message.ResponseWriter) error { return w.WriteInformational(200, nil) }},
		{"101", func(w message.ResponseWriter) error { return w.WriteInformational(101, nil) }},
		{"an informational status as final", func(w message.ResponseWriter) error { return w.WriteHeader(103, nil, 0) }},
		{"a status out of range", func(w message.ResponseWriter) error { return w.WriteHeader(1000, nil, 0) }},
		{"a body first", func(w message.ResponseWriter) error { _, err := w.Write([]byte("x")); return err }},
		{"a flush first", func(w message.ResponseWriter) error { return w.Flush() }},
		{"trailers first", func(w message.ResponseWriter) error { return w.WriteTrailers(nil) }},
	}
	for _, tt := range tests {
		var err error
		rec, aborted := serve(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
			err = tt.call(w)
			_ = w.WriteHeader(200, nil, 2)
			if w.WriteHeader(200, nil, 2) == nil || w.WriteInformational(103, nil) == nil {
				t.Errorf("%s: a header section was accepted after the header section", tt.name)
			}
			if n, err := io.WriteString(w, "too long"); n != 0 || err == nil {
				t.Errorf("%s: %d bytes beyond the declared length were accepted", tt.name, n)
			}
			_, _ = io.WriteString(w, "ok")
		}), Options{}, httptest.NewRequest("GET", "/", nil))
		if err == nil || aborted || rec.Code != 200 || rec.Body.String() != "ok" {
			t.Errorf("%s: %v; then %d %q, aborted %t", tt.name, err, rec.Code, rec.Body, aborted)
		}
	}
}

func TestAfterAbortNothingIsSent(t *testing.T) {
	rec, aborted := serve(handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		w.Abort()
		_, err := w.Write([]byte("x"))
		for _, err := range []error{err, w.WriteHeader(200, nil, 0), w.WriteInformational(103, nil), w.Flush(), w.WriteTrailers(nil)} {
			if !errors.Is(err, errAborted) {
				t.Errorf("got %v", err)
			}
		}
	}), Options{}, httptest.NewRequest("GET", "/", nil))
	if !aborted || rec.Body.Len() != 0 {
		t.Errorf("aborted: %t, sent %q", aborted, rec.Body)
	}
}

func TestPanicIsLoggedOnceWithItsStack(t *testing.T) {
	var b strings.Builder
	h := handlerFunc(func(context.Context, message.ResponseWriter, *message.Request) { panic("the cause") })
	rec, aborted := serve(h, Options{Log: slog.New(slog.NewTextHandler(&b, nil))}, httptest.NewRequest("GET", "/where", nil))
	if aborted || rec.Code != 500 || rec.Body.Len() != 0 {
		t.Errorf("status %d, body %q, aborted %t", rec.Code, rec.Body, aborted)
	}
	for _, want := range []string{"level=ERROR", "the cause", "/where", "handler_test.go"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log does not hold %q", want)
		}
	}
}

func TestHandlerThatGivesUpWhenTheClientIsGone(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h := handlerFunc(func(context.Context, message.ResponseWriter, *message.Request) {})
	if _, aborted := serve(h, Options{}, httptest.NewRequest("GET", "/", nil).WithContext(ctx)); !aborted {
		t.Error("answered 500 to nobody")
	}
}

func TestPushDeadline(t *testing.T) {
	var at time.Time
	calls := 0
	set := func(time.Time) error { calls++; return nil }
	for range 100 {
		pushDeadline(&at, time.Hour, set)
	}
	if calls != 1 || time.Until(at) < 59*time.Minute {
		t.Errorf("set %d times, at %v from now", calls, time.Until(at))
	}
	at = at.Add(-30 * time.Minute)
	if pushDeadline(&at, time.Hour, set); calls != 2 {
		t.Error("not moved after half of the time")
	}
	if pushDeadline(&at, 0, set); calls != 2 {
		t.Error("set without a limit")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("GET", "/a?b", "a.test", "X-Hop", "close, X-Hop")
	f.Add("OPTIONS", "*", "", "Te", "trailers")
	f.Add("GET", "http://h/%2e%2E/x", "h", "Connection", "x")
	f.Fuzz(func(t *testing.T, method, target, host, name, value string) {
		hr := &http.Request{Method: method, RequestURI: target, Host: host, Header: http.Header{name: {value}, "Connection": {value}}}
		r, _, err := request(hr, http.NewResponseController(httptest.NewRecorder()), &Options{Protocol: message.HTTP1})
		if err != nil {
			var e *message.Error
			if !errors.As(err, &e) || e.Status < 400 {
				t.Errorf("refused without a status: %v", err)
			}
			return
		}
		if !strings.HasPrefix(r.Target.Path, "/") && r.Target.Path != "*" || r.Authority != strings.ToLower(r.Authority) {
			t.Errorf("target %q, authority %q", r.Target.Path, r.Authority)
		}
		for _, x := range r.Fields {
			if x.Name != strings.ToLower(x.Name) || x.Name == "connection" {
				t.Errorf("field %q", x.Name)
			}
		}
	})
}
