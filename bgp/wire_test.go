package bgp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// evilUpdates have crashed or reset BGP speakers, or are shaped as those that have.
func evilUpdates() []message {
	x := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			panic(err)
		}
		return b
	}
	const (
		origin = "40010100"
		path4  = "40020602010000fbf5"
		path2  = "4002040201fbf5"
		hop    = "4003040a090001"
		as4    = "c011060201" + "0000fbf5"
	)
	nlri := x("18cb0071")
	var ms []message
	for _, attrs := range []string{
		origin + path4 + hop,              // nothing wrong with it
		origin + path4 + hop + "40630100", // unknown well-known attribute
		"40630100" + origin + path4 + hop, // the same, first
		"00010100" + path4 + hop,          // ORIGIN not transitive
		"4001020000" + path4 + hop,        // ORIGIN too long
		origin + as4 + path2 + hop,        // AS4_PATH before AS_PATH
		origin + path2 + hop + "c0110e0203" + "0000fbf500000001" + "00000002", // AS4_PATH longer than AS_PATH
		origin + path2 + hop + "c012080000000101010101",                       // AS4_AGGREGATOR
		origin + path4 + "400300",                                             // NEXT_HOP of every wrong length
		origin + path4 + "4003050102030405",                                   //
		origin + path4 + "40031020010db8000000000000000000000001",             //
		origin + "400200" + hop,                                               // empty AS_PATH
		"",                                                                    // NLRI without attributes
		origin + path4 + hop + "c008080000",                                   // cut short
		origin + path4 + hop + "c00803000000",                                 // communities of three bytes
		origin + path4 + hop + "800e050002011000",                             // MP_REACH cut short
		origin + path4 + "800e09001946040a09000100",                           // MP_REACH of EVPN
		"800f03001946",                                                        // MP_UNREACH of EVPN
		origin + origin + path4 + path4 + hop + hop,                           // everything twice
		origin + path4 + hop + "c01706000100090101",                           // tunnel encapsulation
		origin + path4 + hop + "c028040500c800",                               // prefix SID
		origin + path4 + hop + "801a03010001",                                 // AIGP
		origin + path4 + hop + "801d0404000009",                               // link state
		origin + path4 + hop + "c016020101",                                   // PMSI
		origin + path4 + hop + "c0100700000000000000",                         // extended communities
		origin + path4 + hop + "c020050000000000",                             // large communities
		origin + "40020602ff0000fbf5" + hop,                                   // AS_PATH segment longer than itself
		origin + hop + as4 + path2,                                            // AS4_PATH and AS_PATH last: has killed processes
		origin + hop + as4 + path4,                                            //
		origin + path4 + "000300",                                             // NEXT_HOP with wrong flags
		"00030101" + origin + path4,                                           //
		"00010100" + path4 + "800e0d000102040a09000100" + "18cb0071",          // treat as withdraw and multicast
		"40010109" + path4 + hop + "800f0700010218cb0071",                     //
		origin + path4 + hop + "c00703010101",                                 // AGGREGATOR
	} {
		ms = append(ms, makeUpdate(nil, x(attrs), nlri))
	}
	ms = append(ms,
		makeUpdate(x("210102030405"), nil, nil),                  // withdrawal of a /33
		makeUpdate(nil, x(origin+path4+hop), x("c8010203")),      // NLRI of a /200
		makeMessage(typeUpdate, x("ffff0000")),                   // lengths beyond the end
		makeMessage(typeUpdate, x("000000c8"+origin+"18cb0071")), //
		makeMessage(typeUpdate, x("00")),                         // not even its own lengths
		makeMessage(typeUpdate, nil),                             //
		makeUpdate(nil, x("800f03000202"), nil),                  // End-of-RIB of a family that is not ours
		makeUpdate(nil, x(origin+path4+hop), make([]byte, 5000)), // longer than BGP allows
		makeUpdate(nil, make([]byte, 65000), nil),                // as long as the header can say
	)
	return ms
}

// rawHeader is a header that says what it likes.
func rawHeader(size uint16, kind byte) []byte {
	h := makeMessage(kind, nil)
	binary.BigEndian.PutUint16(h[markerSize:], size)
	return h
}

// TestOnlyTheRightMessagesPass walks through a stream that has one of everything.
func TestOnlyTheRightMessagesPass(t *testing.T) {
	openMsg := (&open{asn: 64511, holdTime: 9 * time.Second, id: netip.MustParseAddr("198.51.100.1"), fourOct: true}).encode()
	eor4 := makeMessage(typeUpdate, []byte(endOfRIB[0]))
	eor6, eor6x := makeMessage(typeUpdate, []byte(endOfRIB[1])), makeMessage(typeUpdate, []byte(endOfRIB[2]))
	refresh := makeMessage(typeRouteRefresh, []byte{0, 1, 0, 1})
	cease := shutdown("bye")
	var stream []byte
	pass := []message{openMsg, keepalive, eor4, eor6, eor6x, refresh, cease}
	evil := evilUpdates()
	for _, m := range pass {
		stream = append(stream, m...)
		for _, e := range evil {
			stream = append(stream, e...)
		}
	}
	r := bufio.NewReaderSize(bytes.NewReader(stream), readBuffer)
	var got []message
	dropped := 0
	for {
		m, err := readFiltered(r)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d messages: %v", len(got), err)
		}
		if m == nil {
			dropped++
			continue
		}
		got = append(got, bytes.Clone(m))
	}
	if !slices.EqualFunc(got, pass, func(a, b message) bool { return bytes.Equal(a, b) }) {
		t.Errorf("passed %x, want %x", got, pass)
	}
	if want := len(evil) * len(pass); dropped != want {
		t.Errorf("dropped %d, want %d", dropped, want)
	}
}

