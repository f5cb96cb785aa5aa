package hpack

// entryOverhead is what an entry counts beside its octets (RFC 7541 §4.1).
const entryOverhead = 32

// table is the dynamic table (RFC 7541 §2.3.2): a ring of entries, and a ring of octets that holds their names and values one after
// the other. Both grow with use, as far as the table's size can ever need, and hold nothing before the first entry.
type table struct {
	size, limit int // as RFC 7541 §4.1 counts

	entries []entry // a power of two
	newest  int     // index of the newest entry
	n       int     // entries in use

	octets []byte // a power of two
	end    int    // where the next octet goes
	used   int    // octets in use
}

type entry struct {
	at, name, value uint16 // where it begins in octets, and the lengths of its parts
}

func (e entry) size() int { return int(e.name) + int(e.value) + entryOverhead }

// at returns the i-th entry, 0 for the newest.
func (t *table) at(i int) (entry, bool) {
	if i >= t.n {
		return entry{}, false
	}
	return t.entries[(t.newest-i)&(len(t.entries)-1)], true
}

// append appends n octets from the ring's at.
func (t *table) append(dst []byte, at, n int) []byte {
	at &= len(t.octets) - 1
	if over := at + n - len(t.octets); over > 0 {
		dst = append(dst, t.octets[at:]...)
		return append(dst, t.octets[:over]...)
	}
	return append(dst, t.octets[at:at+n]...)
}

// resize sets the limit and evicts what is over it (RFC 7541 §4.3).
func (t *table) resize(limit int) {
	t.limit = limit
	t.evict(0)
}

// evict makes room for size.
func (t *table) evict(size int) {
	for t.n > 0 && t.size+size > t.limit {
		e := t.entries[(t.newest-t.n+1)&(len(t.entries)-1)]
		t.n--
		t.size -= e.size()
		t.used -= int(e.name) + int(e.value)
	}
}

// add inserts an entry (RFC 7541 §4.4): one that is larger than the table empties it. name and value must not be parts of the ring.
func (t *table) add(name, value string) {
	size := len(name) + len(value) + entryOverhead
	t.evict(size)
	if size > t.limit {
		return
	}
	if t.n == len(t.entries) {
		t.growEntries()
	}
	for t.used+len(name)+len(value) > len(t.octets) {
		t.growOctets()
	}
	t.newest = (t.newest + 1) & (len(t.entries) - 1)
	t.entries[t.newest] = entry{at: uint16(t.end), name: uint16(len(name)), value: uint16(len(value))}
	t.n++
	t.size += size
	t.put(name)
	t.put(value)
}

func (t *table) put(s string) {
	n := copy(t.octets[t.end:], s)
	copy(t.octets, s[n:])
	t.end = (t.end + len(s)) & (len(t.octets) - 1)
	t.used += len(s)
}

func (t *table) growEntries() {
	next := make([]entry, max(2*len(t.entries), 16))
	for i := range t.n { // the oldest first
		next[i], _ = t.at(t.n - 1 - i)
	}
	t.entries, t.newest = next, t.n-1
}

// growOctets moves what is in use to the start of a ring of twice the size.
func (t *table) growOctets() {
	next := make([]byte, 0, max(2*len(t.octets), 512))
	moved := 0
	for i := range t.n {
		e := &t.entries[(t.newest-t.n+1+i)&(len(t.entries)-1)]
		next = t.append(next, int(e.at), int(e.name)+int(e.value))
		e.at = uint16(moved)
		moved = len(next)
	}
	t.octets, t.end = next[:cap(next)], len(next)
}
