package load

import "github.com/quic-go/quic-go/quicvarint"

// h3Form makes the bytes of requests: a HEADERS frame, whose field block has no use for a dynamic table, and a DATA frame.
type h3Form struct {
	before, after []byte // of the field block, around the path
	body          []byte // the DATA frame
}

// The indexes of QPACK's static table (RFC 9204 appendix A) that requests use.
var qpackMethods = map[string]byte{"CONNECT": 15, "DELETE": 16, "GET": 17, "HEAD": 18, "OPTIONS": 19, "POST": 20, "PUT": 21}

const (
	qpackAuthority   = 0
	qpackPath        = 1
	qpackMethod      = 15
	qpackSchemeHTTPS = 23
)

func newH3Form(p *plan) (f h3Form) {
	f.before = []byte{0, 0} // no entries of the dynamic table are needed (RFC 9204 §4.5.1)
	if i, ok := qpackMethods[p.Method]; ok {
		f.before = append(f.before, 0xc0|i)
	} else {
		f.before = appendString(appendInt(f.before, 0x50, 4, qpackMethod), p.Method)
	}
	f.before = append(f.before, 0xc0|qpackSchemeHTTPS)
	f.before = appendString(appendInt(f.before, 0x50, 4, qpackAuthority), p.authority())
	f.before = appendInt(f.before, 0x50, 4, qpackPath)
	for _, h := range p.fields() {
		f.after = append(appendInt(f.after, 0x20, 3, len(h.Name)), h.Name...)
		f.after = appendString(f.after, h.Value)
	}
	if p.BodySize > 0 {
		f.body = quicvarint.Append(quicvarint.Append(nil, h3Data), uint64(p.BodySize))
		f.body = append(f.body, make([]byte, p.BodySize)...)
	}
	return f
}

// append appends a request. Scratch is a buffer for the path.
func (f *h3Form) append(b []byte, scratch *[]byte, t *targets, target pick) []byte {
	*scratch = t.appendPath((*scratch)[:0], target)
	path := *scratch
	var length [8]byte
	head := appendInt(length[:0], 0, 7, len(path))
	b = append(b, h3Headers)
	b = quicvarint.Append(b, uint64(len(f.before)+len(head)+len(path)+len(f.after)))
	b = append(b, f.before...)
	b = append(b, head...)
	b = append(b, path...)
	b = append(b, f.after...)
	return append(b, f.body...)
}
