package h3

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"github.com/quic-go/quic-go"
)

// CIDLen is the length of every connection ID that a server of ours gives out. A short header does not carry the length,
// so all edges must use the same.
const CIDLen = 17

// CIDKey encrypts connection IDs, so that nobody outside can link two of one connection or see which edge holds it.
type CIDKey [16]byte

// Place is where a QUIC connection lives: what a packet's connection ID must say so that whoever gets the packet,
// after a route has moved or a process was replaced, can send it on.
type Place struct {
	Edge     uint16 // the edge's number in the fleet; 0 without a fleet
	Instance uint8  // the process on that edge: each start takes the next one
	Worker   uint8  // the socket of that process
}

// CIDCodec writes and reads connection IDs in the "single pass" form of draft-ietf-quic-load-balancers-21 §5.4.1:
//
//	octet  0     3 bits configuration (0) | 5 bits length - 1 (16)
//	octets 1-16  AES-128-ECB( edge 2 | instance 1 | worker 1 | check 4, zero | nonce 8 )
//
// The check makes a connection ID that a client chose at random pass for ours with a probability of 2^-32.
type CIDCodec struct {
	block cipher.Block
}

const cidFirstOctet = CIDLen - 1

// NewCIDCodec returns the codec for key. Edges that share the key read each other's connection IDs.
func NewCIDCodec(key CIDKey) *CIDCodec {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("h3: " + err.Error()) // not with 16 bytes
	}
	return &CIDCodec{block: block}
}

// Encode returns the connection ID for p; nonce tells those of one place apart.
func (c *CIDCodec) Encode(p Place, nonce uint64) (cid [CIDLen]byte) {
	cid[0] = cidFirstOctet
	b := cid[1:]
	binary.BigEndian.PutUint16(b, p.Edge)
	b[2], b[3] = p.Instance, p.Worker
	binary.BigEndian.PutUint64(b[8:], nonce)
	c.block.Encrypt(b, b)
	return cid
}

// Decode returns the place that cid names. ok is false when cid is none of ours.
func (c *CIDCodec) Decode(cid []byte) (p Place, ok bool) {
	if len(cid) != CIDLen || cid[0] != cidFirstOctet {
		return Place{}, false
	}
	var b [aes.BlockSize]byte
	c.block.Decrypt(b[:], cid[1:])
	if binary.BigEndian.Uint32(b[4:]) != 0 {
		return Place{}, false
	}
	return Place{Edge: binary.BigEndian.Uint16(b[:]), Instance: b[2], Worker: b[3]}, true
}

// cidGenerator gives out connection IDs of one place.
type cidGenerator struct {
	codec *CIDCodec
	place Place
}

// GenerateConnectionID implements quic.ConnectionIDGenerator.
func (g *cidGenerator) GenerateConnectionID() (quic.ConnectionID, error) {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return quic.ConnectionID{}, err
	}
	cid := g.codec.Encode(g.place, binary.BigEndian.Uint64(nonce[:]))
	return quic.ConnectionIDFromBytes(cid[:]), nil
}

// ConnectionIDLen implements quic.ConnectionIDGenerator.
func (g *cidGenerator) ConnectionIDLen() int { return CIDLen }
