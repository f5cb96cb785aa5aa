package bench

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func modes(t *testing.T, f func(t *testing.T, p Protocol, keepAlive bool)) {
	for _, p := range []Protocol{HTTP1, HTTP2, HTTP3} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s keep-alive=%t", p, keep), func(t *testing.T) { f(t, p, keep) })
		}
	}
}

func TestEveryProtocolReachesTheServer(t *testing.T) {
	server, client := certificate(t, "fra-1")
	var conns atomic.Int64
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		io.WriteString(w, "hello")
	}))
	modes(t, func(t *testing.T, p Protocol, keepAlive bool) {
		conns.Store(0)
		o := load(url, p, client)
		o.KeepAlive, o.ResponseField = keepAlive, "X-Proto"
		r := run1(t, o)
		if r.OK != 40 || r.Failed != 0 || r.Edges["fra-1"] != 40 {
			t.Fatalf("want 40 successes by fra-1: %v, edges %v, examples %v", r, r.Edges, r.Examples)
		}
		want := map[Protocol]string{HTTP1: "HTTP/1.1", HTTP2: "HTTP/2.0", HTTP3: "HTTP/3.0"}[p]
		for _, rec := range r.Records {
			if rec.Field != want || rec.Status != 200 || rec.Latency <= 0 {
				t.Fatalf("record %+v: want field %q, status 200 and a latency", rec, want)
			}
		}
		switch {
		case !keepAlive && r.Dialled != 40:
			t.Errorf("a new connection for each request: %d dialled, want 40", r.Dialled)
		case keepAlive && p != HTTP1 && r.Dialled != 1:
			t.Errorf("one connection for all requests: %d dialled", r.Dialled)
		case keepAlive && p == HTTP1 && r.Dialled < 10:
			t.Errorf("ten connections, more only while all are busy: %d dialled", r.Dialled)
		}
	})
}

func TestStatusAndIncompleteBodiesFail(t *testing.T) {
	server, client := certificate(t, "fra-1")
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/status" {
			w.WriteHeader(503)
			return
		}
		w.Header().Set("Content-Length", "1000")
		w.(http.Flusher).Flush()
		if r.ProtoMajor == 3 {
			return // a RESET_STREAM would overtake the header section
		}
		panic(http.ErrAbortHandler)
	}))
	modes(t, func(t *testing.T, p Protocol, keepAlive bool) {
		for path, want := range map[string]Class{"status": Status, "incomplete": Incomplete} {
			o := load(url+path, p, client)
			o.KeepAlive = keepAlive
			r := run1(t, o)
			if r.OK != 0 || r.Failures[want] != 40 {
				t.Errorf("want 40 of %s: %v, examples %v", want, r, r.Examples)
			}
		}
	})
}

func TestTimeoutsEndTheRun(t *testing.T) {
	server, client := certificate(t, "fra-1")
	release := make(chan struct{})
	defer close(release)
	url := serve(t, server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	modes(t, func(t *testing.T, p Protocol, keepAlive bool) {
		o := load(url, p, client)
		o.KeepAlive, o.Timeout = keepAlive, 300*time.Millisecond
		start := time.Now()
		r := run1(t, o)
		if r.Failures[Timeout] != 40 {
			t.Errorf("want 40 timeouts: %v, examples %v", r, r.Examples)
		}
		if d := time.Since(start); d > 15*time.Second {
			t.Errorf("the run took %v, although no request may take more than 0.3 s", d)
		}
	})
}

func TestUntrustedCertificate(t *testing.T) {
	server, _ := certificate(t, "fra-1")
	_, other := certificate(t, "fra-1")
	url := serve(t, server, http.NotFoundHandler())
	modes(t, func(t *testing.T, p Protocol, keepAlive bool) {
		o := load(url, p, other)
		o.KeepAlive = keepAlive
		if r := run1(t, o); r.Failures[TLS] != 40 {
			t.Errorf("want 40 TLS failures: %v, examples %v", r, r.Examples)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	ok := Options{URL: "https://127.0.0.1/", Rate: 1, Duration: time.Second}
	for name, change := range map[string]func(*Options){
		"no URL":              func(o *Options) { o.URL = "" },
		"scheme":              func(o *Options) { o.URL = "ftp://host/" },
		"plain HTTP/3":        func(o *Options) { o.URL, o.Protocol = "http://host/", HTTP3 },
		"method":              func(o *Options) { o.Method = "G T" },
		"no rate":             func(o *Options) { o.Rate = 0 },
		"no duration":         func(o *Options) { o.Duration = 0 },
		"more than the bound": func(o *Options) { o.Rate, o.Duration = 1e6, time.Hour },
		"negative":            func(o *Options) { o.Connections = -1 },
	} {
		o := ok
		change(&o)
		if _, err := newPlan(o); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	p, err := newPlan(ok)
	if err != nil {
		t.Fatal(err)
	}
	if p.Address != "127.0.0.1:443" || p.Timeout != time.Second || p.Connections != 10 || p.tls.ServerName != "127.0.0.1" {
		t.Errorf("defaults: %+v", p.Options)
	}
}
