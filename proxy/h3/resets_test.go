package h3

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/message"
)

// TestResetFlood: requests that are given up as soon as they are made cost us as much as others, and the client next to nothing
// (CVE-2023-44487); so do those that we must end (CVE-2025-8671).
func TestResetFlood(t *testing.T) {
	b := readsBodies{&blocked{hit: newHit(1), open: make(chan struct{})}}
	slow := headers(":method: GET", ":scheme: https", ":authority: a.test", ":path: /slow")
	for name, ask := range map[string]func(str *quic.Stream){
		"stopped":        func(str *quic.Stream) { _, _ = str.Write(slow); _ = str.Close(); str.CancelRead(codeRequestCancelled) },
		"reset":          func(str *quic.Stream) { _, _ = str.Write(slow[:5]); str.CancelWrite(codeRequestCancelled) },
		"never complete": func(str *quic.Stream) { _, _ = str.Write([]byte{0x21, 0}); _ = str.Close() },
		"wrong content": func(str *quic.Stream) {
			_, _ = str.Write(join(request("POST", "content-length: 1"), frame(frameData, 'a', 'b')))
			_ = str.Close()
		},
		"malformed": func(str *quic.Stream) { _, _ = str.Write(request("GET", "Capital: x")); _ = str.Close() },
	} {
		r := start(t, b, Config{MaxStreams: 10})
		qc := r.dial(t)
		for range 4000 {
			str, err := qc.OpenStreamSync(patient(t))
			if err != nil {
				break
			}
			ask(str)
		}
		_ = qc.CloseWithError(0, "") // no-op when the server was first
		if got := endCode(t, qc); got != codeExcessiveLoad {
			t.Errorf("%s: ended with %#x", name, got)
		}
	}
}

// readsBodies answers a request with content when that has come.
type readsBodies struct{ *blocked }

func (h readsBodies) Quick(r *message.Request) *message.Ready {
	if r.Body != nil {
		return nil
	}
	return h.blocked.Quick(r)
}

func (h readsBodies) Serve(ctx context.Context, w message.ResponseWriter, r *message.Request) {
	if r.Body == nil {
		h.blocked.Serve(ctx, w, r)
		return
	}
	_, _ = io.ReadAll(r.Body)
	ok(ctx, w, r)
}

// TestLeavingAPage: all requests that there may be are given up at once, now and then.
func TestLeavingAPage(t *testing.T) {
	r := start(t, handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.Target.Path == "/slow" {
			<-ctx.Done()
			return
		}
		ok(ctx, w, r)
	}), Config{})
	qc := r.dial(t)
	for range 100 {
		str, err := qc.OpenStreamSync(patient(t))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(headers(":method: GET", ":scheme: https", ":authority: a.test", ":path: /slow"))
		_ = str.Close()
		str.CancelRead(codeRequestCancelled)
	}
	if p, err := ask(t, qc, request("GET")); err != nil || p.fields.Get(":status") != "200" {
		t.Errorf("the next page: %v", err)
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(1000, 0)
	l := limit{most: 10, perSecond: 2}
	var m meter
	spent := func() (n int) {
		for m.spend(now, l) {
			n++
		}
		return n
	}
	if n := spent(); n != 10 {
		t.Errorf("%d at once", n)
	}
	for range 3 { // less than one at a time adds up
		now = now.Add(time.Second / 5)
		m.spend(now, l)
	}
	now = now.Add(3 * time.Second)
	if n := spent(); n != 6 {
		t.Errorf("%d after three seconds and a bit", n)
	}
	now = now.Add(1000 * time.Hour)
	if n := spent(); n != 10 {
		t.Errorf("%d after a long time", n)
	}
}
