package h2

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

// stalled is a handler that leaves a body unread until release is closed, but for that of /read.
func stalled(release chan struct{}, got chan error) handlerFunc {
	return func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
		if r.Target.Path == "/read" {
			_, err := io.Copy(io.Discard, r.Body)
			got <- err
		} else {
			<-release
		}
		ok(ctx, w, r)
	}
}

// upload sends n bytes on a stream.
func (x *session) upload(stream uint32, n int, end bool) {
	for ; n > maxFrame; n -= maxFrame {
		_ = x.fr.WriteData(stream, false, make([]byte, maxFrame))
	}
	_ = x.fr.WriteData(stream, end, make([]byte, n))
	synctest.Wait()
}

// window is what has been given back to the connection's window.
func (x *session) window() (n int) {
	for len(x.frames) > 0 {
		if u, is := x.next().(*update); is && u.stream == 0 {
			n += int(u.n)
		}
	}
	return n
}

// TestWhatIsLeftOfTheConnectionsWindowGoesRound, however little it is: the other uploads must not wait for those that nobody reads.
func TestWhatIsLeftOfTheConnectionsWindowGoesRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, got := make(chan struct{}), make(chan error, 1)
		x := serve(t, t.Context(), New(stalled(release, got), Config{}))
		x.updates = true
		for id := uint32(1); id <= 5; id += 2 {
			x.ask("POST", id, "/", false)
			x.upload(id, streamWindow, false)
		}
		x.ask("POST", 7, "/", false)
		x.upload(7, 100_000, false)
		left := connWindow - 3*streamWindow - 100_000
		x.window()
		x.ask("POST", 9, "/read", false)
		for range 3 {
			x.upload(9, left, false)
			n := x.window()
			if n < left/2 {
				t.Errorf("%d of %d were given back", n, left)
				break
			}
			left = n
		}
		close(release)
		x.Close()
		<-x.done
	})
}

// TestAnUploadThatOthersKeepWaiting is not slow: it is we who do not let the client send.
func TestAnUploadThatOthersKeepWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, got := make(chan struct{}), make(chan error, 1)
		x := serve(t, t.Context(), New(stalled(release, got), Config{Pace: message.Pace{Grace: time.Minute, Rate: 1 << 10}}))
		x.ask("POST", 9, "/read", false)
		for id := uint32(11); id <= 17; id += 2 {
			x.ask("POST", id, "/", false)
			x.upload(id, streamWindow, false)
		}
		time.Sleep(10 * time.Minute)
		if len(got) > 0 {
			t.Errorf("it ended with %v", <-got)
			got <- nil
		}
		close(release)
		synctest.Wait()
		time.Sleep(50 * time.Second) // it has its whole time again
		x.upload(9, 10, true)
		if err := <-got; err != nil {
			t.Error(err)
		}
		x.ask("POST", 19, "/read", false)
		time.Sleep(time.Hour)
		if err := <-got; err != errSlowBody {
			t.Errorf("one that is slow by itself ended with %v", err)
		}
		x.Close()
		<-x.done
	})
}

// TestABodyThatNobodyReads holds no window: the answer is there already.
func TestABodyThatNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHits(1000)
		x := serve(t, t.Context(), New(h, Config{}))
		x.updates = true
		x.raw(frameSettings, 0, 0, "\x00\x04\x00\x00\x00\x00") // streams' windows are shut
		x.window()
		given := 0
		for id := uint32(1); id <= 9; id += 2 {
			x.request(id, "/", false)
			x.upload(id, streamWindow, false)
			given += x.window()
		}
		if given != 5*streamWindow {
			t.Errorf("%d of %d were given back", given, 5*streamWindow)
		}
		x.Close()
		<-x.done
	})
}
