package front

import (
	"context"
	"testing"

	"nearcast/proxy/message"
)

// memory is a handler that has an answer ready for every GET and learns of its end.
type memory struct {
	answer   message.Ready
	request  message.Request // the last one, as it was seen
	done     int
	sent     int64
	complete bool
	refused  []message.Refusal
	inFlight func() int64 // asked while Done runs
	during   int64
}

func (m *memory) Serve(_ context.Context, _ message.ResponseWriter, r *message.Request) {
	m.request, m.during = *r, m.inFlight()
}

func (m *memory) Quick(r *message.Request) *message.Ready {
	m.request = *r
	if r.Method != "GET" {
		return nil
	}
	m.answer.Owner = m
	return &m.answer
}

func (m *memory) Done(a *message.Ready, sent int64, complete bool) {
	m.done, m.sent, m.complete = m.done+1, sent, complete
	m.during = m.inFlight()
	if a != &m.answer || a.Owner != m {
		panic("the owner got something else back than it gave out")
	}
}

func (m *memory) Refused(x message.Refusal) { m.refused = append(m.refused, x) }

func TestAReadyAnswerIsInFlightUntilItIsDone(t *testing.T) {
	m := &memory{}
	h := newHandler(m, marks{redirectPort: 8443, altSvc: `h3=":443"`, quic: &quicListener{}})
	m.inFlight = h.inFlight.Load
	a := h.Quick(&message.Request{Method: "GET"})
	if a == nil || h.inFlight.Load() != 1 {
		t.Fatalf("answer %v, %d in flight, want 1", a, h.inFlight.Load())
	}
	if m.request.RedirectPort != 8443 || m.request.AltSvc != `h3=":443"` {
		t.Errorf("the handler saw port %d and Alt-Svc %q", m.request.RedirectPort, m.request.AltSvc)
	}
	a.Done(7, true)
	if m.done != 1 || m.sent != 7 || !m.complete || m.during != 1 || h.inFlight.Load() != 0 {
		t.Errorf("told %d times of %d bytes (%t), %d in flight during, %d after", m.done, m.sent, m.complete, m.during, h.inFlight.Load())
	}
	if a := h.Quick(&message.Request{Method: "POST"}); a != nil || h.inFlight.Load() != 0 {
		t.Errorf("no answer was ready, but got %v and %d in flight", a, h.inFlight.Load())
	}
	h.Serve(context.Background(), nil, &message.Request{Method: "POST"})
	if m.during != 1 || h.inFlight.Load() != 0 || m.request.RedirectPort != 8443 {
		t.Errorf("Serve: %d in flight during, %d after, port %d", m.during, h.inFlight.Load(), m.request.RedirectPort)
	}
}

func TestADeadHTTP3ListenerIsForgotten(t *testing.T) {
	m := &memory{}
	q := &quicListener{}
	h := newHandler(m, marks{altSvc: `h3=":443"`, quic: q})
	m.inFlight = h.inFlight.Load
	q.dead.Store(true)
	r := &message.Request{Method: "POST"}
	h.Quick(r)
	if m.request.AltSvc != "clear" {
		t.Errorf("Alt-Svc %q, want clear", m.request.AltSvc)
	}
}

func TestRefusalsAreHandedOn(t *testing.T) {
	m := &memory{}
	newHandler(m, marks{}).Refused(message.Refusal{Reason: "two lengths"})
	if len(m.refused) != 1 || m.refused[0].Reason != "two lengths" {
		t.Errorf("refusals: %v", m.refused)
	}
}

func TestAPlainHandlerIsServedToo(t *testing.T) {
	h := newHandler(text(200, "ok"), marks{})
	if a := h.Quick(&message.Request{Method: "GET"}); a != nil {
		t.Errorf("got %v from a handler that has nothing ready", a)
	}
	h.Refused(message.Refusal{}) // nobody wants to know
}

func TestAReadyAnswerCostsNoAllocation(t *testing.T) {
	m := &memory{}
	h := newHandler(m, marks{altSvc: `h3=":443"`, quic: &quicListener{}})
	m.inFlight = h.inFlight.Load
	r := &message.Request{Method: "GET"}
	if n := testing.AllocsPerRun(1000, func() { h.Quick(r).Done(1, true) }); n != 0 && !raceDetector {
		t.Errorf("%v allocations an answer", n)
	}
}

func BenchmarkReadyAnswer(b *testing.B) {
	m := &memory{}
	h := newHandler(m, marks{altSvc: `h3=":443"`, quic: &quicListener{}})
	m.inFlight = h.inFlight.Load
	r := &message.Request{Method: "GET"}
	b.ReportAllocs()
	for b.Loop() {
		h.Quick(r).Done(1, true)
	}
}

// TestAPanickingOwnerLeavesNothingInFlight: the front end survives it, and a drain must not wait for ever.
func TestAPanickingOwnerLeavesNothingInFlight(t *testing.T) {
	m := &memory{}
	h := newHandler(m, marks{})
	m.inFlight = func() int64 { panic("the owner's") }
	a := h.Quick(&message.Request{Method: "GET"})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic came through")
			}
		}()
		a.Done(0, true)
	}()
	if n := h.inFlight.Load(); n != 0 {
		t.Errorf("%d in flight", n)
	}
}
