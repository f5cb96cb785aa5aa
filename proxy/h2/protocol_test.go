package h2

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// raw sends a frame as it is.
func (x *session) raw(kind, flags byte, stream uint32, payload string) {
	b := appendHeader(nil, len(payload), kind, flags, stream)
	_, _ = x.Write(append(b, payload...))
	synctest.Wait()
}

// minimal is the block of GET http://a/.
const minimal = "\x82\x86\x84\x41\x01a"

// TestErrors: what each broken frame is answered with. Stream 1 is open with a body to come, stream 3 is ended by its client and waits for
// the response, 5 is closed, 7 was reset by the client.
func TestErrors(t *testing.T) {
	const conn = true
	tests := []struct {
		why         string
		kind, flags byte
		stream      uint32
		payload     string
		whole       bool // an error of the connection
		code        http2.ErrCode
		kindOfError string
	}{
		{why: "DATA without a stream", kind: frameData, payload: "x", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "DATA on an idle stream", kind: frameData, stream: 99, payload: "x", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "idle_stream"},
		{why: "DATA on a stream the client never could open", kind: frameData, stream: 2, payload: "x", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "idle_stream"},
		{why: "DATA after END_STREAM", kind: frameData, stream: 3, payload: "x", code: http2.ErrCodeStreamClosed, kindOfError: "half_closed_stream"},
		{why: "DATA on a closed stream", kind: frameData, stream: 5, payload: "x", whole: conn, code: http2.ErrCodeStreamClosed, kindOfError: "closed_stream"},
		{why: "more padding than payload", kind: frameData, flags: flagPadded, stream: 1, payload: "\x04abc", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "padding"},
		{why: "padding without a length", kind: frameData, flags: flagPadded, stream: 1, whole: conn, code: http2.ErrCodeProtocol, kindOfError: "padding"},
		{why: "HEADERS without a stream", kind: frameHeaders, flags: flagEndHeaders, payload: minimal, whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "HEADERS on an even stream", kind: frameHeaders, flags: flagEndHeaders, stream: 8, payload: minimal, whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "HEADERS after END_STREAM", kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: 3, payload: minimal, code: http2.ErrCodeStreamClosed, kindOfError: "half_closed_stream"},
		{why: "HEADERS on a closed stream", kind: frameHeaders, flags: flagEndHeaders, stream: 5, payload: minimal, whole: conn, code: http2.ErrCodeStreamClosed, kindOfError: "closed_stream"},
		{why: "trailers without END_STREAM", kind: frameHeaders, flags: flagEndHeaders, stream: 1, payload: "\x00\x01a\x01b", code: http2.ErrCodeProtocol, kindOfError: "trailers"},
		{why: "trailers with a pseudo-header field", kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: 1, payload: minimal, code: http2.ErrCodeProtocol, kindOfError: "trailers"},
		{why: "HEADERS with half a priority", kind: frameHeaders, flags: flagEndHeaders | flagPriority, stream: 9, payload: "\x00\x00", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "HEADERS that depend on themselves", kind: frameHeaders, flags: flagEndHeaders | flagEndStream | flagPriority, stream: 9, payload: "\x00\x00\x00\x09\x00" + minimal, code: http2.ErrCodeProtocol, kindOfError: "self_dependency"},
		{why: "a broken block", kind: frameHeaders, flags: flagEndHeaders, stream: 9, payload: "\xff", whole: conn, code: http2.ErrCodeCompression, kindOfError: "compression"},
		{why: "a request without a path", kind: frameHeaders, flags: flagEndHeaders | flagEndStream, stream: 9, payload: "\x82\x86\x41\x01a", code: http2.ErrCodeProtocol, kindOfError: "malformed"},
		{why: "PRIORITY without a stream", kind: framePriority, payload: "12345", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "a short PRIORITY", kind: framePriority, stream: 1, payload: "1234", code: http2.ErrCodeFrameSize, kindOfError: "stream_priority_size"},
		{why: "PRIORITY that depends on itself", kind: framePriority, stream: 1, payload: "\x00\x00\x00\x01\x00", code: http2.ErrCodeProtocol, kindOfError: "self_dependency"},
		{why: "RST_STREAM without a stream", kind: frameRSTStream, payload: "1234", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "a long RST_STREAM", kind: frameRSTStream, stream: 1, payload: "12345", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "RST_STREAM on an idle stream", kind: frameRSTStream, stream: 99, payload: "1234", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "idle_stream"},
		{why: "SETTINGS on a stream", kind: frameSettings, stream: 1, whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "a crooked SETTINGS", kind: frameSettings, payload: "12345", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "an acknowledgement with content", kind: frameSettings, flags: flagAck, payload: "123456", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "ENABLE_PUSH 2", kind: frameSettings, payload: "\x00\x02\x00\x00\x00\x02", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "settings"},
		{why: "a huge INITIAL_WINDOW_SIZE", kind: frameSettings, payload: "\x00\x04\x80\x00\x00\x00", whole: conn, code: http2.ErrCodeFlowControl, kindOfError: "settings_window"},
		{why: "a small MAX_FRAME_SIZE", kind: frameSettings, payload: "\x00\x05\x00\x00\x3f\xff", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "settings"},
		{why: "a huge MAX_FRAME_SIZE", kind: frameSettings, payload: "\x00\x05\x01\x00\x00\x00", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "settings"},
		{why: "PUSH_PROMISE", kind: framePushPromise, stream: 1, payload: "1234", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "push_promise"},
		{why: "PING on a stream", kind: framePing, stream: 1, payload: "12345678", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "a short PING", kind: framePing, payload: "1234567", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "GOAWAY on a stream", kind: frameGoAway, stream: 1, payload: "12345678", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "a short GOAWAY", kind: frameGoAway, payload: "1234567", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "a short WINDOW_UPDATE", kind: frameWindowUpdate, stream: 1, payload: "123", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
		{why: "WINDOW_UPDATE by nothing", kind: frameWindowUpdate, stream: 1, payload: "\x00\x00\x00\x00", code: http2.ErrCodeProtocol, kindOfError: "stream_window_increment"},
		{why: "the same on the connection", kind: frameWindowUpdate, payload: "\x00\x00\x00\x00", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "window_increment"},
		{why: "WINDOW_UPDATE beyond the limit", kind: frameWindowUpdate, stream: 1, payload: "\x7f\xff\xff\xff", code: http2.ErrCodeFlowControl, kindOfError: "stream_window_overflow"},
		{why: "the same on the connection", kind: frameWindowUpdate, payload: "\x7f\xff\xff\xff", whole: conn, code: http2.ErrCodeFlowControl, kindOfError: "window_overflow"},
		{why: "WINDOW_UPDATE on an idle stream", kind: frameWindowUpdate, stream: 99, payload: "\x00\x00\x00\x01", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "idle_stream"},
		{why: "CONTINUATION after nothing", kind: frameContinuation, flags: flagEndHeaders, stream: 1, whole: conn, code: http2.ErrCodeProtocol, kindOfError: "interleaved_headers"},
		{why: "PRIORITY_UPDATE on a stream", kind: framePriorityUpdate, stream: 1, payload: "\x00\x00\x00\x01u=1", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "stream_id"},
		{why: "PRIORITY_UPDATE for nothing", kind: framePriorityUpdate, payload: "\x00\x00\x00\x00u=1", whole: conn, code: http2.ErrCodeProtocol, kindOfError: "priority"},
		{why: "a short PRIORITY_UPDATE", kind: framePriorityUpdate, payload: "\x00\x00\x00", whole: conn, code: http2.ErrCodeFrameSize, kindOfError: "frame_size"},
	}
	for _, tt := range tests {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, counted := fourStreams(t)
				x.raw(tt.kind, tt.flags, tt.stream, tt.payload)
				if tt.whole {
					want(t, x.next(), func(g *goAway) bool { return g.code == tt.code }, "GOAWAY "+tt.code.String())
				} else {
					want(t, x.next(), func(r *reset) bool { return r.code == tt.code && r.stream == tt.stream }, "RST_STREAM "+tt.code.String())
					x.Close()
				}
				<-x.done
				if len(*counted) != 1 || (*counted)[0] != tt.kindOfError {
					t.Errorf("counted %q, want %q", *counted, tt.kindOfError)
				}
			})
		})
	}
}

