package wire

import (
	"bytes"
	"io"

	"nearcast/proxy/message"
)

const (
	maxChunkDigits = 15      // of a chunk size
	maxChunkExt    = 4 << 10 // bytes of chunk extensions in one body
)

// hex is the value of a hexadecimal digit, more than 15 for any other byte.
var hex = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case '0' <= c && c <= '9':
			t[c] = uint8(c - '0')
		case 'a' <= c && c <= 'f':
			t[c] = uint8(c - 'a' + 10)
		case 'A' <= c && c <= 'F':
			t[c] = uint8(c - 'A' + 10)
		default:
			t[c] = 0xff
		}
	}
	return t
}()

// chunkState is what the decoder expects next.
type chunkState uint8

const (
	inSize    chunkState = iota // a digit, or what follows the size
	sizeSpace                   // white space behind the size, then ";"
	extSpace                    // white space, then ";"
	extName0                    // white space or the name of an extension
	extName                     // the rest of the name
	extEquals                   // white space, then "=" or ";"
	extValue0                   // white space, a token or a quoted string
	extToken                    // the rest of the token
	extQuoted                   // the rest of the quoted string
	extEscape                   // what a backslash escapes
	extEnd                      // white space and ";", or the line's end
	sizeLF                      // LF of the line with the size
	inData                      // the chunk's data
	dataCR                      // the CR behind it
	dataLF                      // the LF behind it
	inTrailer                   // the trailer section
	chunksEnd                   // nothing
)

// ChunkedDecoder takes the chunked coding off a body (RFC 9112 §7.1), however its bytes are divided among calls. Chunk extensions
// must be well-formed, and are ignored; the bad white space that RFC 9112 §7.1.1 knows is taken before and behind their ";" and "=", as a part
// of them. Between a size, or an extension, and the end of its line it is refused: the grammar has none there. Use it behind
// [ChunkedDecoder.Reset].
type ChunkedDecoder struct {
	state    chunkState
	digits   int8
	response bool
	left     int64 // size of the chunk, then what is left of its data
	ext      int
	lim      Limits
	scan     Scanner
	trailer  []byte
	fields   message.Fields
}

// Reset makes the decoder ready for the body of a request or a response.
func (d *ChunkedDecoder) Reset(response bool, lim Limits) {
	*d = ChunkedDecoder{response: response, lim: lim}
}

// Next takes the next n bytes off src, which holds what has come, and gives the data among them, at most limit bytes as one part of src.
// It goes on to the end of the body where that is in src too, and then returns io.EOF beside the last data; src[n:] is another message's.
// Unless it fails it takes all of src, or gives limit bytes.
func (d *ChunkedDecoder) Next(src []byte, limit int) (data []byte, n int, err error) {
	for n < len(src) && d.state != chunksEnd {
		switch d.state {
		case inData:
			if data != nil || limit == 0 {
				return data, n, nil
			}
			k := int(min(d.left, int64(len(src)-n), int64(limit)))
			data = src[n : n+k]
			n += k
			d.Skip(int64(k))
		case inTrailer:
			k, f := d.takeTrailer(src[n:])
			n += k
			if f != 0 {
				return data, n, f.of(d.response)
			}
		default:
			if f := d.step(src[n]); f != 0 {
				return data, n, f.of(d.response)
			}
			n++
		}
	}
	if d.state == chunksEnd {
		return data, n, io.EOF
	}
	return data, n, nil
}

// Left is how many bytes of data are certain to come next, so that they can be read past the buffer. [ChunkedDecoder.Skip] tells of them.
func (d *ChunkedDecoder) Left() int64 {
	if d.state != inData {
		return 0
	}
	return d.left
}

// Skip notes that n bytes of data, at most Left, were read elsewhere.
func (d *ChunkedDecoder) Skip(n int64) {
	if d.left -= n; d.left == 0 {
		d.state = dataCR
	}
}

// Trailers is the trailer section once Next has returned io.EOF. Fields that may not come in one are left out (RFC 9110 §6.5.1).
func (d *ChunkedDecoder) Trailers() message.Fields { return d.fields }

// step takes a byte of a line with a size, or of the line end behind data.
func (d *ChunkedDecoder) step(c byte) fault {
	switch d.state {
	case inSize:
		return d.size(c)
	case sizeLF:
		if c != '\n' {
			return faultBareCR
		}
		d.state, d.digits = inData, 0
		if d.left == 0 {
			d.state = inTrailer
		}
	case dataCR, dataLF:
		if c != "\r\n"[d.state-dataCR] {
			return faultChunkEnd
		}
		if d.state++; d.state == inTrailer {
			d.state = inSize
		}
	default:
		if d.ext++; d.ext > maxChunkExt {
			return faultChunkExtLong
		}
		return d.extension(c)
	}
	return 0
}

