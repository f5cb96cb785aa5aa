package h2

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// TestAClientThatTakesNothing cannot hold a stream: neither with a window that stays shut, nor by not reading.
func TestAClientThatTakesNothing(t *testing.T) {
	for _, path := range []string{"/", "/slow"} {
		t.Run("window"+path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHits(100_000)
				h.keep = true
				failed := make(chan error, 1)
				h.handlerFunc = func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
					_ = w.WriteHeader(200, nil, -1)
					_, err := w.Write(h.body)
					failed <- err
				}
				x := serve(t, t.Context(), New(h, Config{Pace: message.Pace{Grace: time.Minute, Rate: 10_000}}))
				x.noData = true
				began := time.Now()
				x.request(1, path, true)
				_ = x.next()
				for range 3 { // a trickle does not help
					time.Sleep(20 * time.Second)
					_ = x.fr.WriteWindowUpdate(0, 1)
					_ = x.fr.WriteWindowUpdate(1, 1)
				}
				want(t, x.next(), func(r *reset) bool { return r.stream == 1 }, "a reset")
				if took := time.Since(began); took < time.Minute || took > 70*time.Second {
					t.Errorf("after %v", took)
				}
				if path == "/slow" {
					if err, is := (<-failed).(*message.Error); !is || err.Blame != message.BlameClient {
						t.Errorf("the handler got %v", err)
					}
				} else if d := h.ends(); len(d) != 1 || d[0].complete || d[0].sent < 65535 {
					t.Errorf("the end was %v", d)
				}
				x.request(3, "/nothing", true) // the connection lives
				x.Close()
				<-x.done
			})
		})
	}
	t.Run("socket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			counted := ""
			h := newHits(1000)
			h.keep = true
			x := serve(t, t.Context(), New(h, Config{Pace: message.Pace{Grace: time.Minute}, CountError: func(k string) { counted = k }}))
			x.stopReading()
			began := time.Now()
			x.request(1, "/", true)
			<-x.done
			if took := time.Since(began); took < 50*time.Second || took > 2*time.Minute {
				t.Errorf("ended after %v", took)
			}
			if counted != "slow_connection" {
				t.Errorf("counted %q", counted)
			}
		})
	})
}

// TestACutIsNotTheClientsDoing.
func TestACutIsNotTheClientsDoing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHits(100_000)
		h.keep = true
		stop := errors.New("stopped")
		cut := make(chan error, 1)
		h.handlerFunc = func(ctx context.Context, _ message.ResponseWriter, _ *message.Request) {
			<-ctx.Done()
			cut <- message.Cut(ctx)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		x := serve(t, ctx, New(h, Config{}))
		x.request(1, "/", true)
		x.request(3, "/slow", true)
		cancel(stop)
		<-x.done
		if d := h.ends(); len(d) != 1 || d[0].complete || d[0].err != stop {
			t.Errorf("the end was %v", d)
		}
		if err := <-cut; err != stop {
			t.Errorf("the handler saw %v", err)
		}
	})
}

// TestSlowHeaders: a connection cannot be held by a header section, or a preface, that never ends.
func TestSlowHeaders(t *testing.T) {
	for why, act := range map[string]func(x *session){
		"nothing at all":             func(x *session) {},
		"half a preface":             func(x *session) { _, _ = x.Write([]byte(preface[:10])) },
		"no SETTINGS":                func(x *session) { _, _ = x.Write([]byte(preface)) },
		"HEADERS without an end":     func(x *session) { x.greet(); x.raw(frameHeaders, 0, 1, minimal) },
		"half of HEADERS":            func(x *session) { x.greet(); _, _ = x.Write(appendHeader(nil, 50, frameHeaders, 5, 1)) },
		"a trickle of CONTINUATIONs": func(x *session) { x.greet(); x.raw(frameHeaders, 0, 1, minimal); go x.trickle() },
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counted := ""
				s := New(ok, Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Hour, CountError: func(k string) { counted = k }})
				x := begin(t, t.Context(), s)
				began := time.Now()
				act(x)
				<-x.done
				if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
					t.Errorf("ended after %v", took)
				}
				if counted != "header_timeout" {
					t.Errorf("counted %q", counted)
				}
			})
		})
	}
}

func (x *session) trickle() {
	for range 60 {
		select {
		case <-x.done:
			return
		case <-time.After(time.Second):
			_ = x.fr.WriteContinuation(1, false, []byte("\x00"))
		}
	}
}

// TestASlowUpload ends in spite of a byte now and then.
func TestASlowUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := make(chan error, 1)
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			var err error
			for p := make([]byte, 10); err == nil; {
				_, err = r.Body.Read(p)
			}
			failed <- err
		})
		x := serve(t, t.Context(), New(h, Config{Pace: message.Pace{Grace: time.Minute, Rate: 1000}}))
		x.request(1, "/", false)
		began := time.Now()
		go func() {
			for range 20 {
				time.Sleep(10 * time.Second)
				_ = x.fr.WriteData(1, false, []byte("x"))
			}
		}()
		if err := <-failed; err != errSlowBody {
			t.Errorf("the handler got %v", err)
		}
		if took := time.Since(began); took < time.Minute || took > 70*time.Second {
			t.Errorf("after %v", took)
		}
		time.Sleep(time.Hour)
		x.Close()
		<-x.done
	})
}