// fourStreams is the beginning of TestErrors.
func fourStreams(t *testing.T) (*session, *[]string) {
	counted := new([]string)
	h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.Target.Path == "/now" {
			ok(ctx, w, r)
			return
		}
		<-ctx.Done()
		w.Abort()
	})
	x := serve(t, t.Context(), New(h, Config{CountError: func(k string) { *counted = append(*counted, k) }}))
	x.request(1, "/", false)
	x.request(3, "/", true)
	x.request(5, "/now", true)
	want(t, x.next(), func(r *response) bool { return r.stream == 5 && r.ended }, "the answer on stream 5")
	x.request(7, "/", true)
	_ = x.fr.WriteRSTStream(7, http2.ErrCodeCancel)
	synctest.Wait()
	return x, counted
}

// TestWhatIsPassedOver is not answered with an error, and the connection goes on.
func TestWhatIsPassedOver(t *testing.T) {
	for why, send := range map[string]func(x *session){
		"an unknown frame":                     func(x *session) { x.raw(0xbe, 0xff, 1, "whatever") },
		"an unknown setting":                   func(x *session) { x.raw(frameSettings, 0, 0, "\xaa\xaa\x00\x00\x00\x01") },
		"PRIORITY on an idle stream":           func(x *session) { x.raw(framePriority, 0, 99, "\x00\x00\x00\x01\x00") },
		"WINDOW_UPDATE on a closed stream":     func(x *session) { x.raw(frameWindowUpdate, 0, 5, "\x00\x00\x00\x01") },
		"RST_STREAM on a closed stream":        func(x *session) { x.raw(frameRSTStream, 0, 5, "\x00\x00\x00\x00") },
		"an acknowledgement of PING":           func(x *session) { x.raw(framePing, flagAck, 0, "12345678") },
		"the client's GOAWAY":                  func(x *session) { x.raw(frameGoAway, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x00") },
		"PRIORITY_UPDATE for a stream to come": func(x *session) { x.raw(framePriorityUpdate, 0, 0, "\x00\x00\x00\x63u=1") },
		"padded DATA":                          func(x *session) { x.raw(frameData, flagPadded, 1, "\x02a\x00\x00") },
		"DATA on a stream that we have reset":  func(x *session) { x.raw(framePriority, 0, 1, "1"); x.next(); x.raw(frameData, 0, 1, "x") },
		"HEADERS on a stream that we have reset": func(x *session) {
			x.raw(framePriority, 0, 1, "1")
			x.next()
			x.raw(frameHeaders, 5, 1, "\x00\x01a\x01b")
		},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, _ := fourStreams(t)
				send(x)
				x.request(101, "/now", true)
				want(t, x.next(), func(r *response) bool { return r.stream == 101 && r.status == "200" }, "a response on another stream")
				x.Close()
				<-x.done
			})
		})
	}
}

