package ech

import "encoding/binary"

// The numbers of RFC 9849 §4 and of RFC 9180 §7.
const (
	version      = 0xfe0d
	kemX25519    = 0x0020 // DHKEM(X25519, HKDF-SHA256)
	kdfSHA256    = 0x0001 // HKDF-SHA256
	aeadAES128   = 0x0001 // AES-128-GCM
	aeadChaCha20 = 0x0003 // ChaCha20Poly1305
	headLength   = 4      // of version and length
)

// maxName is what clients pad shorter names to. It is the same in every edge, whatever its services are, for the configurations must be equal to the octet.
const maxName = 64

// MaxPublicName is how long a public name can be, in octets.
const MaxPublicName = 253

// config encodes an ECHConfig.
func config(id uint8, public []byte, publicName string) []byte {
	b := make([]byte, headLength, 128+len(publicName))
	b = append(b, id)
	b = binary.BigEndian.AppendUint16(b, kemX25519)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(public))), public...)
	suites := []uint16{kdfSHA256, aeadAES128, kdfSHA256, aeadChaCha20}
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(suites)))
	for _, s := range suites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	b = append(b, maxName, uint8(len(publicName)))
	b = append(b, publicName...)
	b = binary.BigEndian.AppendUint16(b, 0) // no extensions
	binary.BigEndian.PutUint16(b, version)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-headLength))
	return b
}

// list encodes an ECHConfigList of one.
func list(config []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}
