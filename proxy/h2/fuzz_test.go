package h2

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// replay is a connection that reads given bytes, in pieces, and then the end. What is written is kept.
type replay struct {
	net.Conn
	in    []byte
	piece int
	out   bytes.Buffer // one writes at a time
}

func (c *replay) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(len(c.in), c.piece)])
	c.in = c.in[n:]
	return n, nil
}
func (c *replay) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *replay) Close() error                     { return nil }
func (c *replay) SetReadDeadline(time.Time) error  { return nil }
func (c *replay) SetWriteDeadline(time.Time) error { return nil }

// FuzzFrames feeds bytes to a connection: it neither panics nor hangs, what it sends is well formed, every ready answer is given back once,
// and no stream is left.
func FuzzFrames(f *testing.F) {
	frame := func(kind, flags byte, stream uint32, payload string) []byte {
		return append(appendHeader(nil, len(payload), kind, flags, stream), payload...)
	}
	settings := frame(frameSettings, 0, 0, "\x00\x04\x00\x00\x10\x00\x00\x01\x00\x00\x00\x00")
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{settings}, parts...), nil) }
	f.Add(join(frame(frameHeaders, 5, 1, minimal), frame(framePing, 0, 0, "12345678")), uint16(1000))
	f.Add(join(frame(frameHeaders, 4, 1, minimal), frame(frameData, 9, 1, "\x01ab"), frame(frameRSTStream, 0, 1, "\x00\x00\x00\x08")), uint16(3))
	f.Add(join(frame(frameHeaders, 4, 1, "\x82\x86\x04\x05/slow\x41\x01a"), frame(frameData, 0, 1, "abc"), frame(frameHeaders, 5, 1, "\x00\x01a\x01b")), uint16(9))
	f.Add(join(frame(frameHeaders, 0, 1, "\x82\x86"), frame(frameContinuation, 4, 1, "\x84\x41\x01a"), frame(frameWindowUpdate, 0, 1, "\x00\x00\x00\x01")), uint16(40))
	f.Add(join(frame(frameHeaders, 5, 1, minimal), frame(framePriorityUpdate, 0, 0, "\x00\x00\x00\x01u=0, i"), frame(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00"),
		frame(frameHeaders, 37, 3, "\x00\x00\x00\x01\x10"+minimal), frame(frameWindowUpdate, 0, 0, "\x00\x10\x00\x00")), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, piece uint16) {
		h := newHits(10_000)
		h.keep = true
		h.handlerFunc = echo
		asked := 0
		c := &replay{in: append([]byte(preface), in...), piece: int(piece) + 1}
		s := New(&counting{hits: h, asked: &asked}, Config{MaxHeader: 2000, MaxStreams: 5, Pace: message.Pace{Grace: time.Minute}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.ServeConn(context.Background(), c, testInfo)
		}()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("it hangs")
		}
		if len(h.ends()) != asked {
			t.Fatalf("%d ready answers, %d given back", asked, len(h.ends()))
		}
		fr := http2.NewFramer(io.Discard, &c.out)
		for {
			if _, err := fr.ReadFrame(); err != nil {
				if err != io.EOF {
					t.Fatalf("what was sent: %v", err)
				}
				return
			}
		}
	})
}

// counting counts the ready answers.
type counting struct {
	*hits
	asked *int
}

func (c *counting) Quick(r *message.Request) *message.Ready {
	a := c.hits.Quick(r)
	if a != nil {
		*c.asked++
	}
	return a
}
