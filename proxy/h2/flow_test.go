package h2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// takes collects DATA as long as it comes without anything happening.
func (x *session) takes() (n map[uint32]int, order []uint32, ended []uint32) {
	synctest.Wait()
	n = map[uint32]int{}
	for {
		select {
		case f := <-x.frames:
			switch f := f.(type) {
			case *data:
				n[f.stream] += f.n
				if len(order) == 0 || order[len(order)-1] != f.stream {
					order = append(order, f.stream)
				}
				if f.ended {
					ended = append(ended, f.stream)
				}
			case *reset:
				x.t.Errorf("a reset of stream %d: %v", f.stream, f.code)
			}
			continue
		default:
		}
		return n, order, ended
	}
}

func equal(a, b []uint32) bool { return bytes.Equal(bytesOf(a), bytesOf(b)) }

func bytesOf(a []uint32) (b []byte) {
	for _, x := range a {
		b = append(b, byte(x))
	}
	return b
}

// TestWindowsAreHonoured: for an answer from memory and one from a handler alike.
func TestWindowsAreHonoured(t *testing.T) {
	const size = 100_000
	for _, path := range []string{"/", "/slow"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHits(size)
				h.handlerFunc = func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
					_ = w.WriteHeader(200, nil, size)
					for i := 0; i < size; i += 1000 {
						if _, err := w.Write(h.body[i : i+1000]); err != nil {
							t.Errorf("after %d bytes: %v", i, err)
						}
					}
				}
				h.keep = true
				x := serve(t, t.Context(), New(h, Config{}))
				x.request(1, path, true)
				expect := func(want int, end bool, why string) {
					t.Helper()
					n, _, ended := x.takes()
					if n[1] != want || (len(ended) > 0) != end {
						t.Errorf("%s: %d bytes, ended %t; want %d, %t", why, n[1], len(ended) > 0, want, end)
					}
				}
				expect(65535, false, "the first windows")
				_ = x.fr.WriteWindowUpdate(1, 20_000)
				expect(0, false, "the connection's is still shut")
				_ = x.fr.WriteWindowUpdate(0, 10_000)
				expect(10_000, false, "the connection's")
				_ = x.fr.WriteWindowUpdate(0, 100_000)
				expect(10_000, false, "the stream's")
				_ = x.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 60_000})
				expect(0, false, "a negative one")
				_ = x.fr.WriteWindowUpdate(1, 5_536)
				expect(1, false, "one byte above nothing")
				_ = x.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_535})
				expect(5_535, false, "a larger first window")
				_ = x.fr.WriteWindowUpdate(1, 100_000)
				expect(size-65535-20_000-1-5_535, true, "the rest")
				x.Close()
				<-x.done
				if path == "/" && (len(h.ends()) != 1 || h.ends()[0] != doneCall{size, true, nil}) {
					t.Errorf("ended %v", h.ends())
				}
			})
		})
	}
}

// TestPriorities: who is more urgent comes first, those that can use their content by the piece share, others come one after the other.
func TestPriorities(t *testing.T) {
	pri := func(v string) []string { return []string{"priority", v} }
	for why, tt := range map[string]struct {
		more   [][]string // of streams 1, 3, 5
		update func(x *session)
		order  []uint32
	}{
		"nobody says anything":  {[][]string{nil, nil, nil}, nil, []uint32{1, 3, 5, 1, 3, 5}},
		"urgency":               {[][]string{pri("u=5"), pri("u=1"), pri("u=3")}, nil, []uint32{3, 5, 1}},
		"incremental":           {[][]string{pri("u=2, i"), pri("u=2, i"), pri("u=4")}, nil, []uint32{1, 3, 1, 3, 5}},
		"one after the other":   {[][]string{pri("u=3"), pri(""), pri("u=0;x=1, i=?0")}, nil, []uint32{5, 1, 3}},
		"PRIORITY_UPDATE":       {[][]string{pri("u=1"), pri("u=2"), pri("u=3")}, func(x *session) { x.raw(framePriorityUpdate, 0, 0, "\x00\x00\x00\x05u=0") }, []uint32{5, 1, 3}},
		"an early one":          {[][]string{pri("u=1"), pri("u=2"), pri("u=3")}, nil, []uint32{5, 1, 3}},
		"what it does not know": {[][]string{pri("u=9, i"), pri("x=1, u=2"), pri("u=-1, i=?2, u")}, nil, []uint32{3, 1, 5, 1}},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := serve(t, t.Context(), New(newHits(30_000), Config{}))
				x.raw(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00")
				_ = x.fr.WriteWindowUpdate(0, 1<<20)
				if why == "an early one" {
					x.raw(frameHeaders, 5, 0x1, minimal) // 1 begins without a priority
					x.raw(frameRSTStream, 0, 1, "\x00\x00\x00\x08")
				}
				ids := []uint32{1, 3, 5}
				for i, id := range ids {
					if why == "an early one" {
						id += 2
						if i == 2 {
							x.raw(framePriorityUpdate, 0, 0, "\x00\x00\x00\x07u=0")
						}
					}
					x.request(id, "/", true, tt.more[i]...)
				}
				if tt.update != nil {
					tt.update(x)
				}
				x.takes()
				x.raw(frameSettings, 0, 0, "\x00\x04\x00\x10\x00\x00")
				_, order, ended := x.takes()
				if why == "an early one" {
					for i := range order {
						order[i] -= 2
					}
				}
				if !equal(order, tt.order) || len(ended) != 3 {
					t.Errorf("in the order %v, want %v; ended %v", order, tt.order, ended)
				}
				x.Close()
				<-x.done
			})
		})
	}
}

