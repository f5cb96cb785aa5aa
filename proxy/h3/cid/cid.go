// Package cid writes and reads QUIC connection IDs that name the edge, the process and the socket that hold the connection.
package cid

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"nearcast/fleet/keys"
)

const (
	// Len is the length of every connection ID that we give out. A short header does not carry it, so all edges must use the same.
	Len = 17
	// MaxWorkers is how many sockets of a process can be named.
	MaxWorkers = 32
	// EpochsRead is how many epochs a connection ID is read after that in which it was written.
	EpochsRead = 5

	configurations = 7 // numbers for the epochs' keys; the eighth is reserved for what can't be routed
)

// Place is where a QUIC connection lives: what a packet's connection ID must say so that whoever gets the packet, after a route has moved or
// a process was replaced, can send it on.
type Place struct {
	Edge       uint32 // the edge's number in the fleet; see [EdgeNumber]
	Generation uint16 // the low bits of the epoch of the keys that the connection's resets and tokens are made with
	Instance   uint8  // the process on that edge, random for each start
	Worker     uint8  // the socket of that process, less than MaxWorkers
}

// Codec writes and reads connection IDs in the "single pass" form of draft-ietf-quic-load-balancers-21 §5.4.1:
//
//	octet  0     3 bits configuration: the epoch modulo 7 | 5 bits worker, in clear for the kernel's filter
//	octets 1-16  AES-128-ECB( edge 4 | generation 2 | instance 1 | worker 1 | check 4, zero | nonce 4 )
//
// The check makes a connection ID that a client chose at random pass for ours with a probability of 2^-32 for each secret.
type Codec struct {
	ring  func() *keys.Ring
	own   *keys.Secret
	table atomic.Pointer[table]
}

type table struct {
	ring  *keys.Ring
	epoch keys.Epoch
	write cipher.Block
	read  [configurations][]entry // that of the own secret first
}

type entry struct {
	key    keys.Key
	block  cipher.Block
	secret *keys.Secret
}

// NewCodec returns a codec that reads with the secrets that ring returns, which may be others later. It writes with that which is the first now,
// and goes on to read with it, so that connection IDs and what else is made of it belong together for as long as the codec lives.
func NewCodec(ring func() *keys.Ring, now time.Time) *Codec {
	c := &Codec{ring: ring, own: ring().First()}
	c.Refresh(now)
	return c
}

// Own is the secret that the codec writes with.
func (c *Codec) Own() *keys.Secret { return c.own }

// Refresh takes the keys of that time. Call it at least once a minute.
func (c *Codec) Refresh(now time.Time) {
	ring, epoch := c.ring(), keys.At(now)
	if t := c.table.Load(); t != nil && t.ring == ring && t.epoch == epoch {
		return
	}
	t := &table{ring: ring, epoch: epoch}
	for e := epoch - EpochsRead; e <= epoch+1; e++ {
		t.add(c.own, e)
		for _, s := range ring.All() {
			t.add(s, e)
		}
	}
	t.write = t.read[epoch%configurations][0].block
	c.table.Store(t)
}

// scratch is for blocks on their way into a cipher: being an interface, it would have each of them allocated.
var scratch = sync.Pool{New: func() any { return new([aes.BlockSize]byte) }}

// add reads with a secret's key of an epoch from now on. A file that was read again has the same secrets in other places.
func (t *table) add(s *keys.Secret, e keys.Epoch) {
	key := s.Key(keys.ConnectionID, e, "")
	at := &t.read[e%configurations]
	for i := range *at {
		if (*at)[i].key == key {
			return
		}
	}
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		panic("cid: " + err.Error()) // not with 16 bytes
	}
	*at = append(*at, entry{key, block, s})
}

// Encode returns the connection ID for p; nonce tells those of one place apart and must not be used twice for it.
func (c *Codec) Encode(p Place, nonce uint32) (id [Len]byte) {
	t := c.table.Load()
	id[0] = byte(t.epoch%configurations)<<5 | p.Worker&(MaxWorkers-1)
	b := scratch.Get().(*[aes.BlockSize]byte)
	defer scratch.Put(b)
	binary.BigEndian.PutUint32(b[:], p.Edge)
	binary.BigEndian.PutUint16(b[4:], p.Generation)
	b[6], b[7] = p.Instance, p.Worker
	binary.BigEndian.PutUint32(b[8:], 0)
	binary.BigEndian.PutUint32(b[12:], nonce)
	t.write.Encrypt(b[:], b[:])
	copy(id[1:], b[:])
	return id
}

// Decode returns the place that id names, and the secret of the edge that wrote it. ok is false when id is none of ours.
func (c *Codec) Decode(id []byte) (p Place, by *keys.Secret, ok bool) {
	if len(id) != Len || id[0]>>5 >= configurations {
		return Place{}, nil, false
	}
	b := scratch.Get().(*[aes.BlockSize]byte)
	defer scratch.Put(b)
	read := c.table.Load().read[id[0]>>5]
	for i := range read {
		read[i].block.Decrypt(b[:], id[1:])
		if binary.BigEndian.Uint32(b[8:]) == 0 && b[7] == id[0]&(MaxWorkers-1) {
			return Place{Edge: binary.BigEndian.Uint32(b[:]), Generation: binary.BigEndian.Uint16(b[4:]), Instance: b[6], Worker: b[7]}, read[i].secret, true
		}
	}
	return Place{}, nil, false
}

// Epoch is the full number of a generation: that next to now.
func Epoch(generation uint16, now time.Time) keys.Epoch {
	e := keys.At(now)
	return e + keys.Epoch(int32(int16(generation-uint16(e))))
}
