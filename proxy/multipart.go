package proxy

import (
	"crypto/rand"
	"net/http"

	"nearcast/cache"
	"nearcast/proxy/message"
	"nearcast/proxy/upstream"
)

// byteRanges is a multipart/byteranges body (RFC 9110 §14.6): parts of an object, each with a header section of its own.
type byteRanges struct {
	object   *cache.Object
	ranges   []cache.Range
	boundary string
}

// newByteRanges makes the body for the ranges. The boundary has 130 random bits, so that no content has it by chance or by intent.
func newByteRanges(o *cache.Object, ranges []cache.Range) *byteRanges {
	return &byteRanges{object: o, ranges: ranges, boundary: rand.Text()}
}

func (m *byteRanges) contentType() string { return "multipart/byteranges; boundary=" + m.boundary }

// head is what stands before part i, with i the number of parts what stands after the last.
func (m *byteRanges) head(i int) []byte {
	b := make([]byte, 0, 128)
	if i > 0 {
		b = append(b, "\r\n"...)
	}
	b = append(append(b, "--"...), m.boundary...)
	if i == len(m.ranges) {
		return append(b, "--\r\n"...)
	}
	b = append(b, "\r\n"...)
	if kind := m.object.Fields.Get("content-type"); kind != "" {
		b = append(append(append(b, "Content-Type: "...), kind...), "\r\n"...)
	}
	b = m.ranges[i].AppendContentRange(append(b, "Content-Range: "...), m.object.Length)
	return append(b, "\r\n\r\n"...)
}

// length is that of the whole body.
func (m *byteRanges) length() (n int64) {
	for i := range len(m.ranges) + 1 {
		n += int64(len(m.head(i)))
	}
	for _, rg := range m.ranges {
		n += rg.End - rg.Start
	}
	return n
}

// ascending reports whether a single reader comes by all the parts.
func (m *byteRanges) ascending() bool {
	for i, rg := range m.ranges[1:] {
		if rg.Start < m.ranges[i].End {
			return false
		}
	}
	return true
}

// span is what a reader is opened for that is to bring part i and those that follow it upwards.
func (m *byteRanges) span(i int) cache.Range {
	rg := m.ranges[i]
	for _, next := range m.ranges[i+1:] {
		if next.Start < rg.End {
			break
		}
		rg.End = next.End
	}
	return rg
}

// planRanges answers a request for several ranges. It returns nil where the whole had better be sent: when the parts with all that stands around
// them are no shorter, or are asked in an order in which a body that is still arriving does not bring them. Of a stored part there is no whole.
func (p *Proxy) planRanges(x *exchange, o *cache.Object) *answer {
	var buf [cache.MaxRanges]cache.Range
	ranges, status := cache.ParseRanges(x.r, o, buf[:0])
	if status != http.StatusPartialContent || len(ranges) < 2 {
		return nil
	}
	m := newByteRanges(o, append([]cache.Range(nil), ranges...))
	n := m.length()
	_, partial := o.Extent()
	if !partial && n >= o.Length || !m.ascending() && !o.Complete() {
		return nil
	}
	return &answer{status: status, length: n, object: o, parts: m}
}

// copyParts sends the parts, from a.reader while that comes by them, which is at the beginning of the first.
func (p *Proxy) copyParts(x *exchange, a *answer) error {
	m := a.parts
	var rest []byte
	at := m.ranges[0].Start // where rest begins in the object
	for i, rg := range m.ranges {
		if err := p.write(x, m.head(i)); err != nil {
			return err
		}
		if rg.Start < at { // a complete body is begun anew
			r, err := a.object.NewReader(x.ctx, m.span(i))
			if err != nil {
				return err
			}
			a.reader.Close()
			a.reader, rest, at = r, nil, rg.Start
		}
		for at < rg.End {
			if len(rest) == 0 {
				var err error
				if rest, err = a.reader.Next(); err != nil {
					x.incomplete = true
					return err
				}
			}
			skipped := min(max(rg.Start-at, 0), int64(len(rest)))
			n := min(int64(len(rest)), max(rg.End-at, 0))
			if skipped < n {
				if err := p.write(x, rest[skipped:n]); err != nil {
					return err
				}
			}
			rest, at = rest[n:], at+n
		}
	}
	return p.write(x, m.head(len(m.ranges)))
}

// replaced is f without what is true of the whole alone, when extra has the fields of a range, and of what extra has anew.
func replaced(f, extra message.Fields) message.Fields {
	if !extra.Has("content-range") && !extra.Has("content-type") {
		return f
	}
	out := make(message.Fields, 0, len(f))
	for _, x := range f {
		if !cache.OfContent(x.Name) && (x.Name != "content-type" || !extra.Has(x.Name)) {
			out = append(out, x)
		}
	}
	return out
}

// replacing is replaced for an answer as it came.
func replacing(res *upstream.Response, extra message.Fields) *upstream.Response {
	r := *res
	r.Fields = replaced(res.Fields, extra)
	return &r
}
