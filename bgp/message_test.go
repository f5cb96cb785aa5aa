package bgp

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseOpen(t *testing.T) {
	const head = "04 fbff 0009 c6336401"
	cases := []struct {
		name, body string
		want       open
		code       [2]byte
	}{
		{"no parameters: IPv4 goes without saying", head + "00", open{asn: 64511, noMP: true}, [2]byte{}},
		{"both families, four-octet AS", head + "16 02 14 01040001 0001 0104 00020001 4104 0000fbff 0200", open{asn: 64511, families: []family{familyIPv4, familyIPv6}, fourOct: true, refresh: true}, [2]byte{}},
		{"a capability a parameter, as some routers write it", head + "10 02 06 0104 00010001 02 06 4104 00010000", open{asn: 65536, families: []family{familyIPv4}, fourOct: true}, [2]byte{}},
		{"a family of no use", head + "08 02 06 0104 00190046", open{asn: 64511}, [2]byte{}},
		{"unknown capabilities are passed over", head + "09 02 07 4000 4903 026f6b", open{asn: 64511, noMP: true}, [2]byte{}},
		{"extended parameters (RFC 9072)", head + "ff ff 0009 02 0006 0104 00020001", open{asn: 64511, families: []family{familyIPv6}}, [2]byte{}},
		{"BGP 3", "03 fbff 0009 c6336401 00", open{}, [2]byte{2, 1}},
		{"authentication of RFC 1771", head + "03 01 01 00", open{}, [2]byte{2, 4}},
		{"parameters cut short", head + "08 02 06 0104", open{}, [2]byte{2, 0}},
		{"bytes after the parameters", head + "00 00", open{}, [2]byte{2, 0}},
		{"a capability longer than its parameter", head + "04 02 02 01ff", open{}, [2]byte{2, 0}},
		{"a multiprotocol capability of three bytes", head + "07 02 05 0103 000100", open{}, [2]byte{2, 0}},
		{"a four-octet AS of two", head + "06 02 04 4102 fbff", open{}, [2]byte{2, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseOpen(unhex(t, c.body))
			if c.code != [2]byte{} {
				var w *wireError
				if !errors.As(err, &w) || [2]byte{w.code, w.subcode} != c.code {
					t.Errorf("error %v, want NOTIFICATION %v", err, c.code)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.asn != c.want.asn || !slices.Equal(got.families, c.want.families) || got.fourOct != c.want.fourOct || got.refresh != c.want.refresh || got.noMP != c.want.noMP {
				t.Errorf("%+v, want %+v", got, c.want)
			}
			if got.holdTime != 9*time.Second || got.id != netip.MustParseAddr("198.51.100.1") {
				t.Errorf("%+v", got)
			}
			checkParsedOpen(t, unhex(t, c.body))
		})
	}
}

func TestNotificationsInWords(t *testing.T) {
	cases := []struct{ body, want string }{
		{"0602", "Cease/Administrative Shutdown"},
		{"0602 03 627965", "Cease/Administrative Shutdown: 'bye'"},
		{"0604 04 0a1b5b6d", "Cease/Administrative Reset: '..[m'"},
		{"0602 05 627965", "Cease/Administrative Shutdown"}, // longer than itself
		{"0602 02 ff41", "Cease/Administrative Shutdown: '.A'"},
		{"0603 03 627965", "Cease/Peer De-configured"}, // communications are of shutdown and reset alone
		{"0601 0001 01 0000000a", "Cease/Maximum Number of Prefixes Reached (its limit is 10 for IPv4 unicast)"},
		{"0601 0019 46 0000000a", "Cease/Maximum Number of Prefixes Reached (its limit is 10 for AFI 25, SAFI 70)"},
		{"0601 0002", "Cease/Maximum Number of Prefixes Reached"},
		{"0609 0602 03 627965", "Cease/Hard Reset (Cease/Administrative Shutdown: 'bye')"},
		{"0609 0609 0609", "Cease/Hard Reset"},
		{"0400", "Hold Timer Expired"},
		{"0202 fbff", "OPEN Message Error/Bad Peer AS"},
		{"0500", "Finite State Machine Error"},
		{"06c8", "Cease/subcode 200"},
		{"0909", "code 9/subcode 9"},
	}
	for _, c := range cases {
		if got := parseNotification(unhex(t, c.body)).String(); got != c.want {
			t.Errorf("%s is %q, want %q", c.body, got, c.want)
		}
	}
}

// TestShutdownFits: RFC 9003 gives 255 bytes of UTF-8, and a character is not cut in two.
func TestShutdownFits(t *testing.T) {
	cases := []struct {
		name, text, want string
	}{
		{"none", "", ""},
		{"plain", "deploy of 2026-01-01", "deploy of 2026-01-01"},
		{"just fits", strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{"a byte too long", strings.Repeat("x", 256), strings.Repeat("x", 255)},
		{"cut between characters", strings.Repeat("é", 200), strings.Repeat("é", 127)},
		{"not UTF-8", "a\xffb", "ab"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := shutdown(c.text)
			if size, kind, err := checkHeader(m[:headerSize]); err != nil || size != len(m) || kind != typeNotification {
				t.Fatalf("%x: %v", m, err)
			}
			n := parseNotification(m.body())
			if n.code != codeCease || n.subcode != ceaseShutdown || n.communication != c.want || !utf8.ValidString(n.communication) {
				t.Errorf("%+v, want %q", n, c.want)
			}
		})
	}
}

func TestParseUpdate(t *testing.T) {
	const (
		origin  = "400101 00"
		path    = "400206 02010000fbf4"
		hop     = "400304 c0000008"
		reach   = "800e1c 00020110 01000000000000000000000000000001 00 3020010db80053"
		reachX  = "900e001c 00020110 01000000000000000000000000000001 00 3020010db80053"
		unreach = "800f0a 000201 3020010db80053"
	)
	update := func(withdrawn, attrs, nlri string) []byte {
		return makeUpdate(unhex(t, withdrawn), unhex(t, attrs), unhex(t, nlri)).body()
	}
	p4, p6 := []netip.Prefix{testPrefix4}, []netip.Prefix{testPrefix6}
	cases := []struct {
		name                 string
		body                 []byte
		announced, withdrawn []netip.Prefix
		fault                bool
	}{
		{"IPv4", update("", origin+path+hop, "18c00002"), p4, nil, false},
		{"IPv6", update("", origin+path+reach, ""), p6, nil, false},
		{"IPv6 with an extended length", update("", origin+path+reachX, ""), p6, nil, false},
		{"withdrawals", update("18c00002", unreach, ""), nil, slices.Concat(p4, p6), false},
		{"End-of-RIB", update("", "", ""), nil, nil, false},
		{"EVPN", update("", origin+path+"800e09001946040a09000100", ""), nil, nil, true},
		{"cut short", []byte{0, 0, 0, 9}, nil, nil, true},
		{"a /33", update("2101020304 05", "", ""), nil, nil, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseUpdate(c.body)
			if (err != nil) != c.fault {
				t.Fatalf("error %v", err)
			}
			if !c.fault && (!slices.Equal(got.announced, c.announced) || !slices.Equal(got.withdrawn, c.withdrawn)) {
				t.Errorf("%+v, want %v and %v", got, c.announced, c.withdrawn)
			}
		})
	}
}
