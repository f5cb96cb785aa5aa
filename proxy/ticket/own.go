package ticket

import (
	"crypto/rand"
	"time"
)

const (
	keyAge  = 24 * time.Hour     // a key makes tickets for so long
	keyKept = 7 * 24 * time.Hour // and reads them for so long after: no ticket lives longer (RFC 8446 §4.6.1)
)

// own are random keys.
type own struct{ keys []ownKey } // the newest first

type ownKey struct {
	key     [32]byte
	made    time.Time
	retired time.Time // when the next was made
}

// refresh makes a new key when it is time.
func (o *own) refresh(now time.Time) (all [][32]byte, changed bool) {
	if len(o.keys) > 0 && now.Sub(o.keys[0].made) < keyAge {
		return nil, false
	}
	if len(o.keys) > 0 {
		o.keys[0].retired = now
	}
	k := ownKey{made: now}
	_, _ = rand.Read(k.key[:]) // never fails
	kept := []ownKey{k}
	for _, old := range o.keys {
		if now.Sub(old.retired) < keyKept {
			kept = append(kept, old)
		}
	}
	o.keys = kept
	for i := range kept {
		all = append(all, kept[i].key)
	}
	return all, true
}
