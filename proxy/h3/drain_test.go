package h3

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// TestDrainKeepsItsWord: under load, every request below the number of the last GOAWAY is answered, and no other.
func TestDrainKeepsItsWord(t *testing.T) {
	r := start(t, newHit(3000), Config{})
	qc := r.dial(t)
	var mu sync.Mutex
	answered := map[quic.StreamID]error{}
	var told atomic.Bool
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for more := 20; more > 0; {
				if told.Load() {
					more--
				}
				str, err := qc.OpenStreamSync(patient(t))
				if err != nil {
					return // the connection has ended
				}
				_, _ = str.Write(request("GET"))
				_ = str.Close()
				_, err = io.ReadAll(str)
				mu.Lock()
				answered[str.StreamID()] = err
				mu.Unlock()
			}
		})
	}
	eventually(t, "requests are served", func() bool { mu.Lock(); defer mu.Unlock(); return len(answered) > 20 })
	r.Drain()
	last := lastGoAway(t, qc, func() { told.Store(true) })
	work.Wait()
	for id, err := range answered {
		if (int64(id) < last) != (err == nil) {
			t.Errorf("request %d, GOAWAY %d: %v", id, last, err)
		}
	}
	if int64(len(answered))*4 <= last {
		t.Error("no request came too late: nothing was tested")
	}
}

// lastGoAway reads the server's control stream to its end. told is called when a GOAWAY excludes requests.
func lastGoAway(t *testing.T, qc *quic.Conn, told func()) int64 {
	t.Helper()
	str, err := qc.AcceptUniStream(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = str.SetReadDeadline(time.Now().Add(patience))
	rd := reader{in: str, buf: make([]byte, 128)}
	if err := rd.more(1); err != nil {
		t.Fatal(err)
	}
	rd.r++ // the type
	last := int64(-1)
	for {
		typ, n, err := rd.next()
		if err != nil {
			return last
		}
		p, err := rd.payload(int(n))
		if err != nil {
			return last
		}
		if typ == frameGoAway {
			v, _ := varint(p)
			if last = int64(v); last < maxRequestID {
				told()
			}
		}
	}
}