func (d *ChunkedDecoder) size(c byte) fault {
	v := hex[c]
	switch {
	case v <= 15 && d.digits == maxChunkDigits:
		return faultChunkLarge
	case v <= 15:
		d.left = d.left<<4 | int64(v)
		d.digits++
		return 0
	case d.digits == 0:
		return faultChunkSize
	}
	switch c {
	case '\r':
		d.state = sizeLF
	case ';':
		d.state = extName0
	case ' ', '\t':
		d.state = sizeSpace
	case '\n':
		return faultBareLF
	default:
		return faultChunkSize
	}
	return 0
}

// extension takes a byte of a chunk extension (RFC 9112 §7.1.1): *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ).
func (d *ChunkedDecoder) extension(c byte) fault {
	space := c == ' ' || c == '\t'
	token := lower[c] != 0
	next := d.state
	switch d.state {
	case sizeSpace:
		switch {
		case space:
		case c == ';':
			next = extName0
		default:
			return faultChunkSize
		}
	case extSpace:
		switch {
		case space:
		case c == ';':
			next = extName0
		default:
			return faultChunkExt
		}
	case extName0, extValue0:
		switch {
		case space:
		case token:
			next = d.state + 1
			if d.state == extValue0 {
				next = extToken
			}
		case c == '"' && d.state == extValue0:
			next = extQuoted
		default:
			return faultChunkExt
		}
	case extName, extEquals:
		switch {
		case token && d.state == extName:
		case space:
			next = extEquals
		case c == '=':
			next = extValue0
		case c == ';':
			next = extName0
		case c == '\r' && d.state == extName:
			next = sizeLF
		default:
			return faultChunkExt
		}
	case extToken, extEnd:
		switch {
		case token && d.state == extToken:
		case space:
			next = extSpace
		case c == ';':
			next = extName0
		case c == '\r':
			next = sizeLF
		default:
			return faultChunkExt
		}
	case extQuoted, extEscape:
		switch {
		case !message.IsValueByte(c):
			return faultChunkExt
		case d.state == extEscape:
			next = extQuoted
		case c == '"':
			next = extEnd
		case c == '\\':
			next = extEscape
		}
	}
	d.state = next
	return 0
}

// takeTrailer takes what src has of the trailer section, which is almost always empty (RFC 9112 §7.1.2).
func (d *ChunkedDecoder) takeTrailer(src []byte) (n int, f fault) {
	if len(d.trailer) == 0 && len(src) >= 2 && src[0] == '\r' && src[1] == '\n' {
		d.state = chunksEnd
		return 2, 0
	}
	was, most := len(d.trailer), d.lim.trailer()
	d.trailer = append(d.trailer, src[:min(len(src), most-was)]...)
	end, f := d.trailerEnd()
	switch {
	case f != 0:
		return 0, f
	case end > 0:
		d.state = chunksEnd
		f = d.parseTrailer(d.trailer[:end])
		return end - was, f
	case len(d.trailer) == most:
		return 0, faultTrailerLarge
	}
	return len(src), 0
}

// trailerEnd looks for the empty line at the end of the trailer section.
func (d *ChunkedDecoder) trailerEnd() (end int, f fault) {
	s, b := &d.scan, d.trailer
	for {
		i := bytes.IndexByte(b[s.at:], '\n')
		if i < 0 {
			s.at = len(b)
			return 0, 0
		}
		i += s.at
		if i == s.line || b[i-1] != '\r' {
			return 0, faultBareLF
		}
		if i-1 == s.line {
			return i + 1, 0
		}
		s.line, s.at = i+1, i+1
	}
}

func (d *ChunkedDecoder) parseTrailer(b []byte) fault {
	most := d.lim.fields()
	for i, n := 0, 0; b[i] != '\r' || b[i+1] != '\n'; n++ {
		if n == most {
			return faultLines
		}
		if b[i] == '\r' {
			return faultBareCR
		}
		name, value, next, f := line(b, i)
		if f != 0 {
			return f
		}
		i = next
		switch text(name) {
		case "content-length", "transfer-encoding", "host":
			return faultTrailer
		}
		if TrailerAllowed(text(name)) {
			d.fields = append(d.fields, message.Field{Name: text(name), Value: text(value)})
		}
	}
	return 0
}

// TrailerAllowed reports whether a field, whose name is in lower case, may come in a trailer section: it is not for framing, routing,
// authentication, request modifiers, response control or the content's form (RFC 9110 §6.5.1).
func TrailerAllowed(name string) bool {
	if HopByHop(name) || len(name) > 8 && name[:8] == "content-" || len(name) > 3 && name[:3] == "if-" {
		return false
	}
	switch name {
	case "age", "authorization", "cache-control", "cookie", "date", "expires", "location", "max-forwards", "pragma", "proxy-authenticate",
		"proxy-authorization", "range", "retry-after", "set-cookie", "vary", "warning", "www-authenticate", "forwarded", "via":
		return false
	}
	return true
}
