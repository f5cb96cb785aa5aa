package wan

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"nearcast/internal/lab/netns"
)

func TestDueTime(t *testing.T) {
	for _, c := range []struct {
		why                            string
		now, delay, spread, last, want int64
	}{
		{"a packet leaves a delay after it came", 100, 40, 0, 0, 140},
		{"jitter moves it", 100, 40, -5, 0, 135},
		{"jitter larger than the delay never sends it into the past", 100, 40, -50, 0, 100},
		{"it never overtakes the one ahead, such as after the delay was shortened", 100, 1, 0, 140, 140},
	} {
		if got := dueTime(c.now, c.delay, c.spread, c.last); got != c.want {
			t.Errorf("%s: got %d, want %d", c.why, got, c.want)
		}
	}
}

// pair returns two namespaces joined by a link: 10.99.0.1 in a, 10.99.0.2 in b.
func pair(t *testing.T, cfg Config) (a, b netns.Namespace, link *Link) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: network namespaces and TUN devices")
	}
	ctx := context.Background()
	var ns [2]netns.Namespace
	for i := range ns {
		ns[i] = netns.Namespace(fmt.Sprintf("nct-%d-wan%d", os.Getpid(), i))
		if err := ns[i].Create(ctx); err != nil {
			t.Skipf("needs network namespaces: %v", err)
		}
		t.Cleanup(func() {
			if err := ns[i].Delete(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	cfg.A, cfg.B = Endpoint{ns[0], "w0"}, Endpoint{ns[1], "w0"}
	link, err := Open(cfg)
	if err != nil {
		t.Skipf("needs TUN devices: %v", err)
	}
	t.Cleanup(func() {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range ns {
		if err := ns[i].IP(ctx, fmt.Sprintf("addr add 10.99.0.%d/30 dev w0", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return ns[0], ns[1], link
}

// echo answers UDP datagrams and serves what it is sent over TCP back, at port 7 of b.
func echo(t *testing.T, b netns.Namespace) {
	t.Helper()
	u, err := b.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(10, 99, 0, 2), Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { u.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(buf[:n], from)
		}
	}()
}

// roundTrip returns how long a datagram takes there and back, and an error when it does not come back within the deadline.
func roundTrip(t *testing.T, a netns.Namespace, deadline time.Duration) (time.Duration, error) {
	t.Helper()
	c, err := a.DialContext(t.Context(), "udp4", "10.99.0.2:7")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	if err := c.SetDeadline(start.Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 16))
	return time.Since(start), err
}

func TestDelayIsReal(t *testing.T) {
	const delay, generous = 30 * time.Millisecond, 2 * time.Second
	a, b, link := pair(t, Config{Delay: delay})
	echo(t, b)
	best := generous
	for range 5 {
		rtt, err := roundTrip(t, a, 2*delay+generous)
		if err != nil {
			t.Fatal(err)
		}
		if rtt < 2*delay {
			t.Errorf("round trip of %v is shorter than twice the delay of %v", rtt, delay)
		}
		best = min(best, rtt)
	}
	t.Logf("best round trip %v for %v configured", best, 2*delay)
	link.SetDelay(2 * delay)
	if rtt, err := roundTrip(t, a, 4*delay+generous); err != nil || rtt < 4*delay {
		t.Errorf("after the delay was doubled: %v, %v", rtt, err)
	}
	if ab, ba := link.Counters(); ab.Packets < 6 || ba.Packets < 6 || ab.Dropped+ba.Dropped > 0 {
		t.Errorf("counters: %+v %+v", ab, ba)
	}
}

func TestDropIsSilentAndHeals(t *testing.T) {
	a, b, link := pair(t, Config{})
	echo(t, b)
	if _, err := roundTrip(t, a, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	link.SetDrop(true)
	if _, err := roundTrip(t, a, 100*time.Millisecond); err == nil {
		t.Error("a packet crossed a black hole")
	}
	if ab, _ := link.Counters(); ab.Dropped == 0 {
		t.Error("the drop was not counted")
	}
	link.SetDrop(false)
	if _, err := roundTrip(t, a, 2*time.Second); err != nil {
		t.Errorf("after the black hole: %v", err)
	}
}

// A bulk transfer arrives whole: segmentation offload, wrap-around of the queue and loss do not corrupt or reorder a stream.
func TestBulkArrivesWhole(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  Config
		loss float64
	}{
		{"offload, a queue that wraps", Config{Delay: time.Millisecond, Queue: 1 << 20}, 0},
		{"no offload, loss", Config{NoOffload: true}, 0.002},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, link := pair(t, c.cfg)
			link.SetLoss(c.loss)
			l, err := b.Listen(t.Context(), "tcp4", "10.99.0.2:9")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			want := strings.Repeat("every byte in its place\n", 200_000)
			go func() {
				if c, err := l.Accept(); err == nil {
					_, _ = io.WriteString(c, want)
					c.Close()
				}
			}()
			conn, err := a.DialContext(t.Context(), "tcp4", "10.99.0.2:9")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != want {
				t.Errorf("got %d bytes, want %d: %v", len(got), len(want), err)
			}
		})
	}
}

func TestCloseRemovesTheDevicesAndMayBeRepeated(t *testing.T) {
	a, _, link := pair(t, Config{})
	for range 2 {
		if err := link.Close(); err != nil {
			t.Error(err)
		}
	}
	if out, err := a.Command(t.Context(), "", "ip", "-br", "link"); err != nil || strings.Contains(out, "w0") {
		t.Errorf("the device is still there: %q %v", out, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"nct-never-was", Config{A: Endpoint{"nct-never-was", "w0"}}},
		{"longer than", Config{A: Endpoint{"nct-never-was", "a-name-far-too-long"}}},
		{"queue", Config{Queue: 1000}},
	} {
		if _, err := Open(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not say %q", err, c.want)
		}
	}
}
