package cache

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// A record is the byte form of a stored response without its body: no pointers, no offsets, the same on every machine.
//
//	record   = version flags status length received terms [part] key selectors fields trailers began tags
//	flags    = one bit each, as flagsOf has them, the last one for a part
//	received = seconds nanoseconds                     of the wall clock
//	terms    = initialAge lifetime staleWhileRevalidate staleIfError, in nanoseconds
//	part     = start end generation                    of a stored part of a body
//	key      = service scheme authority path query part
//	lines    = count *( name value )                   selectors, fields and trailers alike
//	name     = index in fieldNamesTable + 1, or 0 string
//	string   = length *byte
//	tags     = count *( eight bytes, the lowest first )   in rising order
//
// Numbers are varints, those that may be negative zigzag. Whoever adds a field to Object, terms, Key or selector adds it here and raises
// recordVersion: a record of another version is not read, which costs one fetch.

// recordVersion is the first byte of a record.
const recordVersion = 3

// maxLines bounds the lines of each list in a record: far beyond what a header section of the largest size can have.
const maxLines = 1 << 16

// errRecord: the bytes are no record of this version.
var errRecord = errors.New("cache: not a record of this version")

// flagsOf are the parts of a record that are true or false, in their order.
func flagsOf(key *Key, o *Object) [7]*bool {
	return [...]*bool{&key.hasQuery, &o.staleIfErrorSet, &o.noCache, &o.neverStale, &o.staleAsStated, &o.softened, &o.tags.all}
}

// recordPart is the flag behind them.
const recordPart = 1 << 7

// record is a decoded one. Its strings share one memory of their own.
type record struct {
	key      Key
	obj      *Object // without body
	sel      []selector
	trailers message.Fields
}

// recordOf is the record of a complete object. Its buffer is not on the stack: see Fill.keep.
func recordOf(key Key, o *Object, sel []selector) []byte {
	return appendRecord(make([]byte, 0, len(o.Fields)*32+256), key, o, sel)
}

// appendRecord appends the record of a complete object.
func appendRecord(dst []byte, key Key, o *Object, sel []selector) []byte {
	var flags uint64
	for i, set := range flagsOf(&key, o) {
		if *set {
			flags |= 1 << i
		}
	}
	if o.part != nil {
		flags |= recordPart
	}
	dst = binary.AppendUvarint(append(dst, recordVersion), flags)
	dst = binary.AppendUvarint(dst, uint64(o.Status))
	dst = binary.AppendVarint(dst, o.Length)
	dst = binary.AppendVarint(dst, o.received.Unix())
	dst = binary.AppendUvarint(dst, uint64(o.received.Nanosecond()))
	for _, d := range [...]time.Duration{o.initialAge, o.lifetime, o.staleWhileRevalidate, o.staleIfError} {
		dst = binary.AppendVarint(dst, int64(d))
	}
	if o.part != nil {
		dst = binary.AppendVarint(dst, o.part.Start)
		dst = binary.AppendVarint(dst, o.part.End)
		dst = binary.AppendUvarint(dst, o.part.gen)
	}
	for _, s := range [...]string{key.service, key.scheme, key.authority, key.path, key.query} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendVarint(dst, int64(key.part))
	dst = binary.AppendUvarint(dst, uint64(len(sel)))
	for _, s := range sel {
		dst = appendLine(dst, s.name, s.value)
	}
	dst = appendLines(dst, o.Fields)
	var trailers message.Fields
	if o.body != nil {
		trailers = o.Trailers()
	}
	dst = binary.AppendUvarint(appendLines(dst, trailers), o.began)
	dst = binary.AppendUvarint(dst, uint64(len(o.tags.hashes)))
	for _, h := range o.tags.hashes {
		dst = binary.LittleEndian.AppendUint64(dst, h)
	}
	return dst
}

func appendLines(dst []byte, f message.Fields) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(f)))
	for i := range f {
		dst = appendLine(dst, f[i].Name, f[i].Value)
	}
	return dst
}

func appendLine(dst []byte, name, value string) []byte {
	if i, ok := fieldNameIndex[name]; ok {
		dst = append(dst, i)
	} else {
		dst = appendString(append(dst, 0), name)
	}
	return appendString(dst, value)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// parseRecord reads what appendRecord has written, and nothing else: every byte must be used, and every value be one that a stored
// response can have. It keeps no part of b.
func parseRecord(b []byte) (record, error) {
	rec := record{obj: new(Object)}
	d := decoder{rest: string(b)}
	if !rec.parse(&d) {
		return record{}, errRecord
	}
	return rec, nil
}

// parse reads the record that is all of d's bytes. Its strings are parts of those.
func (rec *record) parse(d *decoder) bool {
	o := rec.obj
	d.head(&rec.key, o)
	rec.sel = d.selectors()
	o.Fields = d.lines()
	rec.trailers = d.lines()
	o.began, o.tags.hashes = d.uvarint(), d.hashes(nil)
	return !d.bad && d.rest == ""
}

// head reads what comes before the lists.
func (d *decoder) head(key *Key, o *Object) {
	if d.rest == "" || d.rest[0] != recordVersion {
		d.fail()
		return
	}
	d.rest = d.rest[1:]
	flags := d.uvarint()
	o.Status, o.Length = int(d.uvarint()), d.varint()
	seconds, nanoseconds := d.varint(), d.uvarint()
	o.received = time.Unix(seconds, int64(nanoseconds%1e9))
	o.terms = terms{
		initialAge: d.duration(), lifetime: d.duration(), staleWhileRevalidate: d.duration(), staleIfError: d.duration(),
	}
	if flags&recordPart != 0 {
		flags &^= recordPart
		o.part = &extent{Range{d.varint(), d.varint()}, d.uvarint()}
		if rg := o.part.Range; rg.Start < 0 || rg.Start > rg.End || rg.End > o.Length {
			d.fail()
		}
	}
	*key = Key{
		service: d.string(), scheme: d.string(), authority: d.string(), path: d.string(), query: d.string(), part: part(d.varint()),
	}
	for i, set := range flagsOf(key, o) {
		*set, flags = flags&(1<<i) != 0, flags&^(1<<i)
	}
	key.selected = strings.IndexByte(key.query, selectedMark) >= 0
	if flags != 0 || o.Status < 200 || o.Status > 599 || o.Length < -1 || nanoseconds >= 1e9 || !key.hasQuery && key.url().query != "" {
		d.fail()
	}
}

// decoder reads from the front of a string. After a fault everything is zero.
type decoder struct {
	rest string
	bad  bool
	// trusted: the bytes have not left the process since they were written, and names and values need no second look.
	trusted bool
	// Memory that the lists are put into as far as it goes.
	fieldRoom    message.Fields
	selectorRoom []selector
}

func (d *decoder) fail() {
	d.rest, d.bad = "", true
}

// uvarint reads a number in its shortest form.
func (d *decoder) uvarint() uint64 {
	var n uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if c == 0 && i > 0 || i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		d.rest = d.rest[i+1:]
		return n
	}
	d.fail()
	return 0
}