// TestUploads: what the handler does not read the client may not send, and what it reads is given back.
func TestUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := make(chan int)
		got := make(chan error, 1)
		total := 0
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			for n := range read {
				m, err := io.ReadFull(r.Body, make([]byte, n))
				total += m
				got <- err
			}
			f := r.Trailers()
			_ = w.WriteHeader(200, message.Fields{{Name: "x-trailer", Value: f.Get("x-sum")}}, 0)
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.updates = true
		x.request(1, "/", false)
		piece := make([]byte, maxFrame)
		for range streamWindow / maxFrame {
			_ = x.fr.WriteData(1, false, piece)
		}
		synctest.Wait()
		if len(x.frames) > 0 {
			t.Errorf("something came: %+v", x.next())
		}
		read <- streamWindow / 4
		<-got
		want(t, x.next(), func(u *update) bool { return u.stream == 1 && u.n == streamWindow/4 }, "the stream's window back")
		read <- streamWindow * 3 / 4
		<-got
		want(t, x.next(), func(u *update) bool { return u.stream == 0 && u.n == connWindow/4 }, "the connection's window back")
		want(t, x.next(), func(u *update) bool { return u.stream == 1 && u.n == streamWindow*3/4 }, "the rest of the stream's")
		_ = x.fr.WriteData(1, false, []byte("abc"))
		x.block.Reset()
		_ = x.enc.WriteField(hf("x-sum", "17"))
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: x.block.Bytes(), EndHeaders: true, EndStream: true})
		read <- 10
		if err := <-got; err != io.ErrUnexpectedEOF || total != streamWindow+3 {
			t.Errorf("%v after %d bytes", err, total)
		}
		close(read)
		want(t, x.next(), func(r *response) bool { return r.status == "200" && r.get("x-trailer") == "17" }, "the response")
		x.Close()
		<-x.done
	})
}

// TestTheClientsSide of flow control.
func TestTheClientsSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, counted := fourStreams(t)
		for range streamWindow/maxFrame + 1 {
			_ = x.fr.WriteData(1, false, make([]byte, maxFrame))
		}
		want(t, x.next(), func(r *reset) bool { return r.stream == 1 && r.code == http2.ErrCodeFlowControl }, "a reset of the stream")
		x.Close()
		<-x.done
		if len(*counted) != 1 {
			t.Errorf("counted %v", *counted)
		}
	})
	synctest.Test(t, func(t *testing.T) { // the connection's, with bodies that nobody reads
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, _ *message.Request) { <-ctx.Done() })
		x := serve(t, t.Context(), New(h, Config{}))
		for id := uint32(1); id <= 9; id += 2 {
			x.request(id, "/", false)
		}
		for id := uint32(1); id <= 7; id += 2 {
			for range streamWindow / maxFrame {
				_ = x.fr.WriteData(id, false, make([]byte, maxFrame))
			}
		}
		_ = x.fr.WriteData(9, false, []byte("x"))
		want(t, x.next(), func(g *goAway) bool { return g.code == http2.ErrCodeFlowControl }, "GOAWAY")
		<-x.done
	})
}

// TestAResetGivesTheWindowBack, or a connection would come to a halt after some uploads that nobody wanted.
func TestAResetGivesTheWindowBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
			if r.Target.Path == "/early" {
				ok(ctx, w, r)
				return
			}
			<-ctx.Done()
		})
		x := serve(t, t.Context(), New(h, Config{}))
		x.updates = true
		given := 0
		for id := uint32(1); id < 20; id += 2 {
			path := "/"
			if id%4 == 1 {
				path = "/early"
			}
			x.request(id, path, false)
			for range streamWindow / maxFrame {
				_ = x.fr.WriteData(id, false, make([]byte, maxFrame))
			}
			_ = x.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			synctest.Wait()
			for len(x.frames) > 0 {
				switch f := x.next().(type) {
				case *update:
					given += int(f.n)
				case *goAway:
					t.Fatalf("GOAWAY %v", f.code)
				}
			}
		}
		if given < 10*streamWindow-connWindow/4 {
			t.Errorf("%d of %d bytes were given back", given, 10*streamWindow)
		}
		x.Close()
		<-x.done
	})
}

func TestContentAgreesWithItsLength(t *testing.T) {
	for why, tt := range map[string]struct {
		sent int
		end  bool
	}{"too much": {11, false}, "too little": {9, true}} {
		synctest.Test(t, func(t *testing.T) {
			failed := make(chan error, 1)
			h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
				_, err := io.ReadAll(r.Body)
				failed <- err
			})
			x := serve(t, t.Context(), New(h, Config{}))
			x.ask("POST", 1, "/", false, "content-length", "10")
			_ = x.fr.WriteData(1, tt.end, make([]byte, tt.sent))
			want(t, x.next(), func(r *reset) bool { return r.code == http2.ErrCodeProtocol }, "a reset when it is "+why)
			var e *message.Error
			if err := <-failed; !errors.As(err, &e) || e.Blame != message.BlameClient {
				t.Errorf("the handler got %v", err)
			}
			x.Close()
			<-x.done
		})
	}
}
