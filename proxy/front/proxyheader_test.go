package front

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 builds a header of version 2.
func v2(command, family byte, body ...[]byte) string {
	b := append([]byte(proxyV2), command, family, 0, 0)
	for _, x := range body {
		b = append(b, x...)
	}
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-16))
	return string(b)
}

func tlv(kind byte, value string) []byte {
	return append([]byte{kind, byte(len(value) >> 8), byte(len(value))}, value...)
}

func v2tcp4() []byte { return []byte{192, 0, 2, 1, 198, 51, 100, 1, 0x1f, 0x90, 0x01, 0xbb} }

func v2tcp6() []byte {
	client, server := netip.MustParseAddr("2001:db8::1").As16(), netip.MustParseAddr("2001:db8::2").As16()
	return append(append(client[:], server[:]...), 0x1f, 0x90, 0x01, 0xbb)
}

// checked is a header of version 2 with a right checksum.
func checked() string {
	h := []byte(v2(0x21, 0x11, v2tcp4(), tlv(3, "\x00\x00\x00\x00"), tlv(4, "more")))
	binary.BigEndian.PutUint32(h[16+12+3:], crc32.Checksum(h, castagnoli))
	return string(h)
}

const (
	ipv4Ends = "192.0.2.1:8080 198.51.100.1:443"
	ipv6Ends = "[2001:db8::1]:8080 [2001:db8::2]:443"
	noEnds   = "invalid AddrPort invalid AddrPort"
)

var goodHeaders = map[string]string{
	"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\r\n":               ipv4Ends,
	"PROXY TCP6 2001:db8::1 2001:db8::2 8080 443\r\n":              ipv6Ends,
	"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.1 8080 443\r\n": ipv4Ends,
	"PROXY UNKNOWN\r\n": noEnds,
	"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n":                       noEnds,
	"PROXY UNKNOWN " + strings.Repeat("x", maxProxyV1-len("PROXY UNKNOWN \r\n")) + "\r\n": noEnds,
	v2(0x21, 0x11, v2tcp4()):                                    ipv4Ends,
	v2(0x21, 0x21, v2tcp6()):                                    ipv6Ends,
	v2(0x21, 0x11, v2tcp4(), tlv(0xea, "x"), tlv(4, "")):        ipv4Ends,
	v2(0x21, 0x11, v2tcp4(), tlv(4, strings.Repeat("x", 1000))): ipv4Ends,
	v2(0x20, 0x00):                     noEnds, // LOCAL
	v2(0x20, 0x11, v2tcp4()):           noEnds,
	v2(0x20, 0x00, []byte("whatever")): noEnds,
	v2(0x21, 0x00, []byte("whatever")): noEnds, // not known
	checked():                          ipv4Ends,
}

var badHeaders = []string{
	"GET / HTTP/1.1\r\n", "PROXY\r\n", "PROXY \r\n", "PROXY TCP4\r\n", "proxy TCP4 192.0.2.1 198.51.100.1 8080 443\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 8080\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443 \r\n",
	"PROXY TCP4  192.0.2.1 198.51.100.1 8080 443\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 8080 443\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 8080 65536\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 08080 443\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 +8080 443\r\n",
	"PROXY TCP4 192.0.2.1 198.51.100.1 -1 443\r\n",
	"PROXY TCP4 192.0.2.256 198.51.100.1 8080 443\r\n",
	"PROXY TCP4 192.0.02.1 198.51.100.1 8080 443\r\n",
	"PROXY TCP4 2001:db8::1 2001:db8::2 8080 443\r\n",
	"PROXY TCP6 192.0.2.1 198.51.100.1 8080 443\r\n",
	"PROXY TCP6 fe80::1%eth0 2001:db8::2 8080 443\r\n",
	"PROXY UDP4 192.0.2.1 198.51.100.1 8080 443\r\n",
	"PROXY UNKNOWN \x00\r\n", "PROXY UNKNOWN a\nb\r\n", "PROXY UNKNOWN a\rb\r\n", "PROXY UNKNOWN \xff\r\n",
	"PROXY UNKNOWN " + strings.Repeat("x", maxProxyV1-len("PROXY UNKNOWN \r\n")+1) + "\r\n",
	"PROXY UNKNOWN " + strings.Repeat("x", 500),
	v2(0x11, 0x11, v2tcp4()), v2(0x22, 0x11, v2tcp4()), // version, command
	v2(0x21, 0x12, v2tcp4()), v2(0x21, 0x31, make([]byte, 216)), v2(0x21, 0x01), // UDP, a Unix socket, nonsense
	v2(0x21, 0x11, v2tcp4()[:11]), v2(0x21, 0x21, v2tcp6()[:35]),
	v2(0x21, 0x11, v2tcp4(), []byte{1}), v2(0x21, 0x11, v2tcp4(), []byte{1, 0}), v2(0x21, 0x11, v2tcp4(), []byte{1, 0, 1}),
	v2(0x21, 0x11, v2tcp4(), tlv(3, "\x00\x00\x00\x00")), v2(0x21, 0x11, v2tcp4(), tlv(3, "\x00")),
	v2(0x21, 0x11, v2tcp4(), tlv(4, strings.Repeat("x", maxProxyV2))),
	"\r\n\r\n\x00\r\nQUIX",
}

