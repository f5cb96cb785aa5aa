package h2

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// TestAQuickHitAllocatesNothing, and all answers to a burst leave in one write.
func TestAQuickHitAllocatesNothing(t *testing.T) {
	c := &scripted{in: make(chan []byte), out: make(chan int, 100)}
	s := New(newHits(1000), Config{Pace: message.Pace{Grace: time.Minute, Rate: 1000}, IdleTimeout: time.Minute})
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(context.Background(), c, testInfo)
	}()
	c.in <- clientHello()
	<-c.out
	const n = 32
	x := newBursts()
	var all [][]byte
	for range 300 {
		all = append(all, x.make(n))
	}
	i := 0
	burst := func() {
		c.in <- all[i]
		if got := <-c.out; got < n*1000 {
			t.Fatalf("a write of %d bytes", got)
		}
		i++
	}
	for range 50 {
		burst()
	}
	if a := testing.AllocsPerRun(200, burst); a > 0 && !underRace { // the average is rounded down: what a collection takes out of pools does not count
		t.Errorf("%v allocations in a burst of %d", a, n)
	}
	close(c.in)
	<-done
}

func TestAQuickAnswerOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHits(100)
		h.keep = true
		x := serve(t, t.Context(), New(h, Config{}))
		x.request(1, "/", true)
		want(t, x.next(), func(r *response) bool {
			return r.status == "200" && r.get("content-length") == "100" && r.get("age") == "7" && r.get("content-type") == "text/plain" &&
				r.get("connection") == "" && !r.ended
		}, "the header section")
		want(t, x.next(), func(d *data) bool { return d.stream == 1 && d.ended && d.n == 100 }, "the content")
		x.ask("HEAD", 3, "/", true)
		want(t, x.next(), func(r *response) bool { return r.ended && r.get("content-length") == "100" }, "the answer to HEAD")
		x.request(5, "/slow", true)
		want(t, x.next(), func(r *response) bool { return r.stream == 5 && r.ended }, "Serve's answer")
		x.request(7, "/", false)
		want(t, x.next(), func(r *response) bool { return r.stream == 7 }, "an answer before the request's end")
		want(t, x.next(), func(d *data) bool { return d.stream == 7 && d.ended }, "all of it")
		want(t, x.next(), func(r *reset) bool { return r.stream == 7 && r.code == http2.ErrCodeNo }, "and that the rest is not needed")
		_ = x.fr.WriteData(7, false, make([]byte, 100))
		x.request(9, "/short", true)
		_ = x.next()
		want(t, x.next(), func(r *reset) bool { return r.stream == 9 && r.code == http2.ErrCodeInternal }, "a reset when content is missing")
		x.request(11, "/panic", true)
		want(t, x.next(), func(r *reset) bool { return r.stream == 11 && r.code == http2.ErrCodeInternal }, "a reset after a panic")
		x.Close()
		<-x.done
		want := []doneCall{{100, true, nil}, {0, true, nil}, {100, true, nil}, {0, false, nil}}
		if got := h.ends(); len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
			t.Errorf("the ends were %v, want %v", got, want)
		}
	})
}
