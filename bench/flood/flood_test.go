package flood

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// TestServersBeginAHandshakeForEach sends two Initials to another implementation, which must come as far as the ClientHello.
func TestServersBeginAHandshakeForEach(t *testing.T) {
	names := make(chan string, 2)
	ln, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{NextProtos: []string{"h3"}, GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- h.ServerName
		return nil, errors.New("that is all")
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	in, err := newInitials(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp4", nil, ln.Addr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := range uint64(2) {
		var id [idLen]byte
		binary.BigEndian.PutUint64(id[:], n)
		b, err := in.make(nil, id)
		if err != nil || len(b) != initialSize {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		select {
		case name := <-names:
			if name != host {
				t.Errorf("the server reads %q", name)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the server did not begin a handshake")
		}
	}
}

// TestSources looks at where packets come from.
func TestSources(t *testing.T) {
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	in, err := newInitials(t.Context(), host)
	if err != nil {
		t.Fatal(err)
	}
	for source, prefix := range map[string]string{Random: "127.", Hundreds: "127.1.", OneNet: "127.2.3."} {
		s, err := newSender(in, udp.LocalAddr().(*net.UDPAddr), 1, source, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.send(s.batch[:3]); err != nil {
			t.Fatal(err)
		}
		s.close()
		_ = udp.SetReadDeadline(time.Now().Add(10 * time.Second))
		for range 3 {
			b := make([]byte, 2000)
			n, from, err := udp.ReadFromUDP(b)
			if err != nil {
				t.Fatal(err)
			}
			if n != initialSize || !strings.HasPrefix(from.IP.String(), prefix) || from.IP.String() == "127.0.0.1" {
				t.Errorf("%s: %d bytes from %v", source, n, from)
			}
		}
		if s.sent.Load() != 3 {
			t.Errorf("%d are counted", s.sent.Load())
		}
	}
}

// TestClientsWithoutAServer gives up, and says why.
func TestClientsWithoutAServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	if err := handshake(ctx, net.IPv4(127, 0, 0, 2), udp.LocalAddr().(*net.UDPAddr), &tls.Config{ServerName: host}); err == nil {
		t.Error("nobody answered")
	}
}

// TestFill takes the clients' part off.
func TestFill(t *testing.T) {
	at := func(cpu time.Duration, received int64) (r reading) {
		r.use.User, r.received = cpu, received
		return r
	}
	m := &measure{}
	m.fill(at(0, 0), at(100*time.Millisecond, 50), at(350*time.Millisecond, 1050), at(400*time.Millisecond, 2050))
	if m.row.Received != 2000 || m.row.CPU != 100*time.Microsecond || m.row.Steady != 0 {
		t.Errorf("%+v", m.row)
	}
}

func TestReport(t *testing.T) {
	r := Report{Command: "nearcast bench flood", Duration: time.Second, Rows: []Row{{Source: Random, Defence: Guard, Rate: 4000, CPU: 12345 * time.Nanosecond, During: Clients{Came: 3, In: 2}}}}
	var table, text, data bytes.Buffer
	for _, err := range []error{r.WriteTable(&table), r.WriteMarkdown(&text), r.WriteJSON(&data)} {
		if err != nil {
			t.Error(err)
		}
	}
	for what, s := range map[string]string{"table": table.String(), "markdown": text.String()} {
		for _, part := range []string{"guard", "12.3 µs", "2 of 3"} {
			if !strings.Contains(s, part) {
				t.Errorf("%s: no %q in:\n%s", what, part, s)
			}
		}
	}
	if !strings.Contains(text.String(), "| guard | random | 4000 |") || !strings.Contains(data.String(), `"defence": "guard"`) {
		t.Errorf("%s\n%s", text.String(), data.String())
	}
}

// BenchmarkMake is what the sender has to do for each packet.
func BenchmarkMake(b *testing.B) {
	in, err := newInitials(b.Context(), host)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, initialSize)
	for b.Loop() {
		if _, err := in.make(buf, [idLen]byte{}); err != nil {
			b.Fatal(err)
		}
	}
}
