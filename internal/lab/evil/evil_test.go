package evil

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
)

var rogue = Identity{ASN: 64511, RouterID: netip.MustParseAddr("10.1.9.1")}

func TestOpenIsWellFormed(t *testing.T) {
	for _, c := range []struct {
		why  string
		id   Identity
		want []byte
	}{
		{"four-byte", rogue, []byte{4, 0xfb, 0xff, 0, 90, 10, 1, 9, 1, 20, 2, 18, 1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4, 0, 0, 0xfb, 0xff}},
		{"an old router", Identity{ASN: 64511, RouterID: rogue.RouterID, TwoByte: true}, []byte{4, 0xfb, 0xff, 0, 90, 10, 1, 9, 1, 14, 2, 12, 1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1}},
	} {
		kind, body, err := Read(bytes.NewReader(Open(c.id, 90)))
		if err != nil || kind != TypeOpen || !bytes.Equal(body, c.want) {
			t.Errorf("%s: %d %v %v", c.why, kind, body, err)
		}
	}
}

func TestEveryCaseHasAHeaderAndAName(t *testing.T) {
	names, kinds := map[string]bool{}, map[bool]int{}
	for _, c := range Cases() {
		if c.Name == "" || names[c.Name] || len(c.Message) < headerLength {
			t.Errorf("case %q: empty, double or %d bytes", c.Name, len(c.Message))
		}
		names[c.Name] = true
		kinds[c.TwoByte]++
	}
	if kinds[true] < 3 || kinds[false] < 40 {
		t.Errorf("cases: %v", kinds)
	}
}

// edge is a speaker that closes the session on whatever its judge refuses.
func edge(ctx context.Context, address string, refuse func(kind byte, err error) bool) {
	for ctx.Err() == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return
		}
		if Establish(conn, Identity{ASN: 64500, RouterID: netip.MustParseAddr("10.1.0.2")}, 90) == nil {
			for {
				kind, _, err := Read(conn)
				if refuse(kind, err) {
					_, _ = conn.Write(Message(TypeNotification, []byte{1, 2}))
				}
				if err != nil {
					break
				}
			}
		}
		conn.Close()
	}
}

func TestRunSendsEveryCaseAndReconnects(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		edge(ctx, l.Addr().String(), func(_ byte, err error) bool { return err != nil && !errors.Is(err, io.EOF) })
	}()
	all := Cases()
	cases := append(all[len(all)-4:], all[0], Case{Name: "old", TwoByte: true, Message: Keepalive()})
	outcomes, err := Run(ctx, l, rogue, cases)
	if err != nil || len(outcomes) != len(cases) {
		t.Fatalf("%d of %d cases: %v", len(outcomes), len(cases), err)
	}
	for i, wantClosed := range []bool{true, true, false, false, false, false} {
		if (outcomes[i].Closed != nil) != wantClosed {
			t.Errorf("%s: closed %v, want %v", outcomes[i].Case, outcomes[i].Closed, wantClosed)
		}
	}
	cancel()
	<-done
}

func TestRunEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, l, rogue, Cases()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Run: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Open(rogue, 9))
	f.Add(Keepalive())
	for _, c := range Cases()[:5] {
		f.Add(c.Message)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind, body, err := Read(bytes.NewReader(data))
		if err == nil && !bytes.Equal(Message(kind, body)[16:], data[16:headerLength+len(body)]) {
			t.Errorf("read %d %x from %x", kind, body, data)
		}
	})
}

// A flood comes whole over one session to an edge that keeps it, and an edge that ends one is noticed wherever it does.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		why    string
		refuse int // the UPDATE that it ends the session on
		ended  int
	}{
		{"it keeps the session", 0, 0},
		{"it ends one once", 100, 1},
		{"it ends it on the last", (23_456+routesEach-1)/routesEach + 77, 1},
	} {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		updates, ended := 0, make(chan struct{})
		go func() {
			defer close(ended)
			edge(ctx, l.Addr().String(), func(kind byte, _ error) bool {
				if kind == TypeUpdate {
					updates++
				}
				return kind == TypeUpdate && updates == c.refuse
			})
		}()
		refused, err := Flood{Routes: 23_456, Malformed: 77}.Run(ctx, l, rogue)
		cancel()
		<-ended
		if err != nil || refused != c.ended || refused == 0 && updates != (23_456+routesEach-1)/routesEach+77 {
			t.Errorf("%s: %d sessions ended, %d UPDATEs, %v", c.why, refused, updates, err)
		}
	}
}

// Every route of a flood is another one, in private space, and every UPDATE is as long as its header says.
func TestFloodedRoutesDiffer(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for r := bytes.NewReader(routes(rogue, 65_530, 12)); r.Len() > 0; {
		kind, body, err := Read(r)
		if err != nil || kind != TypeUpdate {
			t.Fatalf("%d %v", kind, err)
		}
		attributes := int(body[2])<<8 | int(body[3])
		for list := body[4+attributes:]; len(list) > 0; list = list[5:] {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte(list[1:5])), int(list[0]))
			if seen[p] || !netip.MustParsePrefix("10.0.0.0/8").Contains(p.Addr()) {
				t.Errorf("%s is double or somebody's", p)
			}
			seen[p] = true
		}
	}
	if len(seen) != 12 {
		t.Errorf("%d routes", len(seen))
	}
	if n := len(malformed()); n < 30 {
		t.Errorf("%d malformed messages", n)
	}
}
