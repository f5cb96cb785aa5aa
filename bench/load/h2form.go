package load

// h2Form makes the field blocks of requests: what stands before and after the path. It leaves the dynamic table alone, so that blocks can
// be made beforehand.
type h2Form struct {
	before, after []byte
	body          int
	path          []byte
}

func newH2Form(p *plan) (f h2Form) {
	switch p.Method {
	case "GET":
		f.before = append(f.before, 0x82)
	case "POST":
		f.before = append(f.before, 0x83)
	default:
		f.before = appendString(appendInt(nil, 0, 4, 2), p.Method)
	}
	scheme := byte(0x86)
	if p.tls != nil {
		scheme = 0x87
	}
	f.before = append(f.before, scheme)
	f.before = appendString(appendInt(f.before, 0, 4, 1), p.authority())
	for _, h := range p.fields() {
		f.after = appendString(appendString(append(f.after, 0), h.Name), h.Value)
	}
	f.body = p.BodySize
	return f
}

// append appends the HEADERS frame of a request.
func (f *h2Form) append(b []byte, t *targets, target pick, stream uint32) []byte {
	f.path = t.appendPath(f.path[:0], target)
	flags := byte(flagEndHeaders)
	if f.body == 0 {
		flags |= flagEndStream
	}
	at := len(b)
	b = appendFrameHeader(b, 0, frameHeaders, flags, stream)
	b = append(b, f.before...)
	b = appendInt(b, 0, 4, 4)
	b = append(appendInt(b, 0, 7, len(f.path)), f.path...)
	b = append(b, f.after...)
	n := len(b) - at - frameHeader
	b[at], b[at+1], b[at+2] = byte(n>>16), byte(n>>8), byte(n)
	return b
}
