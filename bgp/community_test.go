package bgp

import (
	"encoding/binary"
	"strings"
	"testing"
)

// text is a community of any kind.
type text interface {
	UnmarshalText([]byte) error
	MarshalText() ([]byte, error)
}

func TestCommunityTexts(t *testing.T) {
	cases := []struct {
		in    string
		to    text
		want  string // as it is shown; the same as in unless given
		fault string
	}{
		{in: "64511:100", to: new(Community)},
		{in: "0:0", to: new(Community)},
		{in: "65535:65535", to: new(Community)},
		{in: "no-export", to: new(Community)},
		{in: "65535:65281", to: new(Community), want: "no-export"},
		{in: "no-advertise", to: new(Community)},
		{in: "no-export-subconfed", to: new(Community)},
		{in: "no-peer", to: new(Community)},
		{in: "blackhole", to: new(Community), fault: `"blackhole" is BLACKHOLE (RFC 7999)`},
		{in: "65535:666", to: new(Community), fault: `"65535:666" is BLACKHOLE (RFC 7999)`},
		{in: "BLACKHOLE", to: new(Community), fault: `"BLACKHOLE" is BLACKHOLE (RFC 7999)`},
		{in: "graceful-shutdown", to: new(Community), fault: `"graceful-shutdown" is GRACEFUL_SHUTDOWN (RFC 8326), which belongs to the drain`},
		{in: "GRACEFUL_SHUTDOWN", to: new(Community), fault: `"GRACEFUL_SHUTDOWN" is GRACEFUL_SHUTDOWN (RFC 8326)`},
		{in: "65535:0", to: new(Community), fault: `"65535:0" is GRACEFUL_SHUTDOWN (RFC 8326)`},
		{in: "NO_EXPORT", to: new(Community), fault: `"NO_EXPORT" is not a community; write no-export`},
		{in: "64511:65536", to: new(Community), fault: `"64511:65536" is not a community; write two numbers from 0 to 65535`},
		{in: "65536:1", to: new(Community), fault: `"65536:1" does not fit in a standard community, which has no room for an AS number of more than 16 bits; write a large community, 65536:1:0 say`},
		{in: "064511:100", to: new(Community), fault: `"064511:100" is not a community`},
		{in: "+1:2", to: new(Community), fault: `"+1:2" is not a community`},
		{in: "1:2:3", to: new(Community), fault: `"1:2:3" is not a community`},
		{in: "4227792996", to: new(Community), fault: `"4227792996" is not a community`},
		{in: "", to: new(Community), fault: `"" is not a community`},

		{in: "64500:0:4294967295", to: new(LargeCommunity)},
		{in: "65536:1:2", to: new(LargeCommunity)},
		{in: "64500:1", to: new(LargeCommunity), fault: `"64500:1" is not a large community; write three numbers`},
		{in: "64500:1:4294967296", to: new(LargeCommunity), fault: `"64500:1:4294967296" is not a large community`},
		{in: "64500:01:2", to: new(LargeCommunity), fault: `"64500:01:2" is not a large community`},
		{in: "0:1:2", to: new(LargeCommunity), fault: `"0:1:2" begins with 0, which is reserved (RFC 8092)`},
		{in: "65535:666:0", to: new(LargeCommunity), fault: `"65535:666:0" begins with 65535, which is reserved`},

		{in: "rt:64500:1", to: new(ExtendedCommunity)},
		{in: "ro:64500:4294967295", to: new(ExtendedCommunity)},
		{in: "rt:198.51.100.1:65535", to: new(ExtendedCommunity)},
		{in: "ro:65536:1", to: new(ExtendedCommunity)},
		{in: "0x0002fbf400000001", to: new(ExtendedCommunity), want: "rt:64500:1"},
		{in: "0x4002fbf400000001", to: new(ExtendedCommunity)}, // not transitive
		{in: "0x02020000fbf40001", to: new(ExtendedCommunity)}, // an AS number of four octets that two would do for
		{in: "0x4004fbf447c35000", to: new(ExtendedCommunity)}, // link bandwidth
		{in: "0X0002FBF400000001", to: new(ExtendedCommunity), fault: `"0X0002FBF400000001" is not an extended community`},
		{in: "0x0002fbf4", to: new(ExtendedCommunity), fault: `"0x0002fbf4" is not an extended community; write 0x and the 16 hexadecimal digits`},
		{in: "rt:65536:65536", to: new(ExtendedCommunity), fault: `"rt:65536:65536" is not an extended community`},
		{in: "rt:198.51.100.1:65536", to: new(ExtendedCommunity), fault: `"rt:198.51.100.1:65536" is not an extended community`},
		{in: "rt:2001:db8::1:1", to: new(ExtendedCommunity), fault: `"rt:2001:db8::1:1" is not an extended community`},
		{in: "soo:64500:1", to: new(ExtendedCommunity), fault: `"soo:64500:1" is not an extended community; write rt: (route target) or ro: (route origin)`},
		{in: "rt:64500", to: new(ExtendedCommunity), fault: `"rt:64500" is not an extended community`},
	}
	for _, c := range cases {
		err := c.to.UnmarshalText([]byte(c.in))
		if c.fault != "" {
			if err == nil || !strings.HasPrefix(err.Error(), c.fault) {
				t.Errorf("%q: fault %v, want %s", c.in, err, c.fault)
			}
			continue
		}
		if c.want == "" {
			c.want = c.in
		}
		if got, _ := c.to.MarshalText(); err != nil || string(got) != c.want {
			t.Errorf("%q is shown as %q (%v), want %q", c.in, got, err, c.want)
		}
	}
}

