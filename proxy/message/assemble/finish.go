package assemble

import (
	"errors"
	"strings"
	"unsafe"

	"nearcast/proxy/message"
)

// Finish checks the whole and sets Method, Scheme, Authority, Target, Fields, ContentLength (-1 when none was declared) and Upgrade of r.
// An extended CONNECT (RFC 8441, RFC 9220) becomes a GET with Upgrade. A :scheme that is not the connection's is answered with 421
// (RFC 9110 §7.4): we are no gateway between schemes. Whether content follows is for the caller to say; see [Content].
// The error is an *Error.
func (a *Assembler) Finish(r *message.Request) error {
	if a.err == nil {
		a.err = a.finish(r)
	}
	if a.err != nil {
		return a.err
	}
	return nil
}

func (a *Assembler) finish(r *message.Request) *Error {
	if a.seen&seenMethod == 0 {
		return errMissing
	}
	if !message.IsToken(a.method) {
		return errMethod
	}
	connect := a.method == "CONNECT"
	switch {
	case a.seen&seenProtocol != 0:
		if !connect || a.seen&seenAuthority == 0 || a.length > 0 { // RFC 8441 §4
			return errSurplus
		}
	case connect: // RFC 9113 §8.5, RFC 9114 §4.4
		if a.seen&(seenScheme|seenPath) != 0 {
			return errSurplus
		}
		if a.authority == "" {
			return errMissing
		}
		return errConnect
	}
	const all = seenScheme | seenPath
	if a.seen&all != all || a.path == "" || a.seen&(seenAuthority|seenHost) == 0 {
		return errMissing
	}
	authority, err := a.oneAuthority()
	if err != nil {
		return err
	}
	if !strings.EqualFold(a.gotScheme, a.scheme) {
		return errScheme
	}
	if a.path == "*" && a.method != "OPTIONS" { // RFC 9110 §7.1
		return errTarget
	}
	target, perr := message.ParseTarget(a.path)
	if perr != nil {
		return targetFault(perr)
	}
	upgrade := ""
	if connect {
		if !message.IsToken(a.protocol) {
			return errSurplus
		}
		upgrade = a.lower(a.protocol)
	}
	if a.crumbs > 1 {
		a.joinCookies()
	}
	r.Method, r.Scheme, r.Authority, r.Target = a.method, a.scheme, authority, target
	r.Fields, r.ContentLength, r.Upgrade = a.fields, a.length, upgrade
	if connect {
		r.Method = "GET"
	}
	return nil
}

func targetFault(err error) *Error {
	var e *message.Error
	if errors.As(err, &e) && e.Status == errTargetLong.Status {
		return errTargetLong
	}
	return errTarget
}

// oneAuthority is :authority or host, in lower case; both must say the same (RFC 9113 §8.3.1, RFC 9114 §4.3.1), and neither may be empty.
func (a *Assembler) oneAuthority() (string, *Error) {
	v := a.authority
	switch {
	case a.seen&seenAuthority == 0:
		v = a.host
	case a.seen&seenHost != 0 && !strings.EqualFold(a.host, v):
		return "", errHost
	}
	if v == "" {
		return "", errMissing
	}
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c <= ' ' || c >= 0x7f, c == '/', c == '?', c == '#', c == '@', c == '\\', c == '"', c == '<', c == '>', c == '^', c == '`', c == '{', c == '|', c == '}':
			return "", errAuthority
		}
	}
	return a.lower(v), nil
}

// lower returns s in lower case: itself when it is already.
func (a *Assembler) lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			from := len(a.scratch)
			for j := 0; j < len(s); j++ {
				c := s[j]
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				a.scratch = append(a.scratch, c)
			}
			return a.since(from)
		}
	}
	return s
}

// since is what was appended to the scratch buffer from there on. When the buffer moves later, the string keeps the old one.
func (a *Assembler) since(from int) string {
	b := a.scratch[from:]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// joinCookies makes one line of the crumbs (RFC 9113 §8.2.3, RFC 9114 §4.2.1), at the place of the first.
func (a *Assembler) joinCookies() {
	from, first := len(a.scratch), -1
	kept := a.fields[:0]
	for _, f := range a.fields {
		if f.Name != "cookie" {
			kept = append(kept, f)
			continue
		}
		if first < 0 {
			first = len(kept)
			kept = append(kept, f)
		} else {
			a.scratch = append(a.scratch, "; "...)
		}
		a.scratch = append(a.scratch, f.Value...)
	}
	clear(a.fields[len(kept):])
	a.fields = kept
	a.fields[first].Value = a.since(from)
}
