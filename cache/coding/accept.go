package coding

import "nearcast/proxy/message"

// Weights are in half thousandths, so that there is room below the least qvalue for identity where nobody mentions it.
const (
	unit     = 2000 // q=1
	unlisted = 1    // identity that no member names: acceptable, and the last choice
)

// Accept is what the Accept-Encoding field of a request says (RFC 9110 §12.5.3). Codings that the package does not know are passed over, and
// so are members that are not in the grammar. Of a coding named twice the lower weight counts.
type Accept struct {
	given  bool
	any    bool          // "*" has a weight
	listed [count]bool   // named
	weight [count]uint16 // of those
	rest   uint16        // of the others, if any
}

// ParseAccept reads all lines of the field. It allocates nothing.
func ParseAccept(f message.Fields) (a Accept) {
	for i := range f {
		if f[i].Name == "accept-encoding" {
			a.Add(f[i].Value)
		}
	}
	return a
}

// Given reports whether the request has the field.
func (a *Accept) Given() bool { return a.given }

// Add adds a line of the field.
func (a *Accept) Add(line string) {
	a.given = true
	for i := 0; i < len(line); {
		j := i
		for j < len(line) && line[j] != ',' {
			j++
		}
		a.member(line[i:j])
		i = j + 1
	}
}

// member takes in one member: a coding or "*", and perhaps a weight.
func (a *Accept) member(m string) {
	end := 0
	for end < len(m) && m[end] != ';' {
		end++
	}
	w, ok := uint16(unit), true
	if end < len(m) {
		w, ok = weight(trim(m[end+1:]))
	}
	token := trim(m[:end])
	if !ok || token == "" {
		return
	}
	if token == "*" {
		if a.any {
			w = min(w, a.rest)
		}
		a.any, a.rest = true, w
		return
	}
	if c, known := Parse(token); known {
		if a.listed[c] {
			w = min(w, a.weight[c])
		}
		a.listed[c], a.weight[c] = true, w
	}
}

// weight reads "q=" qvalue (RFC 9110 §12.4.2). Digits beyond the third are passed over.
func weight(s string) (uint16, bool) {
	if len(s) < 3 || s[0]|0x20 != 'q' || s[1] != '=' || s[2] != '0' && s[2] != '1' || len(s) > 3 && s[3] != '.' {
		return 0, false
	}
	n, digit := int(s[2]-'0')*1000, 100
	for i := 4; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n += int(s[i]-'0') * digit
		digit /= 10
	}
	if n > 1000 {
		return 0, false
	}
	return uint16(n * unit / 1000), true
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// Weight is the request's preference for a coding, for comparison with others; 0 when it is not acceptable. A request without the field
// would take anything (RFC 9110 §12.5.3), but most that come without it can decode nothing: it counts as accepting identity alone.
func (a *Accept) Weight(c Coding) int {
	switch {
	case !a.given && c != Identity:
		return 0
	case a.listed[c]:
		return int(a.weight[c])
	case a.any && c < DictBrotli: // a client names these when it has a dictionary
		return int(a.rest)
	case c == Identity:
		return unlisted
	}
	return 0
}

// canonicalOrder is how codings of one weight are written: as browsers do.
var canonicalOrder = [...]Coding{Gzip, Deflate, Brotli, Zstd, DictBrotli, DictZstd, Identity}

// AppendCanonical appends the one form of all fields that leave an origin the same choice: the known codings by preference, with "*"
// resolved, and deflate only where gzip would not do as well. A request without the field has none: see Given.
func (a *Accept) AppendCanonical(b []byte) []byte {
	start := len(b)
	var left [len(canonicalOrder)]int // the weights that are still to be written
	for i, c := range canonicalOrder {
		if a.named(c) {
			left[i] = a.Weight(c)
		}
	}
	for q := byte('9') + 1; ; q-- { // there are seven codings at most
		level := 0
		for _, w := range left {
			level = max(level, w)
		}
		if level == 0 {
			break
		}
		for i, w := range left {
			if w != level {
				continue
			}
			left[i] = 0
			b = append(separate(b, start), names[canonicalOrder[i]]...)
			if q <= '9' {
				b = append(append(b, ";q=0."...), q)
			}
		}
	}
	switch {
	case a.Weight(Identity) == 0:
		b = append(separate(b, start), "identity;q=0"...)
	case len(b) == start:
		b = append(b, names[Identity]...)
	}
	return b
}

func separate(b []byte, start int) []byte {
	if len(b) > start {
		b = append(b, ", "...)
	}
	return b
}

// named reports whether the canonical form names the coding, should it have a weight.
func (a *Accept) named(c Coding) bool {
	switch c {
	case Identity:
		return a.Weight(c) != unlisted
	case Deflate:
		return a.Weight(Gzip) < a.Weight(Deflate)
	}
	return true
}

// Narrows reports whether a server that chose c for a request that accepts what wide says chooses c for a as well, as long as it
// prefers one coding to another whatever else there is to choose from: a accepts c and nothing that wide does not, and puts nothing on a
// level with c or before it that wide does not put there too.
func (a *Accept) Narrows(wide *Accept, c Coding) bool {
	if !a.given || !wide.given {
		return false
	}
	mine, theirs := a.Weight(c), wide.Weight(c)
	if mine == 0 || theirs == 0 {
		return false
	}
	for x := range count {
		w, v := a.Weight(x), wide.Weight(x)
		if x == c || w == 0 || x == Deflate && !a.named(x) {
			continue
		}
		if v == 0 || w >= mine && v < theirs || w > mine && v <= theirs {
			return false
		}
	}
	return true
}