// TestExtendedCommunityOctets: the text forms are the octets of RFC 4360 and RFC 5668.
func TestExtendedCommunityOctets(t *testing.T) {
	for in, want := range map[string]uint64{
		"rt:64500:1":        0x0002_fbf4_0000_0001,
		"ro:64500:1":        0x0003_fbf4_0000_0001,
		"rt:198.51.100.1:2": 0x0102_c633_6401_0002,
		"ro:65536:3":        0x0203_0001_0000_0003,
	} {
		var c ExtendedCommunity
		if err := c.UnmarshalText([]byte(in)); err != nil || binary.BigEndian.Uint64(c[:]) != want {
			t.Errorf("%s is %x (%v), want %x", in, c[:], err, want)
		}
	}
}

// fuzzText: what is taken is shown in a form that is taken too and means the same.
func fuzzText[V comparable, T interface {
	*V
	text
}](f *testing.F) {
	for _, seed := range []string{"64500:1", "no-export", "NO_PEER", "65535:666", "65535:0", "64500:1:2", "rt:64500:1", "ro:198.51.100.1:1", "rt:65536:1",
		"0x4002fbf400000001", "0x02020000fbf40001", "", ":", "::", "-1:0", "rt::", "0x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var v V
		if T(&v).UnmarshalText([]byte(s)) != nil {
			return
		}
		shown, _ := T(&v).MarshalText()
		again := *new(V)
		if err := T(&again).UnmarshalText(shown); err != nil || again != v {
			t.Fatalf("%q is shown as %q, which is %v, not %v (%v)", s, shown, again, v, err)
		}
		if c, ok := any(v).(Community); ok && (c == communityBlackhole || c == communityShutdown) {
			t.Fatalf("%q was taken", s)
		}
	})
}

func FuzzCommunity(f *testing.F)         { fuzzText[Community, *Community](f) }
func FuzzLargeCommunity(f *testing.F)    { fuzzText[LargeCommunity, *LargeCommunity](f) }
func FuzzExtendedCommunity(f *testing.F) { fuzzText[ExtendedCommunity, *ExtendedCommunity](f) }