// TestAStreamThatBothHaveReset: what was on its way when we reset it is passed over, but not what comes after the client's own reset.
func TestAStreamThatBothHaveReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, _ := fourStreams(t)
		x.raw(framePriority, 0, 1, "1")
		want(t, x.next(), func(r *reset) bool { return r.stream == 1 }, "our reset")
		_ = x.fr.WriteData(1, false, []byte("x"))
		_ = x.fr.WriteRSTStream(1, http2.ErrCodeCancel)
		synctest.Wait()
		if len(x.frames) > 0 {
			t.Errorf("something came: %+v", x.next())
		}
		_ = x.fr.WriteData(1, false, []byte("x"))
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeStreamClosed }, "GOAWAY")
		<-x.done
	})
}

// TestForgottenStreams: of one that ended too long ago nobody can say who was wrong, so the connection lives.
func TestForgottenStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(ok, Config{}))
		for id := uint32(1); id < 201; id += 2 {
			x.request(id, "/", true)
			_ = x.next()
		}
		_ = x.fr.WriteData(1, false, []byte("x"))
		want(t, x.next(), func(r *reset) bool { return r.stream == 1 && r.code == http2.ErrCodeStreamClosed }, "a reset")
		x.request(203, "/", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 203 }, "a response")
		x.request(301, "/", true)
		_ = x.next()
		x.request(299, "/", true)
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeProtocol }, "GOAWAY for an id that was passed by")
		<-x.done
	})
}

