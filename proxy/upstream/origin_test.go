package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

var quick = Config{ConnectTimeout: 5 * time.Second, ResponseTimeout: 20 * time.Second, MaxConnections: 4, MaxHeaderSize: 64 << 10}

func originOf(t testing.TB, rawURL string, cfg Config) *Origin {
	t.Helper()
	o, err := New(parseURL(t, rawURL), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

func parseURL(t testing.TB, rawURL string) *url.URL {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func get(path string) *message.Request {
	target, err := message.ParseTarget(path)
	if err != nil {
		panic(err)
	}
	return &message.Request{Method: "GET", Scheme: "https", Authority: "shop.example", Target: target}
}

// rawOrigin accepts one connection after another and answers each with reply, closing it then.
func rawOrigin(t *testing.T, reply string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 4096))
			io.WriteString(c, reply)
			c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestTheTargetArrivesByteForByte(t *testing.T) {
	got := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got <- r.RequestURI + " " + r.Host }))
	defer s.Close()
	o := originOf(t, s.URL, quick)
	for _, target := range []string{"/", "/a%2Fb", "//x//y?q=%zz&r=a|b", "/a?", "/sp%20ace/%C3%A9", "/a;b=c:@!$&'()*+,=[]"} {
		r := get(target)
		res, err := o.RoundTrip(t.Context(), &Attempt{Request: r})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if g := <-got; g != r.Target.String()+" shop.example" {
			t.Errorf("%q arrived as %q", r.Target, g)
		}
	}
}

func TestConnectionSpecificFieldsOfTheOriginStayBehind(t *testing.T) {
	o := originOf(t, rawOrigin(t, "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\nX-End: 2\r\n\r\nok"), quick)
	res, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, hop := range []string{"connection", "x-hop", "keep-alive", "content-length"} {
		if res.Fields.Has(hop) {
			t.Errorf("%s passed the hop", hop)
		}
	}
	if res.Fields.Get("x-end") != "2" || res.ContentLength != 2 {
		t.Errorf("got %v, length %d", res.Fields, res.ContentLength)
	}
}

func TestErrorsSayWhoIsToBlameAndWhetherARetryIsSafe(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + closed.Addr().String()
	closed.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hasty := quick
	hasty.ResponseTimeout = time.Millisecond

	for _, c := range []struct {
		what, url string
		cfg       Config
		status    int
		reason    string
		safe      bool
	}{
		{"nobody listens", refused, quick, 502, "connection refused", true},
		{"it hangs up", rawOrigin(t, ""), quick, 502, "connection closed", false},
		{"it talks nonsense", rawOrigin(t, "SSH-2.0-x\r\n\r\n"), quick, 502, "malformed response", false},
		{"it says nothing", "http://" + silent.Addr().String(), hasty, 504, "response timeout", false},
	} {
		_, err := originOf(t, c.url, c.cfg).RoundTrip(t.Context(), &Attempt{Request: get("/")})
		var e *message.Error
		if !errors.As(err, &e) || e.Blame != message.BlameOrigin || e.Status != c.status || e.Reason != c.reason || e.RetrySafe != c.safe {
			t.Errorf("%s: got %#v, want status %d, %q, retry safe %v", c.what, err, c.status, c.reason, c.safe)
		}
	}
}

func TestAClientThatLeavesIsNotTheOriginsFault(t *testing.T) {
	arrived := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := originOf(t, s.URL, quick).RoundTrip(ctx, &Attempt{Request: get("/")})
	var e *message.Error
	if !errors.As(err, &e) || e.Blame != message.BlameClient || e.RetrySafe {
		t.Errorf("got %#v", err)
	}
}

func TestABodyCutShortIsAnError(t *testing.T) {
	o := originOf(t, rawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"), quick)
	res, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, err = io.ReadAll(res.Body)
	var e *message.Error
	if !errors.As(err, &e) || e.Blame != message.BlameOrigin {
		t.Errorf("got %v, want an origin error", err)
	}
}

func TestTheConnectionLimitRefusesAtOnceAndFreesOnClose(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") }))
	defer s.Close()
	one := quick
	one.MaxConnections = 1
	limited := 0
	one.Events.Limited = func() { limited++ }
	o := originOf(t, s.URL, one)
	first, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	var e *message.Error
	if !errors.As(err, &e) || e.Status != 503 || !e.RetrySafe || limited != 1 {
		t.Errorf("over the limit: got %#v, counted %d", err, limited)
	}
	first.Body.Close()
	first.Body.Close() // closing twice must not free two places
	again, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatalf("the place was not freed: %v", err)
	}
	defer again.Body.Close()
	if _, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")}); err == nil {
		t.Error("closing twice freed two places")
	}
}

func TestBodyTrailersAndEarlyHintsPass(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</s.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		b, _ := io.ReadAll(r.Body)
		w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Client-Sum"))
		w.Write(b)
	}))
	defer s.Close()
	r := get("/")
	r.Method, r.ContentLength = "POST", -1
	r.Trailers = func() message.Fields { return message.Fields{{Name: "x-client-sum", Value: "42"}} }
	hints := ""
	res, err := originOf(t, s.URL, quick).RoundTrip(t.Context(), &Attempt{Request: r, Body: strings.NewReader("hello"),
		Informational: func(status int, f message.Fields) { hints = http.StatusText(status) + " " + f.Get("link") }})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "hello" {
		t.Errorf("the body came back as %q", b)
	}
	if got := res.Trailers().Get("x-sum"); got != "42" {
		t.Errorf("trailers: got %q, want 42", got)
	}
	if hints != "Early Hints </s.css>; rel=preload" {
		t.Errorf("early hints: %q", hints)
	}
}

func TestALimitThatTheBodyReaderReportsIsPassedOn(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer s.Close()
	r := get("/")
	r.Method, r.ContentLength = "POST", -1
	want := &message.Error{Blame: message.BlameClient, Status: 413, Reason: "body too large"}
	_, err := originOf(t, s.URL, quick).RoundTrip(t.Context(), &Attempt{Request: r, Body: io.MultiReader(strings.NewReader("x"), errReader{want})})
	var e *message.Error
	if !errors.As(err, &e) || e != want {
		t.Errorf("got %#v", err)
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }
