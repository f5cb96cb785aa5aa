package cache

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// epoch is the time at which the tests' first response is received.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// on is the policy of a service with the defaults.
func on() *Policy {
	var p Policy
	p.SetDefaults()
	return &p
}

// fields makes a field section of lines such as "Cache-Control: max-age=60".
func fields(lines ...string) message.Fields {
	var f message.Fields
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ":")
		f.Add(strings.ToLower(name), strings.TrimSpace(value))
	}
	return f
}

// get makes a GET request for a path with those fields.
func get(path string, lines ...string) *message.Request { return request("GET", path, lines...) }

func request(method, path string, lines ...string) *message.Request {
	target, err := message.ParseTarget(path)
	if err != nil {
		panic(err)
	}
	return &message.Request{Method: method, Scheme: "https", Authority: "shop.example.com", Target: target, Fields: fields(lines...)}
}

// answer makes a response received at epoch.
func answer(status int, lines ...string) Response {
	return Response{Status: status, Fields: fields(lines...), Length: -1, Requested: epoch, Received: epoch}
}

// at moves a response to another time.
func (r Response) at(t time.Time) Response {
	r.Requested, r.Received = t, t
	return r
}

func newCache(memory, maxObject Size) *Cache {
	return New(Config{Memory: memory, MaxObject: maxObject}, metrics.NewSet())
}

func small() *Cache { return newCache(8<<20, 1<<20) }

// harness drives one cache as the pipeline would, without concurrency.
type harness struct {
	testing.TB
	*Cache
	policy *Policy
}

func newHarness(t testing.TB) harness { return harness{t, small(), on()} }

func (h harness) key(r *message.Request) Key { return h.policy.KeyOf("shop", r, nil) }

// look looks r up at a time after epoch.
func (h harness) look(after time.Duration, r *message.Request) Result {
	return h.Lookup(epoch.Add(after), h.key(r), r, h.policy)
}

// store has r answered by resp with that body; it returns why it was not stored.
func (h harness) store(r *message.Request, resp Response, body string) Reason {
	h.Helper()
	f, leader := h.Begin(resp.Received, h.key(r), r)
	if !leader {
		h.Fatal("the only request of its kind must lead its fill")
	}
	w, reason := f.Respond(r, resp, h.policy)
	if w == nil {
		return reason
	}
	if _, err := w.Write([]byte(body)); err != nil && err != ErrAbandoned {
		h.Fatal("writing:", err)
	}
	return w.Commit(nil)
}

// want checks the state and reason of a lookup.
func (h harness) want(why string, after time.Duration, r *message.Request, state State, reason Reason) Result {
	h.Helper()
	res := h.look(after, r)
	if res.State != state || res.Reason != reason {
		h.Errorf("%s: after %v got %v (%v), want %v (%v)", why, after, res.State, res.Reason, state, reason)
	}
	return res
}

// body reads an object to its end.
func (h harness) body(o *Object, rg Range) string {
	h.Helper()
	r, err := o.NewReader(context.Background(), rg)
	if err != nil {
		h.Fatal("opening:", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		h.Fatal("reading:", err)
	}
	return string(b)
}

func TestStoreAndReuse(t *testing.T) {
	h := newHarness(t)
	r := get("/a?b=1")
	h.want("an empty cache", 0, r, Miss, ReasonNotStored)
	if reason := h.store(r, answer(200, "Cache-Control: max-age=60", "Content-Type: text/plain"), "hello"); reason != ReasonStored {
		t.Fatal("not stored:", reason)
	}
	res := h.want("within max-age", 59*time.Second, r, Hit, ReasonFresh)
	if got := h.body(res.Object, Whole); got != "hello" {
		t.Errorf("body %q", got)
	}
	if res.Age != 59*time.Second || res.TTL != time.Second {
		t.Errorf("age %v, ttl %v", res.Age, res.TTL)
	}
	if res.Object.Length != 5 {
		t.Errorf("length %d: the length is known once the body is complete", res.Object.Length)
	}
	h.want("at max-age", 60*time.Second, r, Stale, ReasonExpired)
	h.want("another query", 0, get("/a?b=2"), Miss, ReasonNotStored)
	h.want("HEAD shares the key", 0, request("HEAD", "/a?b=1"), Hit, ReasonFresh)
	h.want("POST has no part in it", 0, request("POST", "/a?b=1"), Bypass, ReasonMethod)
	h.policy.Enabled = false
	h.want("switched off", 0, r, Bypass, ReasonDisabled)
}
