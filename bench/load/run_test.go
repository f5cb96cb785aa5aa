package load

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }

func TestEveryRequestIsMadeAndCountedOnce(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		o.URL += "/a?b=c%20d"
		o.Requests = 200
		r := mustRun(t, o)
		if r.OK != 200 || r.Failed != 0 || r.Bytes != 1000 || r.Status[200] != 200 || len(r.Status) != 1 || r.Histogram.TotalCount() != 200 {
			t.Errorf("%+v", r)
		}
		if asked := s.asked(); s.count() != 200 || asked["/a?b=c%20d"] != 200 {
			t.Errorf("the server had %d requests: %v; %+v", s.count(), asked, r)
		}
	})
}

func TestClosedLoopWithADuration(t *testing.T) {
	eachKind(t, hello, func(t *testing.T, s *server, o Options) {
		var begun, ended int
		o.Duration, o.Warmup = 50*time.Millisecond, 20*time.Millisecond
		o.Begin, o.End = func() { begun++ }, func() { ended++ }
		r := mustRun(t, o)
		if r.OK+r.Late > int64(s.count()) || r.Failed != 0 || begun != 1 || ended != 1 || r.Seconds < 0.05 {
			t.Errorf("ok %d, late %d, failed %d of %d in %v s; begun %d, ended %d", r.OK, r.Late, r.Failed, s.count(), r.Seconds, begun, ended)
		}
	})
}

func TestFailuresAreCountedByClass(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/404":
			http.NotFound(w, r)
		case "/302":
			w.Header().Set("Location", "/")
			w.WriteHeader(302)
		case "/304":
			w.WriteHeader(304)
		case "/cut":
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/size/7":
			io.WriteString(w, "1234567")
		case "/size/8":
			io.WriteString(w, "short")
		}
	}
	eachKind(t, answer, func(t *testing.T, s *server, o Options) {
		o.Requests = 20
		base := o.URL
		ask := func(path string, sizes ...int64) *Result {
			o.URL, o.Sizes = base+path, sizes
			return mustRun(t, o)
		}
		for path, class := range map[string]string{"/404": Status, "/302": Status} {
			r := ask(path)
			status, _ := strconv.Atoi(path[1:])
			if r.OK != 0 || r.Failed != 20 || r.Failures[class] == nil || r.Failures[class].Count != 20 || r.Status[status] != 20 {
				t.Errorf("%s: %+v", path, r)
			}
		}
		if r := ask("/304"); r.OK != 20 || r.Status[304] != 20 {
			t.Errorf("304: %+v", r)
		}
		class := map[string]string{HTTP1: Closed, HTTP2: Stream, HTTP3: Stream}[o.Protocol]
		if r := ask("/cut"); r.OK != 0 || r.Failed != 20 || r.Failures[class] == nil || r.Failures[class].Count != 20 {
			t.Errorf("cut: %+v", r)
		}
		if r := ask("/size/{size}", 7); r.OK != 20 || r.Bytes != 140 {
			t.Errorf("right size: %+v", r)
		}
		if r := ask("/size/{size}", 8); r.OK != 0 || r.Failures[Length] == nil || r.Failures[Length].Count != 20 {
			t.Errorf("wrong size: %+v", r)
		}
	})
}

func TestLargeBodiesAndFields(t *testing.T) {
	const size = 3 << 20
	body := strings.Repeat("x", size)
	answer := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Large", strings.Repeat("y", 20000)) // CONTINUATION in HTTP/2
		io.WriteString(w, body)
	}
	eachKind(t, answer, func(t *testing.T, s *server, o Options) {
		o.Requests = 6
		if r := mustRun(t, o); r.OK != 6 || r.Bytes != 6*size {
			t.Errorf("%+v", r)
		}
	})
}

func TestMethodsFieldsAndBodies(t *testing.T) {
	const size = 200_000 // more than the windows that HTTP/2 begins with
	answer := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || r.Method == "POST" && n != size || r.Header.Get("X-Test") != "a b" || r.Host != "site.test" || r.UserAgent() != "me" {
			t.Errorf("%s %s, %v, %d bytes, %v", r.Method, r.Host, r.Header, n, err)
		}
		if r.Method == "PATCH" && r.Header.Get("Content-Length") != "0" {
			t.Errorf("an empty body is not announced: %v", r.Header)
		}
		io.WriteString(w, "hello")
	}
	eachKind(t, answer, func(t *testing.T, s *server, o Options) {
		o.Requests = 30
		o.Header = []Field{{"X-Test", "a b"}, {"host", "site.test"}, {"User-Agent", "me"}}
		for method, bytes := range map[string]int64{"POST": 150, "HEAD": 0, "PATCH": 150, "OPTIONS": 150} {
			o.Method, o.BodySize = method, 0
			if method == "POST" {
				o.BodySize = size
			}
			if r := mustRun(t, o); r.OK != 30 || r.Bytes != bytes {
				t.Errorf("%s: %+v", method, r)
			}
		}
	})
}

func TestTimeout(t *testing.T) {
	never := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	eachKind(t, never, func(t *testing.T, s *server, o Options) {
		n := int64(3 * max(1, o.Streams))
		o.Requests, o.Timeout = n, 500*time.Millisecond
		if r := mustRun(t, o); r.OK != 0 || r.Failed != n || r.Failures[Timeout] == nil || r.Failures[Timeout].Count != n {
			t.Errorf("%+v", r)
		}
	})
}

func TestInterruptKeepsWhatWasMeasured(t *testing.T) {
	for _, rate := range []float64{0, 2000} {
		eachKind(t, hello, func(t *testing.T, s *server, o Options) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Duration, o.Rate = time.Hour, rate
			o.Progress = func(p Progress) {
				if p.OK >= 50 {
					cancel()
				}
			}
			r, err := Run(ctx, o)
			if err != nil || r.OK < 50 || r.Failed != 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestConnectionsThatTheServerEndsAreReplaced(t *testing.T) {
	// HTTP/2 of net/http makes it a GOAWAY; HTTP/3 has no such thing, its server is asked to leave in another test.
	eachKind(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		io.WriteString(w, "hello")
	}, func(t *testing.T, s *server, o Options) {
		if o.Protocol == HTTP3 {
			t.Skip()
		}
		o.Requests = 40
		if r := mustRun(t, o); r.OK != 40 || r.Failed != 0 || r.Reconnects == 0 {
			t.Errorf("%+v", r)
		}
	})
}