func TestTheFirstFrameIsSettings(t *testing.T) {
	for why, first := range map[string]string{
		"no preface": "GET / HTTP/1.1\r\n\r\n", "another frame": http2.ClientPreface + string(appendPing(nil, 0, make([]byte, 8))),
		"an acknowledgement": http2.ClientPreface + string(appendHeader(nil, 0, frameSettings, flagAck, 0)),
	} {
		synctest.Test(t, func(t *testing.T) {
			x := begin(t, t.Context(), New(ok, Config{}))
			_, _ = io.WriteString(x, first)
			want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeProtocol }, "GOAWAY after "+why)
			<-x.done
		})
	}
}

// TestAnOversizeFrame ends the connection before its payload has come.
func TestAnOversizeFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(ok, Config{}))
		_, _ = x.Write(appendHeader(nil, maxFrame+1, frameData, 0, 1))
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeFrameSize }, "GOAWAY")
		<-x.done
	})
}

// TestRefusals: what is answered with a status, and told to the handler.
func TestRefusals(t *testing.T) {
	for why, tt := range map[string]struct {
		status string
		path   string
		more   []string
	}{
		"a section too large":  {"431", "/", []string{"x-long", strings.Repeat("x", 5000)}},
		"a broken target":      {"400", "/%", nil},
		"another's scheme":     {"421", "/", nil},
		"a target too long":    {"414", "/" + strings.Repeat("x", message.MaxTarget), nil},
		"something malformed":  {"", "/", []string{"Upper", "case"}},
		"two different hosts":  {"", "/", []string{"host", "b"}},
		"a broken length":      {"", "/", []string{"content-length", "x"}},
		"a length without any": {"", "/", []string{"content-length", "7"}},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHits(10)
				cfg := Config{MaxHeader: 4096}
				if tt.status == "414" {
					cfg.MaxHeader = 64 << 10
				}
				info := testInfo
				s := New(h, cfg)
				if tt.status == "421" {
					info.TLS = &message.TLS{}
				}
				x := beginAs(t, t.Context(), s, info)
				x.noData = true
				x.greet()
				x.request(1, tt.path, true, tt.more...)
				if tt.status == "" {
					want(t, x.next(), func(r *reset) bool { return r.code == http2.ErrCodeProtocol }, "RST_STREAM")
				} else {
					want(t, x.next(), func(r *response) bool { return r.status == tt.status && r.ended && r.get("date") != "" }, "status "+tt.status)
				}
				if tt.status != "421" {
					x.request(3, "/", true) // the tables are still in step
					want(t, x.next(), func(r *response) bool { return r.stream == 3 && r.status == "200" }, "a response to the next")
				}
				x.Close()
				<-x.done
				if len(h.refusals) != 1 || h.refusals[0].Reason == "" || h.refusals[0].Method != "GET" || h.refusals[0].Authority != "a" {
					t.Errorf("the handler was told %+v", h.refusals)
				}
			})
		})
	}
}

func TestTheClientsPing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t, t.Context(), New(ok, Config{}))
		x.pings = make(chan [8]byte, 1)
		_ = x.fr.WritePing(false, [8]byte{1, 2, 3})
		select {
		case p := <-x.pings:
			if p != [8]byte{1, 2, 3} {
				t.Errorf("the answer has %v", p)
			}
		case <-time.After(time.Hour):
			t.Error("no answer")
		}
		x.Close()
		<-x.done
	})
}
