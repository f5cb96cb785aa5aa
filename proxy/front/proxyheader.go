package front

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol is HAProxy's "proxy-protocol.txt", sections 2.1 (version 1) and 2.2 (version 2).

const (
	maxProxyV1 = 107 // bytes, CR LF included
	// maxProxyV2 bounds a header of version 2: the longest addresses are 36 bytes, the rest is for TLVs, which are checked and skipped.
	maxProxyV2 = 4 << 10
)

const (
	proxyV1 = "PROXY "
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n"
)

var errProxyHeader = errors.New("malformed PROXY protocol header")

// proxyHeader is what a load balancer tells of a connection.
type proxyHeader struct {
	// client and server are the ends of the client's connection to the load balancer. They are invalid where it speaks for itself,
	// as in its health checks, or does not know.
	client, server netip.AddrPort
}

// readProxyHeader reads a header from the beginning of a connection. ahead is what was read after it.
func readProxyHeader(r io.Reader) (h proxyHeader, ahead []byte, err error) {
	buf := make([]byte, 256)
	have := 0
	for {
		n, err := r.Read(buf[have:])
		have += n
		h, size, perr := parseProxyHeader(buf[:have])
		switch {
		case perr != nil:
			return proxyHeader{}, nil, perr
		case size > 0:
			return h, buf[size:have:have], nil
		case err == io.EOF && have > 0:
			return proxyHeader{}, nil, io.ErrUnexpectedEOF
		case err != nil:
			return proxyHeader{}, nil, err
		}
		if have == len(buf) { // only of version 2, whose length is known by now and within bounds
			buf = append(buf, make([]byte, proxyV2Size(buf)-have)...)
		}
	}
}

// parseProxyHeader parses the header that b begins with. size is its length, 0 when more is needed to tell.
func parseProxyHeader(b []byte) (h proxyHeader, size int, err error) {
	switch {
	case begins(b, proxyV1):
		return parseProxyV1(b)
	case begins(b, proxyV2):
		return parseProxyV2(b)
	}
	return proxyHeader{}, 0, errProxyHeader
}

// begins reports whether b begins with prefix, or is a part of it.
func begins(b []byte, prefix string) bool {
	n := min(len(b), len(prefix))
	return string(b[:n]) == prefix[:n]
}

func parseProxyV1(b []byte) (h proxyHeader, size int, err error) {
	line, _, found := bytes.Cut(b[:min(len(b), maxProxyV1)], []byte("\r\n"))
	if !found {
		line = bytes.TrimSuffix(line, []byte("\r"))
	}
	if !printable(line) || !found && len(b) >= maxProxyV1 {
		return h, 0, errProxyHeader
	}
	if !found {
		return h, 0, nil
	}
	size = len(line) + 2
	if len(line) < len(proxyV1) {
		return h, 0, errProxyHeader
	}
	rest := string(line[len(proxyV1):])
	if family, _, _ := strings.Cut(rest, " "); family == "UNKNOWN" {
		return h, size, nil // what follows is to be ignored
	}
	f := strings.Split(rest, " ")
	if len(f) != 5 || f[0] != "TCP4" && f[0] != "TCP6" {
		return h, 0, errProxyHeader
	}
	client, ok1 := proxyV1Address(f[0], f[1], f[3])
	server, ok2 := proxyV1Address(f[0], f[2], f[4])
	if !ok1 || !ok2 {
		return h, 0, errProxyHeader
	}
	return proxyHeader{client, server}, size, nil
}

func printable(line []byte) bool {
	return bytes.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

func proxyV1Address(family, addr, port string) (ap netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" || a.Is4() != (family == "TCP4") {
		return ap, false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port { // no sign, no leading zeros
		return ap, false
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}

// proxyV2Size is the size of the header of version 2 that b begins with, of which at least 16 bytes are there.
func proxyV2Size(b []byte) int { return 16 + int(binary.BigEndian.Uint16(b[14:])) }

func parseProxyV2(b []byte) (h proxyHeader, size int, err error) {
	if len(b) > 12 && b[12] != 0x20 && b[12] != 0x21 { // version 2, LOCAL or PROXY
		return h, 0, errProxyHeader
	}
	if len(b) < 16 {
		return h, 0, nil
	}
	size = proxyV2Size(b)
	if size > maxProxyV2 {
		return h, 0, errProxyHeader
	}
	if len(b) < size {
		return h, 0, nil
	}
	const tcp4, tcp6, unspecified = 0x11, 0x21, 0x00
	body := b[16:size]
	switch family := b[13]; {
	case b[12] == 0x20, family == unspecified:
		return h, size, nil // whatever the rest says is to be ignored
	case family == tcp4 && len(body) >= 12:
		h.client = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		h.server = netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[4:])), binary.BigEndian.Uint16(body[10:]))
		body = body[12:]
	case family == tcp6 && len(body) >= 36:
		h.client = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body)).Unmap(), binary.BigEndian.Uint16(body[32:]))
		h.server = netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[16:])).Unmap(), binary.BigEndian.Uint16(body[34:]))
		body = body[36:]
	default:
		return h, 0, errProxyHeader
	}
	if !validTLVs(b[:size], body) {
		return proxyHeader{}, 0, errProxyHeader
	}
	return h, size, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// validTLVs checks that tlvs, the end of header, are whole, and the checksum where there is one. What they say is of no use here.
func validTLVs(header, tlvs []byte) bool {
	const crc32c = 0x03
	for len(tlvs) > 0 {
		if len(tlvs) < 3 {
			return false
		}
		n := int(binary.BigEndian.Uint16(tlvs[1:]))
		if len(tlvs) < 3+n {
			return false
		}
		if tlvs[0] == crc32c {
			if n != 4 {
				return false
			}
			at := len(header) - len(tlvs) + 3
			sum := crc32.Update(0, castagnoli, header[:at]) // the field itself counts as zeros
			sum = crc32.Update(sum, castagnoli, make([]byte, 4))
			sum = crc32.Update(sum, castagnoli, header[at+4:])
			if sum != binary.BigEndian.Uint32(tlvs[3:]) {
				return false
			}
		}
		tlvs = tlvs[3+n:]
	}
	return true
}
