package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"nearcast/internal/lab/process"
	"nearcast/internal/lab/quicload"
	"nearcast/internal/lab/survival"
)

const (
	cpuTime   = 8 * time.Second // of each half, with the packets at home and sent on
	cpuRate   = 2 << 20         // octets a second, so that the machine is busy with little else and waits for nothing
	cpuPacket = 1200            // octets of a datagram
	cpuTick   = 10 * time.Millisecond
)

// cpuClient is the one that the event has, built here: its datagrams are all of one size.
const cpuClient = "quic-go"

// measureCPU uploads at an even rate, first to the edge that the client's packets reach by themselves, then through another: what both edges have
// computed more is the price of sending on.
func measureCPU(ctx context.Context, r *quicRun, _ []quicload.Client) []survival.Run {
	run := survival.Run{Event: "cpu", Client: cpuClient}
	run.Sample, run.Err = r.computed(ctx)
	return []survival.Run{run}
}

// half is what the edges have done in one half of the measurement.
type half struct{ owner, other, forwarded float64 }

func (r *quicRun) computed(ctx context.Context) (survival.Sample, error) {
	up, err := r.upload(ctx)
	if err != nil {
		return nil, err
	}
	defer up.close()
	var halves [2]half
	for i := range halves {
		if i == 1 {
			if err := r.lab.Lead(quicRegion, away, r.service); err != nil {
				return nil, err
			}
		}
		if err := pause(ctx, time.Second); err != nil { // until it is even
			return nil, err
		}
		before, err := r.worked(ctx)
		if err != nil {
			return nil, err
		}
		if err := pause(ctx, cpuTime); err != nil {
			return nil, err
		}
		now, err := r.worked(ctx)
		if err != nil {
			return nil, err
		}
		halves[i] = half{now.owner - before.owner, now.other - before.other, now.forwarded - before.forwarded}
	}
	sample := priceOf(halves[0], halves[1])
	if err := up.close(); err != nil {
		return sample, err
	}
	sample[survival.Network], err = r.plainPrice(ctx)
	return sample, err
}

// plainPrice is how many microseconds it takes to do nothing but send a datagram of the tunnel's size from the other edge's namespace to the owner's, as often as
// in the measurement. Here a sender's system call walks the packet through the router's namespace too, which no edge on a machine of its own does.
func (r *quicRun) plainPrice(ctx context.Context) (float64, error) {
	const overhead = 64 // octets of the tunnel's own
	from, err := site(edgeName(away))
	if err != nil {
		return 0, err
	}
	to, err := site(edgeName(quicRegion))
	if err != nil {
		return 0, err
	}
	_, _, to4, _ := to.addresses()
	socket, err := Namespace(Edge, from.Name()).ListenUDP("udp4", nil)
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	datagram, sent := make([]byte, cpuPacket+overhead), 0
	discard := netip.AddrPortFrom(to4, 9)
	var spent float64
	for begun := time.Now(); time.Since(begun) < cpuTime/4; {
		before, err := ranFor("/proc/thread-self/schedstat")
		if err != nil {
			return 0, err
		}
		for range int(float64(cpuRate) / cpuPacket * cpuTick.Seconds()) {
			if _, err := socket.WriteToUDPAddrPort(datagram, discard); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				return 0, err
			}
			sent++
		}
		now, err := ranFor("/proc/thread-self/schedstat")
		if err != nil {
			return 0, err
		}
		spent += now - before
		if err := pause(ctx, cpuTick); err != nil {
			return 0, err
		}
	}
	return spent / float64(sent), nil
}

// priceOf is the sample of two halves.
func priceOf(home, led half) survival.Sample {
	n := led.forwarded
	if n == 0 {
		return survival.Sample{survival.Datagrams: 0}
	}
	return survival.Sample{survival.Datagrams: n,
		survival.Sender: max(0, led.other-home.other) / n, survival.Owner: max(0, led.owner-home.owner) / n}
}

// worked is how many microseconds the owner's process and the other edge's have computed so far, and what the other has sent on.
func (r *quicRun) worked(ctx context.Context) (h half, err error) {
	for edge, sum := range map[string]*float64{edgeName(quicRegion): &h.owner, edgeName(away): &h.other} {
		id, err := r.lab.EdgeProcess(edge)
		if err != nil {
			return h, err
		}
		if *sum, err = computedBy(id); err != nil {
			return h, err
		}
	}
	h.forwarded = r.said(ctx)[edgeName(away)][survival.Forwarded]
	return h, nil
}

// computedBy is the time that a process's threads have run, in microseconds: the first field of their schedstat, which is exact where
// that of proc_pid_stat(5) has ticks. The runtime's threads do not end.
func computedBy(id process.ID) (float64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", id.PID))
	if err != nil || len(files) == 0 {
		return 0, errors.Join(err, fmt.Errorf("process %d: %w", id.PID, process.ErrGone))
	}
	sum := 0.0
	for _, name := range files {
		ran, err := ranFor(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that has just ended
		}
		if err != nil {
			return 0, err
		}
		sum += ran
	}
	return sum, nil
}

// ranFor reads the schedstat of a thread.
func ranFor(file string) (microseconds float64, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	ns, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	return ns / 1000, nil
}

// upload is a request with a body that has no end before close.
type upload struct {
	done  chan error
	body  *paced
	close func() error // may be called again
}

// upload begins one. Its datagrams have 1,200 octets each.
func (r *quicRun) upload(ctx context.Context) (*upload, error) {
	socket, err := Namespace(Client, quicRegion).ListenUDP("udp4", nil)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: socket}
	address := net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.service, 443))
	client := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: r.roots, ServerName: Host},
		QUICConfig:      &quic.Config{InitialPacketSize: cpuPacket, DisablePathMTUDiscovery: true},
		Dial: func(ctx context.Context, _ string, conf *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			return transport.DialEarly(ctx, address, conf, qc)
		},
	}
	u := &upload{done: make(chan error, 1), body: &paced{end: make(chan struct{})}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+Host+"/bulk", u.body)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	go func() {
		response, err := client.RoundTrip(request)
		if err == nil {
			if response.StatusCode >= 400 {
				err = fmt.Errorf("the upload ended with status %d", response.StatusCode)
			}
			err = errors.Join(err, response.Body.Close())
		}
		u.done <- err
	}()
	closed := false
	u.close = func() error {
		if closed {
			return nil
		}
		closed = true
		close(u.body.end)
		return errors.Join(<-u.done, client.Close(), transport.Close(), socket.Close())
	}
	return u, nil
}

// paced is a body that gives an even number of octets a second until it is told to end.
type paced struct {
	end  chan struct{}
	next time.Time
}

func (p *paced) Read(b []byte) (int, error) {
	const piece = cpuRate / int(time.Second/cpuTick)
	if p.next.IsZero() {
		p.next = time.Now()
	}
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	select {
	case <-p.end:
		return 0, io.EOF
	case <-timer.C:
	}
	n := min(len(b), piece)
	p.next = p.next.Add(cpuTick * time.Duration(n) / time.Duration(piece))
	return n, nil
}