func (d *decoder) varint() int64 {
	n := d.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

// duration reads one that is not negative: no term is.
func (d *decoder) duration() time.Duration {
	n := d.varint()
	if n < 0 {
		d.fail()
		return 0
	}
	return time.Duration(n)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// count reads the length of a list of lines.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > maxLines || n > uint64(len(d.rest))/2 { // a line takes two bytes at least
		d.fail()
		return 0
	}
	return int(n)
}

// lines reads a list, whose values must be such that a field line can have.
func (d *decoder) lines() message.Fields {
	n := d.count()
	if n == 0 {
		return nil
	}
	var f message.Fields
	if n <= len(d.fieldRoom) {
		f, d.fieldRoom = d.fieldRoom[:n:n], d.fieldRoom[n:]
	} else {
		f = make(message.Fields, n)
	}
	for i := range f {
		f[i].Name, f[i].Value = d.name(), d.string()
		if !d.trusted && !isFieldText(f[i].Value) {
			d.fail()
		}
		if d.bad {
			return nil
		}
	}
	return f
}

func (d *decoder) selectors() []selector {
	n := d.count()
	if n == 0 {
		return nil
	}
	sel := d.selectorRoom[:0]
	if n > cap(sel) {
		sel = make([]selector, 0, n)
	}
	for range n {
		if sel = append(sel, selector{d.name(), d.string()}); d.bad {
			return nil
		}
	}
	return sel
}

// skipLines goes past a list of trusted lines.
func (d *decoder) skipLines() {
	for range d.count() {
		if d.uvarint() == 0 {
			d.string()
		}
		d.string()
	}
}

func (d *decoder) name() string {
	i := d.uvarint()
	if i > 0 && i <= uint64(len(fieldNamesTable)) {
		return fieldNamesTable[i-1]
	}
	s := d.string()
	if d.trusted {
		return s
	}
	if _, known := fieldNameIndex[s]; i > 0 || known || !message.IsLowerToken(s) {
		d.fail()
		return ""
	}
	return s
}

// hashes reads those of tags, into room as far as it goes.
func (d *decoder) hashes(room []uint64) []uint64 {
	n := d.uvarint()
	if n > maxTags || 8*n > uint64(len(d.rest)) {
		d.fail()
	}
	if n == 0 || d.bad {
		return nil
	}
	all := room[:0]
	if int(n) > cap(all) {
		all = make([]uint64, n)
	}
	all = all[:n]
	for i := range all {
		var b [8]byte
		copy(b[:], d.rest)
		d.rest = d.rest[8:]
		if all[i] = binary.LittleEndian.Uint64(b[:]); i > 0 && all[i] <= all[i-1] {
			d.fail()
			return nil
		}
	}
	return all
}

// isFieldText: nothing that could end a line (RFC 9110 §5.5).
func isFieldText(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c == 0 || c == '\r' || c == '\n' {
			return false
		}
	}
	return true
}

// fieldNamesTable has the names that most responses use, so that a record spends one byte on each. Their order is part of the format:
// new ones go to the end, with a new version. There are at most 127.
var fieldNamesTable = [...]string{
	"accept-ranges", "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
	"access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "allow", "alt-svc", "cache-control",
	"cdn-cache-control", "content-disposition", "content-encoding", "content-language", "content-location", "content-range",
	"content-security-policy", "content-type", "cross-origin-embedder-policy", "cross-origin-opener-policy", "cross-origin-resource-policy",
	"date", "digest", "etag", "expect-ct", "expires", "last-modified", "link", "location", "nel", "permissions-policy", "pragma",
	"referrer-policy", "report-to", "repr-digest", "retry-after", "server", "server-timing", "set-cookie", "strict-transport-security",
	"surrogate-control", "surrogate-key", "cache-tag", "timing-allow-origin", "trailer", "vary", "via", "warning", "x-cache",
	"x-content-type-options", "x-dns-prefetch-control", "x-frame-options", "x-powered-by", "x-request-id", "x-robots-tag",
	"x-xss-protection", "accept", "accept-encoding", "accept-language", "origin", "cookie", "authorization", "user-agent",
}

// fieldNameIndex is the table's other direction; the first is 1.
var fieldNameIndex = func() map[string]byte {
	m := make(map[string]byte, len(fieldNamesTable))
	for i, n := range fieldNamesTable {
		m[n] = byte(i + 1)
	}
	return m
}()
