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
			b = appendKeyed(append(b, '='), f, name)
		}
		b = appendUnderscored(b, f, name)
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

// appendKeyed appends a field's value as it counts for a key: as for Vary, but of a field that may be no list empty members stay. To an origin
// that takes it for no list, ",gold" is not "gold".
func appendKeyed(b []byte, f message.Fields, name string) []byte {
	if kindOf(name) != listField {
		return appendNormalised(b, f, name)
	}
	found := false
	for i := range f {
		if f[i].Name != name {
			continue
		}
		if found {
			b = append(b, ',')
		}
		found = true
		for value := f[i].Value; ; b = append(b, ',') {
			m, rest, _ := cutQuoted(value)
			b = append(b, trimOWS(m)...)
			if len(m) == len(value) {
				break
			}
			value = rest
		}
	}
	return b
}

// appendUnderscored appends the fields that many servers take for the one of that name, as they make "_" of "-".
func appendUnderscored(b []byte, f message.Fields, name string) []byte {
	if strings.IndexByte(name, '-') < 0 {
		return b
	}
	for i := range f {
		if n := f[i].Name; n != name && len(n) == len(name) && underscored(n, name) {
			b = append(append(append(append(b, selectedMark), n...), '='), f[i].Value...)
		}
	}
	return b
}

func underscored(a, b string) bool {
	for i := range len(a) {
		x, y := a[i], b[i]
		if x != y && (x != '_' && x != '-' || y != '_' && y != '-') {
			return false
		}
	}
	return true
}

// appendCookie appends "=" and the cookie's value. One that comes several times is there with every value, each further one after a ";": some
// origins take the first, some the last. So is, whole, what only some origins read as the cookie: with other case, white space, "." for "_", or as
// a member of an array, behind a comma, or in quotes that go on behind a ";".
func appendCookie(b []byte, f message.Fields, name string) []byte {
	start := len(b)
	for i := range f {
		if f[i].Name != "cookie" {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var pair string
			before := rest
			pair, rest, _ = strings.Cut(rest, ";")
			n, value, ok := strings.Cut(trimOWS(pair), "=")
			switch {
			case ok && len(value) > 0 && value[0] == '"' && !strings.HasSuffix(value[1:], `"`) && rest != "":
				b = append(append(b, ';'), before...) // whoever minds quotes finds other cookies in it
				rest = ""
			case ok && n == name:
				if len(b) > start {
					b = append(b, ';')
				}
				b = append(append(b, '='), value...)
			case readsAs(pair, name):
				b = append(append(b, ';'), pair...)
			}
		}
	}
	return b
}

// readsAs reports whether some origin finds the cookie of that name in a pair.
func readsAs(pair, name string) bool {
	for rest := pair; rest != ""; {
		var p string
		p, rest, _ = strings.Cut(rest, ",")
		p, _, _ = strings.Cut(p, "=")
		if p = strings.Trim(p, " \t"); len(p) >= len(name) && namesCookie(p, name) {
			return true
		}
	}
	return false
}

// namesCookie compares them as the most lenient origins do: see allows.
func namesCookie(p, name string) bool {
	rest, ok := cutLenient(p, name)
	return ok && endsName(rest)
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

// url is the key of the URL alone, and of no part.
func (k Key) url() Key {
	k, _ = k.split()
	k.part = wholePart
	return k
}

// kinBits are the bits of a hash that choose the shard and the slot of a purge: keys of one URL share them, so that one purge finds them all.
const kinBits = uint64(shardCount-1) | uint64(purgeSlots-1)<<32

// kinHash is the hash of a key with selected parts, from that of its URL.
func kinHash(seed maphash.Seed, url uint64, selected string) uint64 {
	const mix = 0x9e3779b97f4a7c15
	return url&kinBits | (url^maphash.String(seed, selected)*mix)&^kinBits
}
