package h3

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
)

// calendar is a clock that a test sets.
type calendar struct{ days atomic.Int64 }

func (c *calendar) now() time.Time {
	return time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(c.days.Load()) * keys.Length)
}

// turn sets the clock so many days on, and has the server look at it.
func (c *calendar) turn(s *Server, days int64) {
	c.days.Add(days)
	s.keepTo(c.now())
}

// ages are those of the generations of each socket, in days, the current one first.
func (c *calendar) ages(s *Server) (all []string) {
	for _, sock := range s.sockets {
		var of []int
		for _, g := range *sock.generations.Load() {
			of = append(of, int(keys.At(c.now()))-int(g.epoch))
		}
		all = append(all, fmt.Sprint(of))
	}
	return all
}

// TestAConnectionOutlivesItsEpoch, with requests all the time, while others come and go in the new ones.
func TestAConnectionOutlivesItsEpoch(t *testing.T) {
	var c calendar
	r := startOn(t, portOf(t, 3), ok, Config{now: c.now})
	old := r.client(t)
	get := func(client http.RoundTripper) error {
		req, _ := http.NewRequestWithContext(patient(t), "GET", "https://"+r.addr()+"/", nil)
		resp, err := client.RoundTrip(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return err
	}
	if err := get(old); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var asked atomic.Int64
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := get(old); err != nil {
					t.Error(err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for day := int64(1); day <= 3; day++ {
		c.turn(r.Server, 1)
		for from := asked.Load(); asked.Load() < from+50 && !t.Failed(); time.Sleep(time.Millisecond) {
		}
		if err := get(r.client(t)); err != nil { // a new one
			t.Error(err)
		}
		if n := r.counts.accepted.Load(); n != 1+day {
			t.Errorf("day %d: %d connections", day, n)
		}
	}
	close(stop)
	asking.Wait()
	if got := c.ages(r.Server); fmt.Sprint(got) != "[[0 1 2 3] [0 1 2 3] [0 1 2 3]]" {
		t.Errorf("generations of %v days", got)
	}
	epochs := map[int]int{}
	r.each(func(conn *conn) {
		epochs[int(keys.At(c.now()))-int(conn.qc.Context().Value(admissionKey{}).(*admission).to.epoch)]++
	})
	if epochs[3] != 1 || epochs[0] != 1 {
		t.Errorf("connections by the age of their generation: %v", epochs)
	}
	if n := r.Server.counts.full.Get(); n > 0 {
		t.Errorf("%d datagrams were dropped", n)
	}
}

// meddler is a client's socket that does something when the server's first datagram has come.
type meddler struct {
	net.PacketConn
	once sync.Once
	do   func()
}

func (m *meddler) ReadFrom(p []byte) (int, net.Addr, error) {
	n, a, err := m.PacketConn.ReadFrom(p)
	m.once.Do(m.do)
	return n, a, err
}

// dialThrough connects, and calls do between the server's first answer and what the client says to it.
func (r *running) dialThrough(t *testing.T, do func(), cfg *quic.Config) *quic.Conn {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: &meddler{PacketConn: udp, do: do}}
	t.Cleanup(func() { tr.Close(); udp.Close() })
	qc, err := tr.Dial(patient(t), r.udp().LocalAddr(), &tls.Config{InsecureSkipVerify: true, ServerName: "example.test", NextProtos: []string{"h3"}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return qc
}

// TestHandshakesOutliveTheirEpoch, answered or asked for a Retry before its end.
func TestHandshakesOutliveTheirEpoch(t *testing.T) {
	for _, load := range []int{0, retryAbove} {
		var c calendar
		r := start(t, ok, Config{now: c.now})
		press(r.Server, load)
		qc := r.dialThrough(t, func() { c.turn(r.Server, 1) }, nil)
		if _, err := ask(t, qc, request("GET")); err != nil {
			t.Errorf("with %d in progress: %v", load, err)
		}
		press(r.Server, -load)
		age := -1
		r.each(func(conn *conn) {
			age = int(keys.At(c.now())) - int(conn.qc.Context().Value(admissionKey{}).(*admission).to.epoch)
		})
		if age != 1 {
			t.Errorf("with %d in progress: the connection is in a generation that is %d days old, want 1", load, age)
		}
	}
}

// TestATokenOfYesterdayIsNoHindrance: it proves nothing any more, and its client gets in as one without.
func TestATokenOfYesterdayIsNoHindrance(t *testing.T) {
	var c calendar
	r := start(t, ok, Config{now: c.now})
	cfg := &quic.Config{TokenStore: quic.NewLRUTokenStore(1, 4)}
	first := r.dialThrough(t, func() {}, cfg)
	if _, err := ask(t, first, request("GET")); err != nil {
		t.Fatal(err)
	}
	c.turn(r.Server, 1)
	press(r.Server, retryAbove)
	defer press(r.Server, -retryAbove)
	if _, err := ask(t, r.dialThrough(t, func() {}, cfg), request("GET")); err != nil {
		t.Error(err)
	}
}

// TestResetsOfYesterday: what comes late for a connection of an older generation is answered with the token that its client was told, and for
// one that is older still with nothing that a client would know.
func TestResetsOfYesterday(t *testing.T) {
	var c calendar
	fleet := testFleet(t, "a")
	fleet.Rescue.Self.Number = 9
	r := startOn(t, portOf(t, 2), ok, Config{now: c.now, Fleet: fleet})
	epoch := keys.At(c.now())
	place := cid.Place{Edge: 9, Instance: 7, Worker: 1, Generation: uint16(epoch)}
	id := r.codec.Encode(place, 12345)
	key := fleet.Keys().First().Key(keys.Reset, epoch, "")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(id[:])
	want := mac.Sum(nil)[:16]
	out, err := net.DialUDP("udp", nil, r.udp().LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	buf := make([]byte, 2000)
	for day := range 6 {
		if day > 0 {
			c.turn(r.Server, 1)
		}
		if _, err := out.Write(shortTo(id[:])); err != nil {
			t.Fatal(err)
		}
		_ = out.SetReadDeadline(time.Now().Add(patience))
		n, err := out.Read(buf)
		if err != nil || n < 21 || !bytes.Equal(buf[n-16:n], want) {
			t.Errorf("%d days later: % x, %v; want a reset with the token % x", day, buf[:n], err, want)
		}
	}
}

// TestTheOldAreToldToLeave before nobody can tell any more where their packets belong, and their generation ends.
func TestTheOldAreToldToLeave(t *testing.T) {
	var c calendar
	r := startOn(t, portOf(t, 2), ok, Config{now: c.now})
	polite, rude := r.dial(t), r.dial(t)
	both := func() (n int) {
		r.each(func(c *conn) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.open {
				n++
			}
		})
		return n
	}
	eventually(t, "both are served", func() bool { return both() == 2 })
	str, err := rude.OpenStreamSync(patient(t)) // a request that never ends
	if err != nil {
		t.Fatal(err)
	}
	_, _ = str.Write(request("POST"))
	for range cid.EpochsRead - 1 {
		c.turn(r.Server, 1)
	}
	if n := both(); n != 2 {
		t.Fatalf("%d connections", n)
	}
	c.turn(r.Server, 1)
	closed := func(qc *quic.Conn) {
		t.Helper()
		select {
		case <-qc.Context().Done():
		case <-time.After(patience):
			t.Fatal("still open")
		}
		var app *quic.ApplicationError
		if err := context.Cause(qc.Context()); !errors.As(err, &app) || app.ErrorCode != codeNoError {
			t.Errorf("closed with %v, want H3_NO_ERROR", err)
		}
	}
	closed(polite)
	c.turn(r.Server, 1)
	closed(rude)
	if got := c.ages(r.Server); fmt.Sprint(got) != "[[0 1 2 3 4 5] [0 1 2 3 4 5]]" {
		t.Errorf("generations of %v days", got)
	}
	c.turn(r.Server, 100) // the clock was set
	if got := c.ages(r.Server); fmt.Sprint(got) != "[[0] [0]]" {
		t.Errorf("generations of %v days", got)
	}
	if _, err := r.get(t); err != nil {
		t.Error(err)
	}
}

// TestNobodyNeedsToComeForADayToEnd: the old generation stops reading a socket on which nothing arrives.
func TestNobodyNeedsToComeForADayToEnd(t *testing.T) {
	var c calendar
	r := startOn(t, portOf(t, 2), ok, Config{now: c.now})
	over := make(chan struct{})
	go func() {
		c.turn(r.Server, 1)
		c.turn(r.Server, 100)
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(patience):
		t.Fatal("a generation that is too old does not end")
	}
}

// TestTheClockIsSetBack: the generation of that epoch goes on, with what it has.
func TestTheClockIsSetBack(t *testing.T) {
	var c calendar
	r := start(t, ok, Config{now: c.now})
	qc := r.dial(t)
	for _, days := range []int64{1, -1, 2, -1} {
		c.turn(r.Server, days)
		if _, err := ask(t, qc, request("GET")); err != nil {
			t.Errorf("%d: %v", days, err)
		}
		if _, err := r.get(t); err != nil {
			t.Errorf("%d, another client: %v", days, err)
		}
	}
	if got := c.ages(r.Server); fmt.Sprint(got) != "[[0 -1 1]]" {
		t.Errorf("generations of %v days", got)
	}
}

// TestTheClockIsSetFarBack: nobody reads the connection IDs of the connections that there are any more, so their clients are told at once, and need not
// wait until they time out.
func TestTheClockIsSetFarBack(t *testing.T) {
	for _, days := range []int64{-2, -cid.EpochsRead, -100} {
		var c calendar
		r := startOn(t, portOf(t, 2), ok, Config{now: c.now})
		qc := r.dial(t)
		if _, err := ask(t, qc, request("GET")); err != nil {
			t.Fatal(err)
		}
		c.turn(r.Server, days)
		select {
		case <-qc.Context().Done():
		case <-time.After(patience):
			t.Errorf("%d days: still open", days)
		}
		if got := c.ages(r.Server); fmt.Sprint(got) != "[[0] [0]]" {
			t.Errorf("%d days: generations of %v days", days, got)
		}
		if _, err := r.get(t); err != nil {
			t.Errorf("%d days: %v", days, err)
		}
	}
}

// TestDrainSpansGenerations: Drain and CloseIdle reach the connections of all, and Serve waits for them.
func TestDrainSpansGenerations(t *testing.T) {
	var c calendar
	r := startOn(t, portOf(t, 2), ok, Config{now: c.now})
	var clients []*quic.Conn
	for range 3 {
		clients = append(clients, r.dial(t))
		c.turn(r.Server, 1)
	}
	eventually(t, "all are served", func() bool {
		n := 0
		r.each(func(*conn) { n++ })
		return n == 3
	})
	r.StopAccepting()
	c.turn(r.Server, 1)
	if got := c.ages(r.Server); fmt.Sprint(got) != "[[1 2 3 4] [1 2 3 4]]" {
		t.Errorf("generations of %v days: one was opened that nobody closes", got)
	}
	r.CloseIdle()
	for _, qc := range clients {
		select {
		case <-qc.Context().Done():
		case <-time.After(patience):
			t.Fatal("still open")
		}
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
		r.ended <- err
	case <-time.After(patience):
		t.Fatal("Serve did not return after the last connection")
	}
}
