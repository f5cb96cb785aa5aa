package h2

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// TestFloods: each is ended with ENHANCE_YOUR_CALM and counted under its name, after some and before many frames.
func TestFloods(t *testing.T) {
	block := []byte(minimal)
	next := uint32(1)
	id := func() uint32 { next += 2; return next }
	for why, tt := range map[string]struct {
		kind string
		send func(x *session)
	}{
		"rapid reset": {"reset_flood", func(x *session) {
			n := id()
			_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: n, BlockFragment: block, EndHeaders: true, EndStream: true})
			_ = x.fr.WriteRSTStream(n, http2.ErrCodeCancel)
		}},
		"resets that it makes us send": {"reset_flood", func(x *session) {
			n := id()
			_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: n, BlockFragment: block, EndHeaders: true, EndStream: true})
			_ = x.fr.WriteWindowUpdate(n, 0)
		}},
		"malformed requests": {"reset_flood", func(x *session) {
			_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id(), BlockFragment: []byte{0x82}, EndHeaders: true, EndStream: true})
		}},
		"SETTINGS": {"frame_flood", func(x *session) { _ = x.fr.WriteSettings() }},
		"PING":     {"frame_flood", func(x *session) { _ = x.fr.WritePing(true, [8]byte{}) }},
		"PRIORITY": {"frame_flood", func(x *session) { _ = x.fr.WritePriority(99, http2.PriorityParam{}) }},
		"PRIORITY_UPDATE": {"frame_flood", func(x *session) {
			_ = x.fr.WriteRawFrame(framePriorityUpdate, 0, 0, []byte("\x00\x00\x00\x01u=1"))
		}},
		"WINDOW_UPDATE":  {"frame_flood", func(x *session) { _ = x.fr.WriteWindowUpdate(0, 1) }},
		"unknown frames": {"frame_flood", func(x *session) { _ = x.fr.WriteRawFrame(0xbe, 0, 0, nil) }},
		"empty DATA":     {"frame_flood", func(x *session) { _ = x.fr.WriteData(1, false, nil) }},
	} {
		t.Run(why, func(t *testing.T) {
			next = 1
			synctest.Test(t, func(t *testing.T) {
				counted := map[string]int{}
				h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) { <-ctx.Done() })
				x := serve(t, t.Context(), New(h, Config{CountError: func(k string) { counted[k]++ }, MaxStreams: 100}))
				x.request(1, "/", false)
				sent := 0
				for ended := false; !ended && sent < 20_000; sent++ {
					tt.send(x)
					synctest.Wait()
					ended = x.flooded(t)
				}
				if sent < 50 || sent > 3000 {
					t.Errorf("it ended after %d", sent)
				}
				<-x.done
				if counted[tt.kind] != 1 {
					t.Errorf("counted %v, want %q", counted, tt.kind)
				}
			})
		})
	}
}

// flooded takes frames and reports whether GOAWAY came.
func (x *session) flooded(t *testing.T) bool {
	for {
		select {
		case f := <-x.frames:
			if g, is := f.(*goAway); is {
				if g.code != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("GOAWAY %v", g.code)
				}
				return true
			}
			continue
		default:
			return false
		}
	}
}

// TestAnHonestClientIsNoFlood: thousands of requests, each with what a client sends for it.
func TestAnHonestClientIsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(newHits(1000), Config{}))
		for id := uint32(1); id < 10_000; id += 2 {
			x.request(id, "/", true)
			_ = x.fr.WriteWindowUpdate(0, 1000)
			_ = x.fr.WriteWindowUpdate(id, 1000)
			want(t, x.next(), func(r *response) bool { return r.stream == id }, "a response")
			want(t, x.next(), func(d *data) bool { return d.stream == id && d.ended }, "its content")
		}
		x.Close()
		<-x.done
	})
}

func TestContinuations(t *testing.T) {
	for why, tt := range map[string]struct {
		kind string
		size int
	}{"many": {"continuation_flood", 0}, "large": {"header_block_size", maxFrame}} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				counted := ""
				x := serve(t, t.Context(), New(ok, Config{CountError: func(k string) { counted = k }}))
				_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(minimal)})
				n := 0
				for ; n < 1000 && len(x.frames) == 0; n++ {
					_ = x.fr.WriteContinuation(1, false, make([]byte, tt.size))
					synctest.Wait()
				}
				want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeEnhanceYourCalm }, "GOAWAY")
				<-x.done
				if n > 100 || counted != tt.kind {
					t.Errorf("after %d, counted %q", n, counted)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) { // some are fine
		x := serve(t, t.Context(), New(ok, Config{}))
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(minimal[:2]), EndStream: true})
		_ = x.fr.WriteContinuation(1, false, []byte(minimal[2:4]))
		_ = x.fr.WriteContinuation(1, true, []byte(minimal[4:]))
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "a response")
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: []byte(minimal)})
		_ = x.fr.WriteData(1, false, nil)
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeProtocol }, "GOAWAY for a frame in between")
		<-x.done
	})
}

// TestABombOfCrumbs: a block that is small on the wire and large when decoded is answered with 431.
func TestABombOfCrumbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(ok, Config{}))
		block := minimal + "\x60\x7f\xa1\x1e" + strings.Repeat("c", 4000) + strings.Repeat("\xbe", 10_000)
		x.raw(frameHeaders, flagEndHeaders|flagEndStream, 1, block)
		want(t, x.next(), func(r *response) bool { return r.status == "431" && r.ended }, "431")
		x.Close()
		<-x.done
	})
}

// TestAnswersThatNobodyReads are kept within a bound.
func TestAnswersThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := map[string]int{}
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) { <-ctx.Done() })
		x := serve(t, t.Context(), New(h, Config{CountError: func(k string) { counted[k]++ }, Pace: message.Pace{Grace: time.Minute}}))
		x.request(1, "/", false) // so that the reading goroutine does not write
		x.stopReading()
		for i := 0; i < 20_000; i++ {
			time.Sleep(20 * time.Millisecond) // slowly enough for the meter
			if x.fr.WritePing(false, [8]byte{}) != nil {
				break
			}
		}
		<-x.done
		if counted["control_queue"]+counted["slow_connection"] == 0 {
			t.Errorf("counted %v", counted)
		}
	})
}

// TestRunningHandlersCount: a client that resets its streams gets no more of them than one that waits.
func TestRunningHandlersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		running, most := 0, 0
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) {
			running++ // one at a time, as the test waits for each
			most = max(most, running)
			<-release
		})
		x := serve(t, t.Context(), New(h, Config{MaxStreams: 3}))
		for id := uint32(1); id < 40; id += 2 {
			x.request(id, "/", true)
			_ = x.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			synctest.Wait()
		}
		if most != 3 {
			t.Errorf("%d handlers at once", most)
		}
		want(t, x.next(), func(r *reset) bool { return r.stream == 7 && r.code == http2.ErrCodeRefusedStream }, "the fourth refused")
		close(release)
		synctest.Wait()
		x.Close()
		<-x.done
	})
}
