package cache

import (
	"strings"

	"nearcast/cache/coding"
	"nearcast/proxy/message"
)

// Variants by Accept-Encoding. Requests whose fields leave an origin the same choice have one canonical form, which is also what a fetch for
// all sends: what came of it is right for all of them, to the letter of RFC 9111 §4.1. One step further goes a response that the origin
// has coded: having chosen that coding among more, it would choose it again among fewer. So one variant in Brotli serves
// browsers with and without zstd.

// answeredBy stands in a selector's value before the coding that the origin chose.
const answeredBy = " > "

// AppendAcceptEncoding appends the canonical form of a request's Accept-Encoding to b; false when the request has none.
func AppendAcceptEncoding(b []byte, f message.Fields) ([]byte, bool) {
	a := coding.ParseAccept(f)
	if !a.Given() {
		return b, false
	}
	return a.AppendCanonical(b), true
}

// noteCoding adds to a selector what the origin answered.
func noteCoding(sel []selector, resp message.Fields) {
	c, ok := codingOf(resp)
	if !ok {
		return
	}
	for i := range sel {
		if sel[i].name == "accept-encoding" && sel[i].value != absentField {
			sel[i].value += answeredBy + c.String()
		}
	}
}

// codingOf is the one content coding that a response has; false when it has none, several, or one that is not known.
func codingOf(resp message.Fields) (c coding.Coding, ok bool) {
	lines := resp.Values("content-encoding")
	if len(lines) != 1 {
		return 0, false
	}
	c, ok = coding.Parse(lines[0])
	return c, ok && c != coding.Identity
}

// codedForAll reports whether what came of a request whose Accept-Encoding the origin saw as the client wrote it is right for everybody whose
// canonical form is the same: the form may leave out the very coding that was chosen.
func codedForAll(r *message.Request, resp message.Fields) bool {
	if !resp.Has("content-encoding") || !varyNames(resp, "accept-encoding") {
		return true
	}
	asked, given := AppendAcceptEncoding(nil, r.Fields)
	if !given {
		return true
	}
	var a coding.Accept
	a.Add(string(asked))
	c, ok := codingOf(resp)
	return ok && a.Weight(c) > 0
}

// codingMatches reports whether the request's Accept-Encoding selects the variant.
func codingMatches(value string, f message.Fields) bool {
	a := coding.ParseAccept(f)
	if !a.Given() {
		return value == absentField
	}
	asked, chosen, coded := strings.Cut(value, answeredBy)
	var buf [96]byte
	if string(a.AppendCanonical(buf[:0])) == asked {
		return true
	}
	if !coded {
		return false
	}
	var wide coding.Accept
	wide.Add(asked)
	c, _ := coding.Parse(chosen)
	return a.Narrows(&wide, c)
}
