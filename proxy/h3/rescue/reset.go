package rescue

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"time"

	"nearcast/fleet/keys"
	"nearcast/proxy/h3/cid"
)

const (
	tokenLen = 16
	// minReset is the shortest that a client takes for a stateless reset, RFC 9000 §10.3: 38 unpredictable bits and a token.
	minReset = 21
	// maxReset is what it needs to look like any packet with the longest connection ID.
	maxReset = 1 + 20 + 4 + 1 + tokenLen
)

// resetFor returns a stateless reset (RFC 9000 §10.3) for the connection whose ID a packet of size octets had, in b; nil when the packet is too short to
// be answered with something shorter, as it must be so that two endpoints can't answer each other's for ever.
func resetFor(b *[maxReset]byte, size int, id [cid.Len]byte, p cid.Place, by *keys.Secret, now time.Time) []byte {
	n := min(size-1, maxReset)
	if n < minReset {
		return nil
	}
	head := b[:n-tokenLen]
	rand.Read(head) // never fails
	head[0] = head[0]&0x3f | 0x40
	key := by.Key(keys.Reset, cid.Epoch(p.Generation, now), "")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(id[:])
	var sum [sha256.Size]byte
	copy(b[n-tokenLen:n], mac.Sum(sum[:0]))
	return b[:n]
}
