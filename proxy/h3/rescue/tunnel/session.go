package tunnel

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"

	"nearcast/fleet/keys"
)

// trunk is what hellos in one direction are sealed with in an epoch, and sessions begun with: a key that is the same at each start.
type trunk struct {
	key   keys.Key
	epoch keys.Epoch
	aead  cipher.AEAD
}

// newTrunk derives the key for that direction.
func newTrunk(s *keys.Secret, e keys.Epoch, from, to uint32) *trunk {
	context := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, from), to)
	t := &trunk{key: s.Key(keys.Tunnel, e, string(context)), epoch: e}
	t.aead = newAEAD(expand(t.key, nil, "hello", 16))
	return t
}

// opens are the trunks that the peer's hellos are opened with: those of all secrets, by the low bits of the epoch.
type opens struct {
	ring   *keys.Ring
	epoch  keys.Epoch
	trunks [epochMask + 1][]*trunk
}

// newOpens derives them for the epoch and those next to it, for clocks differ.
func newOpens(ring *keys.Ring, epoch keys.Epoch, from, to uint32) *opens {
	o := &opens{ring: ring, epoch: epoch}
	for e := epoch - 1; e != epoch+2; e++ {
		for _, s := range ring.All() {
			o.trunks[e&epochMask] = append(o.trunks[e&epochMask], newTrunk(s, e, from, to))
		}
	}
	return o
}

// has reports whether a session that was begun with t is still good.
func (o *opens) has(t *trunk) bool {
	for _, u := range o.trunks[t.epoch&epochMask] {
		if u.key == t.key {
			return true
		}
	}
	return false
}

// session is one side's part in the keys that packets are sealed with. The other's is independent of it.
type session struct {
	id    nonce
	trunk *trunk // of the direction in which that side sends
}

// pair is what two sessions, ours and the peer's, make: a key for each direction, which was never before, and never is again.
type pair struct {
	out    cipher.AEAD
	outID  uint32
	in     cipher.AEAD
	inID   uint32
	window window // of what came in
}

func newPair(ours, theirs session) *pair {
	p := new(pair)
	p.out, p.outID = dataKey(ours, theirs.id)
	p.in, p.inID = dataKey(theirs, ours.id)
	return p
}

// dataKey is the key for what the sender seals, and the number that the datagrams name it by.
func dataKey(sender session, receiver nonce) (cipher.AEAD, uint32) {
	b := expand(sender.trunk.key, append(sender.id[:], receiver[:]...), "packets", 16+4)
	return newAEAD(b[:16]), binary.BigEndian.Uint32(b[16:])
}

func expand(key keys.Key, salt []byte, info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, key[:], salt, "nearcast tunnel v1 "+info, n)
	if err != nil {
		panic("tunnel: " + err.Error()) // not with that length and hash
	}
	return b
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err == nil {
		var a cipher.AEAD
		if a, err = cipher.NewGCM(block); err == nil {
			return a
		}
	}
	panic("tunnel: " + err.Error()) // not with 16 bytes
}

// receivers are the pairs whose packets are opened, the newest first. It does not change.
type receivers struct {
	n     int
	pairs [4]*pair
}

func (r *receivers) find(id uint32) *pair {
	for _, p := range r.pairs[:r.n] {
		if p.inID == id {
			return p
		}
	}
	return nil
}
