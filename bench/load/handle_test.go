package load

import (
	"encoding/binary"
	"testing"
	"time"
)

// FuzzH2Connection gives a connection with requests in flight whatever a server may send. Nothing may panic, no stream may be in two places
// or nowhere, and what is put off must stay in bounds.
func FuzzH2Connection(f *testing.F) {
	answer := append(appendFrameHeader(nil, 1, frameHeaders, flagEndHeaders, 1), 0x88)
	f.Add(append(answer, append(appendFrameHeader(nil, 2, frameData, flagEndStream, 1), "hi"...)...), true)
	f.Add(append(appendFrameHeader(nil, 8, frameGoAway, 0, 0), 0, 0, 0, 1, 0, 0, 0, 0), false)
	f.Add(append(appendFrameHeader(nil, 6, frameSettings, 0, 0), 0, settingInitialWindow, 0, 0, 0, 0), true)
	f.Add(appendWordFrame(appendWordFrame(nil, frameWindowUpdate, 3, 1000), frameRSTStream, 5, 8), true)
	f.Add(append(append(appendFrameHeader(nil, 1, frameHeaders, 0, 1), 0x88), appendFrameHeader(nil, 0, frameContinuation, flagEndHeaders, 1)...), false)
	f.Fuzz(func(t *testing.T, b []byte, body bool) {
		o := Options{URL: "http://h/x", Protocol: HTTP2, Streams: 4}
		if body {
			o.Method, o.BodySize = "POST", 70_000
		}
		r := &run{plan: plans(t, o), book: newBook(), epoch: time.Now()}
		r.Requests = 1 << 40
		r.phase.Store(measuring)
		w := newH2(r, 1)
		w.up, w.id, w.max, w.statuses, w.settled, w.flow = true, 1, 4, newStatuses(), true, newH2Flow()
		w.fill(0)
		for len(b) > 0 {
			got, used, ok, err := w.frames.next(b)
			b = b[used:]
			if err != nil || !ok {
				break
			}
			if w.handle(got, time.Second) != nil {
				break
			}
			w.fill(time.Second)
			w.sendBodies()
			if len(w.index)+len(w.free) != len(w.slots) || len(w.again) > len(w.slots) || len(w.flow.sending) > len(w.slots) {
				t.Fatalf("%d open and %d free of %d slots, %d again, %d sending", len(w.index), len(w.free), len(w.slots), len(w.again), len(w.flow.sending))
			}
			if w.flow.window < 0 {
				t.Fatal("more was sent than the connection's window allows")
			}
			checkFrames(t, w.out)
			w.out = w.out[:0]
		}
		w.lose(errTimeout)
		if len(w.index) != 0 || len(w.free) != len(w.slots) {
			t.Fatal("streams are left on a connection that is lost")
		}
	})
}

// checkFrames checks that b is a sequence of whole frames.
func checkFrames(t *testing.T, b []byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < frameHeader {
			t.Fatalf("%x is no frame", b)
		}
		n := int(binary.BigEndian.Uint32(b) >> 8)
		if n > maxFrame || len(b) < frameHeader+n {
			t.Fatalf("a frame of %d bytes in %d", n, len(b))
		}
		b = b[frameHeader+n:]
	}
}
