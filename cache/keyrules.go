package cache

import (
	"hash/maphash"
	"strings"
	"unsafe"

	"nearcast/proxy/message"
)

// KeyBuffer holds what rules make of a key. It may be used again once the key made with it is not used any more.
type KeyBuffer []byte

// KeyOf is the key of r within a service under the policy's rules. The key may refer to buf's memory, as it does to r's strings; a nil buf
// gives it memory of its own.
func (p *Policy) KeyOf(service string, r *message.Request, buf *KeyBuffer) Key {
	if p.Key.any() {
		return p.Key.keyOf(service, r, buf)
	}
	return KeyOf(service, r)
}

// any reports whether there is any rule.
func (k *KeyRules) any() bool {
	return k.IgnoreHost || k.IgnoreScheme || k.Device || k.Query.any() || k.selects()
}

func (q *QueryRules) any() bool { return q.Mode != QueryAll || q.Sort }

// selects reports whether more than the URL is part of the key.
func (k *KeyRules) selects() bool { return k.Device || len(k.Headers) > 0 || len(k.Cookies) > 0 }

func (k *KeyRules) keyOf(service string, r *message.Request, buf *KeyBuffer) Key {
	key := KeyOf(service, r)
	if k.IgnoreHost {
		key.authority = ""
	}
	if k.IgnoreScheme {
		key.scheme = ""
	}
	if !k.Query.any() && !k.selects() {
		return key
	}
	var b []byte
	if buf != nil {
		b = (*buf)[:0]
	}
	if k.Query.any() {
		b = appendQuery(b, key.query, &k.Query)
		key.hasQuery = len(b) > 0
	} else {
		b = append(b, key.query...)
	}
	b = k.appendSelected(b, r.Fields)
	key.selected = k.selects()
	if buf != nil {
		*buf = b
	}
	key.query = unsafe.String(unsafe.SliceData(b), len(b)) // valid as long as b is not written again
	return key
}

// A key's query has behind it, each after a NUL, what rules add to the URL: a field, a cookie, the device class. No part holds a NUL of its own:
// front ends refuse it. So a key says by which rules it was made, and those of other rules never meet it.
const selectedMark = '\x00'

// appendSelected appends the parts. One that the request does not have stands without "=", since absent is not empty.
func (k *KeyRules) appendSelected(b []byte, f message.Fields) []byte {
	for _, name := range k.Headers {
		b = append(append(b, selectedMark), name...)
		if f.Has(name) {
			b = appendNormalised(append(b, '='), f, name)
		}
	}
	for _, name := range k.Cookies {
		b = append(append(append(b, selectedMark), "cookie:"...), name...)
		b = appendCookie(b, f, name)
	}
	if k.Device {
		b = append(append(b, selectedMark), "device="...)
		b = append(b, DeviceClass(f)...)
	}
	return b
}

// appendCookie appends "=" and the cookie's value. One that comes several times is there with every value: some origins take the first,
// some the last.
func appendCookie(b []byte, f message.Fields, name string) []byte {
	for i := range f {
		if f[i].Name != "cookie" {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			if n, value, ok := strings.Cut(trimOWS(pair), "="); ok && n == name {
				b = append(append(b, '='), value...)
			}
		}
	}
	return b
}

// split cuts what rules added, marks included, off the key of the URL alone.
func (k Key) split() (url Key, selected string) {
	if !k.selected {
		return k, ""
	}
	if i := strings.IndexByte(k.query, selectedMark); i >= 0 {
		k.query, selected = k.query[:i], k.query[i:]
	}
	k.selected = false
	return k, selected
}

// url is the key of the URL alone.
func (k Key) url() Key {
	k, _ = k.split()
	return k
}

// kinBits are the bits of a hash that choose the shard and the slot of a purge: keys of one URL share them, so that one purge finds them all.
const kinBits = uint64(shardCount-1) | uint64(purgeSlots-1)<<32

// kinHash is the hash of a key with selected parts, from that of its URL.
func kinHash(seed maphash.Seed, url uint64, selected string) uint64 {
	const mix = 0x9e3779b97f4a7c15
	return url&kinBits | (url^maphash.String(seed, selected)*mix)&^kinBits
}