func TestProxyHeaders(t *testing.T) {
	const rest = "GET / HTTP/1.1\r\n"
	for in, want := range goodHeaders {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(in + rest), "byte by byte": iotest.OneByteReader(strings.NewReader(in + rest)),
		} {
			h, ahead, err := readProxyHeader(r)
			if err != nil {
				t.Errorf("%q %s: %v", in, name, err)
				continue
			}
			if got := h.client.String() + " " + h.server.String(); got != want {
				t.Errorf("%q %s: %s, want %s", in, name, got, want)
			}
			left, _ := io.ReadAll(r)
			if got := string(ahead) + string(left); got != rest {
				t.Errorf("%q %s: %q is left", in, name, got)
			}
		}
	}
	for _, in := range badHeaders {
		for name, r := range map[string]io.Reader{"at once": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			if h, _, err := readProxyHeader(r); !errors.Is(err, errProxyHeader) {
				t.Errorf("%q %s: %v, %v", in, name, h, err)
			}
		}
	}
}

func TestAProxyHeaderCutShort(t *testing.T) {
	for in := range goodHeaders {
		for n := range len(in) {
			if _, _, err := readProxyHeader(strings.NewReader(in[:n])); err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("%q: %v", in[:n], err)
			}
		}
	}
}

// FuzzProxyHeader: a header that is taken begins with a signature, is within its bound, is the same however it arrives, and says the
// same of its client once written as version 1.
func FuzzProxyHeader(f *testing.F) {
	for in := range goodHeaders {
		f.Add([]byte(in + "rest"))
	}
	for _, in := range badHeaders {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, size, err := parseProxyHeader(in)
		if err != nil || size == 0 {
			if h != (proxyHeader{}) || size != 0 {
				t.Fatalf("no header, but %v of %d bytes", h, size)
			}
			return
		}
		if size > len(in) || size > maxProxyV2 || in[0] == 'P' && size > maxProxyV1 {
			t.Fatalf("%d bytes of %d", size, len(in))
		}
		for n := range size {
			if _, got, err := parseProxyHeader(in[:n]); got != 0 || err != nil {
				t.Fatalf("%d of %d bytes: %d, %v", n, size, got, err)
			}
		}
		again, ahead, err := readProxyHeader(iotest.HalfReader(bytes.NewReader(in)))
		if err != nil || again != h || !bytes.HasPrefix(in[size:], ahead) {
			t.Fatalf("read as %v, %q, %v", again, ahead, err)
		}
		if h.client.IsValid() != h.server.IsValid() || h.client.Addr().Is4In6() {
			t.Fatalf("ends %v", h)
		}
		if h.client.Addr().Is4() && h.server.Addr().Is4() {
			line := "PROXY TCP4 " + h.client.Addr().String() + " " + h.server.Addr().String() + " " + port(h.client) + " " + port(h.server) + "\r\n"
			if same, _, err := parseProxyHeader([]byte(line)); err != nil || same != h {
				t.Fatalf("%q: %v, %v", line, same, err)
			}
		}
	})
}

func port(ap netip.AddrPort) string { return ap.String()[len(ap.Addr().String())+1:] }
