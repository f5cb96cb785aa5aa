package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"nearcast/proxy/message"
)

// patience is how long something may take that ought to happen at once, on a machine with other things to do.
const patience = 10 * time.Second

func (e *edge) serveAsync(ctx context.Context, r *message.Request) (*client, chan struct{}) {
	c, done := &client{}, make(chan struct{})
	go func() {
		defer close(done)
		e.Serve(ctx, c, r)
	}()
	return c, done
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("never: %s", what)
	}
}

func TestALeaderThatLeavesIsNotHeldByItsFetch(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(103)
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	ctx, leave := context.WithCancel(t.Context())
	c, done := e.serveAsync(ctx, request("GET", "/a"))
	<-arrived
	leave()
	within(t, "the exchange of a client that left ends", done)
	if !c.aborted || c.status != 0 {
		t.Errorf("aborted %v, status %d", c.aborted, c.status)
	}
	close(release)
	e.settle()
	if len(c.informed) != 0 {
		t.Error("a 1xx was written after the end of the exchange")
	}
	e.want("what it had asked for is there", e.get("/a"), 200, "body", "nearcast; hit")
	if hits.Load() != 1 {
		t.Errorf("the origin was asked %d times", hits.Load())
	}
}

func TestCloseEndsAFetchThatNobodyWaitsFor(t *testing.T) {
	arrived := make(chan struct{})
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	ctx, leave := context.WithCancel(t.Context())
	_, done := e.serveAsync(ctx, request("GET", "/a"))
	<-arrived
	leave()
	<-done
	closed := make(chan struct{})
	go func() { defer close(closed); e.Close() }()
	within(t, "Close returns", closed)
}

func TestWhoWaitedForAFetchThatWasGivenUpFetchesForItself(t *testing.T) {
	for err, own := range map[error]bool{
		errLeaderGone:                      true,
		context.Canceled:                   true,
		clientError(400, "malformed host"): true,
		&message.Error{Blame: message.BlameOrigin, Status: 502}: false,
		&message.Error{Blame: message.BlameEdge, Status: 503}:   false,
	} {
		if leadersOwn(err) != own {
			t.Errorf("%v: %v, want %v", err, !own, own)
		}
	}
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	x := &exchange{ctx: t.Context(), r: request("GET", "/a")}
	x.service = e.table.services[0]
	e.lookup(x, time.Now())
	f, leader := e.cache.Begin(time.Now(), x.key, x.r)
	if !leader {
		t.Fatal("nobody else asked")
	}
	c, done := e.serveAsync(t.Context(), request("GET", "/a"))
	select { // it waits for the fetch under way
	case <-done:
		t.Fatalf("it did not wait: %d", c.status)
	case <-time.After(20 * time.Millisecond):
	}
	f.Fail(errLeaderGone)
	within(t, "the waiter is answered", done)
	if c.status != 200 || hits.Load() != 1 {
		t.Errorf("status %d after %d fetches", c.status, hits.Load())
	}
}

func TestAHeadOfAStaleObjectRefreshesIt(t *testing.T) {
	var version atomic.Int32
	methods := make(chan string, 10)
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		methods <- r.Method
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=60")
		fmt.Fprintf(w, "v%d", version.Add(1))
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	e.get("/a")
	e.settle()
	e.serve(request("HEAD", "/a"))
	e.settle()
	if c := e.get("/a"); c.body.String() != "v2" {
		t.Errorf("got %q, want what the background fetched", c.body.String())
	}
	e.settle()
	close(methods)
	for m := range methods {
		if m != "GET" {
			t.Errorf("the background asked with %s", m)
		}
	}
}

func TestAClientThatLeavesInTheMiddleIsNotTheOriginsFault(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "event\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	ctx, leave := context.WithCancel(t.Context())
	_, done := e.serveAsync(ctx, request("GET", "/events"))
	m := e.table.services[0]
	for deadline := time.Now().Add(patience); m.origins[0].meters.requests.Get() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no request")
		}
	}
	time.AfterFunc(20*time.Millisecond, leave)
	within(t, "the exchange ends", done)
	if n := m.meters.incomplete[message.BlameOrigin].Get(); n != 0 {
		t.Errorf("%d counted against the origin", n)
	}
	if n := m.meters.incomplete[message.BlameClient].Get(); n != 1 {
		t.Errorf("%d counted against the client", n)
	}
}

func TestAPanicIsCountedOnceAndAsOurs(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	func() {
		defer func() { recover() }()
		e.Serve(t.Context(), brokenWriter{&client{}}, request("POST", "/"))
	}()
	if n := e.table.services[0].meters.requests[message.HTTP2][code5xx].Get(); n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// brokenWriter panics where the header section is to be written.
type brokenWriter struct{ *client }

func (brokenWriter) WriteHeader(int, message.Fields, int64) error { panic("bug") }

func TestABodyIsNotReadAfterTheExchange(t *testing.T) {
	url, _ := counting(t, func(w http.ResponseWriter, r *http.Request) { // answers without having read
		w.Header().Set("Content-Length", "2")
		io.WriteString(w, "no")
		w.(http.Flusher).Flush()
		<-t.Context().Done() // the transport goes on writing
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	body := &endless{}
	r := request("POST", "/")
	r.Body, r.ContentLength = body, 1<<20
	e.Serve(t.Context(), &client{failWith: io.ErrClosedPipe}, r) // a client that takes nothing of the answer
	time.Sleep(5 * time.Millisecond)                             // for a read that had begun
	body.over.Store(true)
	time.Sleep(50 * time.Millisecond) // the transport may go on in this time
	if body.late.Load() {
		t.Error("the client's connection was read from after the exchange had ended")
	}
}

// endless gives a byte at a time, slowly.
type endless struct{ over, late atomic.Bool }

func (b *endless) Read(p []byte) (int, error) {
	if b.over.Load() {
		b.late.Store(true)
	}
	time.Sleep(time.Millisecond)
	return copy(p, "x"), nil
}

func TestTheLargestBodyLimitIsNoPanic(t *testing.T) {
	b := &requestBody{r: strings.NewReader("hello"), left: 1<<63 - 1}
	if got, err := io.ReadAll(b); string(got) != "hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// borrow makes a request's strings parts of one buffer, as a front end's are.
func borrow(r *message.Request) (buf []byte) {
	all := []*string{&r.Method, &r.Authority, &r.Target.Path, &r.Target.Query}
	for i := range r.Fields {
		all = append(all, &r.Fields[i].Name, &r.Fields[i].Value)
	}
	buf = make([]byte, 0, 4096)
	for _, s := range all {
		start := len(buf)
		buf = append(buf, *s...)
		*s = unsafe.String(unsafe.SliceData(buf[start:]), len(*s))
	}
	return buf
}

func TestAFetchOutlivesTheBufferOfItsRequest(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		io.WriteString(w, "body")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	ctx, leave := context.WithCancel(t.Context())
	r := request("GET", "/a?b=c", "accept-language", "en")
	buf := borrow(r)
	_, done := e.serveAsync(ctx, r)
	<-arrived
	leave()
	within(t, "the exchange of a client that left ends", done)
	for i := range buf {
		buf[i] = '!'
	}
	close(release)
	e.settle()
	e.want("it is there under its own name", e.get("/a?b=c", "accept-language", "en"), 200, "body", "nearcast; hit")
	if hits.Load() != 1 {
		t.Errorf("the origin was asked %d times", hits.Load())
	}
}