func TestHeadersAreChecked(t *testing.T) {
	cases := []struct {
		name          string
		header        []byte
		code, subcode byte
		data          string
	}{
		{"an OPEN's least", rawHeader(29, typeOpen), 0, 0, ""},
		{"an OPEN too short", rawHeader(28, typeOpen), 1, 2, "\x00\x1c"},
		{"a KEEPALIVE with a body", rawHeader(20, typeKeepalive), 1, 2, "\x00\x14"},
		{"a NOTIFICATION without subcode", rawHeader(20, typeNotification), 1, 2, "\x00\x14"},
		{"a NOTIFICATION longer than a message", rawHeader(4097, typeNotification), 1, 2, "\x10\x01"},
		{"the longest NOTIFICATION", rawHeader(4096, typeNotification), 0, 0, ""},
		{"a ROUTE-REFRESH with an ORF", rawHeader(24, typeRouteRefresh), 1, 2, "\x00\x18"},
		{"shorter than its own header", rawHeader(18, typeUpdate), 1, 2, "\x00\x12"},
		{"no length", rawHeader(0, typeKeepalive), 1, 2, "\x00\x00"},
		{"type 0", rawHeader(19, 0), 1, 3, "\x00"},
		{"type 6", rawHeader(19, 6), 1, 3, "\x06"},
		{"an UPDATE of any length is skipped, not answered", rawHeader(65535, typeUpdate), 0, 0, ""},
		{"an UPDATE without its own lengths too", rawHeader(19, typeUpdate), 0, 0, ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x"), 1, 1, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := checkHeader(c.header[:headerSize])
			var w *wireError
			if !errors.As(err, &w) {
				w = &wireError{}
			}
			if w.code != c.code || w.subcode != c.subcode || string(w.data) != c.data {
				t.Errorf("%d/%d %q (%v), want %d/%d %q", w.code, w.subcode, w.data, err, c.code, c.subcode, c.data)
			}
		})
	}
}

// FuzzReadFiltered: whatever comes, there is no panic, nothing passes but whole messages of the right form, and no UPDATE
// except End-of-RIB.
func FuzzReadFiltered(f *testing.F) {
	f.Add([]byte(keepalive))
	f.Add([]byte(shutdown("maintenance")))
	f.Add(append(bytes.Clone(keepalive), makeMessage(typeUpdate, []byte(endOfRIB[1]))...))
	f.Add(rawHeader(65535, typeUpdate))
	f.Add(rawHeader(4097, typeOpen))
	f.Add(rawHeader(0, typeKeepalive))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"))
	f.Add([]byte((&open{asn: 1, holdTime: 3 * time.Second, id: netip.MustParseAddr("1.1.1.1"), families: []family{familyIPv6}, fourOct: true}).encode()))
	for _, m := range evilUpdates() {
		f.Add([]byte(m))
		f.Add(append(bytes.Clone(m), keepalive...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), readBuffer)
		for range len(b)/headerSize + 1 {
			m, err := readFiltered(r)
			if err != nil {
				return
			}
			if m == nil {
				continue
			}
			size, kind, err := checkHeader(m[:headerSize])
			if err != nil || size != len(m) {
				t.Fatalf("passed %x: %v", m, err)
			}
			switch kind {
			case typeUpdate:
				if !isEndOfRIB(m.body()) {
					t.Fatalf("passed the UPDATE %x", m)
				}
			case typeOpen:
				checkParsedOpen(t, m.body())
			case typeNotification:
				if s := parseNotification(m.body()).String(); !utf8.ValidString(s) || strings.ContainsAny(s, "\r\n\x1b") {
					t.Fatalf("NOTIFICATION as %q", s)
				}
			}
		}
	})
}

// checkParsedOpen: what is passed on of an OPEN can be read again and says the same.
func checkParsedOpen(t *testing.T, body []byte) {
	o, err := parseOpen(body)
	if err != nil {
		return
	}
	m := o.encode()
	if size, _, err := checkHeader(m[:headerSize]); err != nil || size != len(m) {
		t.Fatalf("OPEN %x became %x: %v", body, m, err)
	}
	again, err := parseOpen(m.body())
	if err != nil {
		t.Fatalf("OPEN %x became %x: %v", body, m, err)
	}
	if again.asn != o.asn && (o.fourOct || o.asn <= 0xffff) || again.holdTime != o.holdTime || again.id != o.id || !slices.Equal(again.families, o.families) {
		t.Fatalf("OPEN %+v became %+v", o, again)
	}
}

// FuzzParseUpdate: our own UPDATEs are well-formed, but even if not there is no panic; and what is made of the prefixes again says the same.
func FuzzParseUpdate(f *testing.F) {
	for _, m := range evilUpdates() {
		f.Add([]byte(m.body()))
	}
	for _, o := range append(testOutbound(false).announce(manyRoutes(3)), withdraw([]netip.Prefix{testPrefix4, testPrefix6})...) {
		f.Add([]byte(o.m.body()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := parseUpdate(b)
		if err != nil {
			return
		}
		for _, p := range slices.Concat(u.announced, u.withdrawn) {
			if !p.IsValid() || p != p.Masked() {
				t.Fatalf("prefix %v", p)
			}
		}
		var routes []Route
		for _, p := range u.announced {
			routes = append(routes, Route{Prefix: p, Prepend: b[0]})
		}
		checkOutgoing(t, append(withdraw(u.withdrawn), testOutbound(b[0] > 0).announce(routes)...), u)
	})
}
