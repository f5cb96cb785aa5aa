package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestATunnelThatIsOpenStaysAndANewOneIsShed(t *testing.T) {
	url := switching(t, func(c *net.TCPConn, r *bufio.Reader) { io.Copy(c, r) })
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	open := newTunnelClient(t)
	done := make(chan struct{})
	go func() { defer close(done); e.Serve(context.Background(), open, upgradeRequest()) }()
	echo := func() {
		t.Helper()
		buf := make([]byte, 4)
		if _, err := io.WriteString(open.Conn, "ping"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(open.Conn, buf); err != nil || string(buf) != "ping" {
			t.Fatalf("%q, %v", buf, err)
		}
	}
	echo()
	e.pressed(false)
	c := newTunnelClient(t)
	e.Serve(context.Background(), c, upgradeRequest())
	if c.status != 503 || c.fields.Get("retry-after") == "" {
		t.Errorf("a new one: %d %v", c.status, c.fields)
	}
	echo()
	open.Conn.Close()
	within(t, "the tunnel ends", done)
}

func TestAFetchUnderWayIsJoinedUnderLoad(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	url, hits := counting(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		w.Header().Set("Cache-Control", "max-age=600")
		io.WriteString(w, "it")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, nil)
	first, done1 := e.serveAsync(context.Background(), request("GET", "/a"))
	<-arrived
	e.pressed(true)
	if c := e.get("/b"); c.status != 503 {
		t.Errorf("another miss: %d", c.status)
	}
	second, done2 := e.serveAsync(context.Background(), request("GET", "/a"))
	close(release)
	within(t, "the leader is answered", done1)
	within(t, "who joined is answered", done2)
	if first.body.String() != "it" || second.body.String() != "it" || hits.Load() != 1 {
		t.Errorf("%d %q, %d %q, asked %d times", first.status, first.body.String(), second.status, second.body.String(), hits.Load())
	}
}

// hardened is a client during whose answer the load becomes critical.
type hardened struct {
	client
	once sync.Once
	then func()
}

func (c *hardened) Write(p []byte) (int, error) {
	c.once.Do(c.then)
	return c.client.Write(p)
}

func TestSlicesAreShedBeforeAnAnswerBeginsAndNotInIt(t *testing.T) {
	o := &ranged{content: numbered(6 * slice), tag: `"a"`}
	e := o.edge(t, sliced)
	c := &hardened{then: func() { e.pressed(true) }}
	e.Serve(context.Background(), c, request("GET", "/a", "range", "bytes=0-"))
	if c.status != 206 || c.body.Len() != len(o.content) || c.aborted {
		t.Errorf("an answer that had begun: %d, %d bytes, cut %v", c.status, c.body.Len(), c.aborted)
	}
	e.settle()
	o.questions()
	e.want("a slice that is stored", e.get("/a", "range", "bytes=5-9"), 206, string(o.content[5:10]), "nearcast; hit")
	refused := e.get("/b", "range", "bytes=5-9")
	e.want("one that is not", refused, 503, "503 Service Unavailable\n", `nearcast; detail="overload"`)
	if got := o.questions(); got != "" || refused.fields.Get("retry-after") == "" {
		t.Errorf("the origin was asked %q; %v", got, refused.fields)
	}
}

func TestASliceServesWithoutItsValidationUnderLoad(t *testing.T) {
	o := &ranged{content: numbered(4 * slice), tag: `"a"`}
	e := o.edge(t, sliced)
	e.get("/a", "range", "bytes=0-9")
	e.settle()
	o.questions()
	e.pressed(false) // fills go on, and this is none
	c := e.get("/a", "range", "bytes=5-9", "cache-control", "no-cache")
	e.want("a reload", c, 206, string(o.content[5:10]), "nearcast; hit; ttl=")
	if got := o.questions(); got != "" || !strings.Contains(c.fields.Get("cache-status"), `detail="overload"`) {
		t.Errorf("asked %q, %q", got, c.fields.Get("cache-status"))
	}
}

func TestNothingIsHintedAtThatMayNotCome(t *testing.T) {
	url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Link", "</a.css>; rel=preload; as=style")
		io.WriteString(w, "page")
	})
	e := newEdge(t, map[string][]string{"fra": {url}}, func(_ *Options, s *ServiceConfig) { s.Cache.EarlyHints = true })
	e.get("/a")
	e.settle()
	hints := func() int {
		c := &hinted{}
		e.Serve(context.Background(), c, request("GET", "/a"))
		e.settle()
		return len(c.hints)
	}
	if n := hints(); n != 1 {
		t.Fatalf("%d hints without a load", n)
	}
	e.pressed(true)
	if n := hints(); n != 0 {
		t.Errorf("%d hints, and the page was refused", n)
	}
}
