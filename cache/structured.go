package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// sfKind is the type of a Dictionary member's value, as far as directives care.
type sfKind uint8

const (
	sfOther sfKind = iota // a type that no directive has: parsed, and of no use
	sfTrue
	sfInteger
	sfString
)

// sfMember is one member of a Dictionary, without its parameters.
type sfMember struct {
	key     string
	kind    sfKind
	integer int64
	text    string
}

// parseDictionary parses a Dictionary (RFC 8941 §4.2.2). Any deviation makes the whole invalid. A key that occurs again is listed again.
func parseDictionary(s string) ([]sfMember, bool) {
	p := sfParser{rest: strings.Trim(s, " ")}
	var dict []sfMember
	for p.rest != "" {
		m, ok := p.member()
		if !ok {
			return nil, false
		}
		dict = append(dict, m)
		p.skip(" \t")
		if p.rest == "" {
			return dict, true
		}
		if !p.take(',') {
			return nil, false
		}
		p.skip(" \t")
		if p.rest == "" {
			return nil, false // a trailing comma
		}
	}
	return dict, true
}

type sfParser struct{ rest string }

func (p *sfParser) skip(set string) { p.rest = strings.TrimLeft(p.rest, set) }

func (p *sfParser) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *sfParser) take(c byte) bool {
	if p.peek() != c || p.rest == "" {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// while takes the longest prefix of bytes that are in the class.
func (p *sfParser) while(class func(byte) bool) string {
	i := 0
	for i < len(p.rest) && class(p.rest[i]) {
		i++
	}
	taken := p.rest[:i]
	p.rest = p.rest[i:]
	return taken
}

func (p *sfParser) member() (m sfMember, ok bool) {
	if m.key, ok = p.key(); !ok {
		return m, false
	}
	switch {
	case !p.take('='):
		m.kind = sfTrue
	case p.peek() == '(':
		if !p.innerList() {
			return m, false
		}
	default:
		if !p.bareItem(&m) {
			return m, false
		}
	}
	return m, p.parameters()
}

func (p *sfParser) key() (string, bool) {
	if c := p.peek(); !isLower(c) && c != '*' {
		return "", false
	}
	return p.while(func(c byte) bool {
		return isLower(c) || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}), true
}

func (p *sfParser) parameters() bool {
	for p.take(';') {
		p.skip(" ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.take('=') && !p.bareItem(&sfMember{}) {
			return false
		}
	}
	return true
}

func (p *sfParser) innerList() bool {
	p.take('(')
	for {
		p.skip(" ")
		if p.take(')') {
			return true
		}
		if !p.bareItem(&sfMember{}) || !p.parameters() {
			return false
		}
		if c := p.peek(); c != ' ' && c != ')' {
			return false
		}
	}
}

func (p *sfParser) bareItem(m *sfMember) bool {
	switch c := p.peek(); {
	case c == '-' || isDigit(c):
		return p.number(m)
	case c == '"':
		return p.quoted(m)
	case c == '?':
		return p.boolean(m)
	case c == ':':
		return p.bytes()
	case c == '*' || isLower(c|0x20) && c >= 'A':
		p.while(func(c byte) bool { return c == ':' || c == '/' || message.IsToken(string(rune(c))) && c < 0x80 })
		return true
	}
	return false
}

// number parses an Integer of at most 15 digits or a Decimal of at most 12 and 3.
func (p *sfParser) number(m *sfMember) bool {
	negative := p.take('-')
	whole := p.while(isDigit)
	if whole == "" || len(whole) > 15 {
		return false
	}
	if p.take('.') {
		fraction := p.while(isDigit)
		return len(whole) <= 12 && len(fraction) >= 1 && len(fraction) <= 3
	}
	m.kind = sfInteger
	for i := range len(whole) {
		m.integer = m.integer*10 + int64(whole[i]-'0')
	}
	if negative {
		m.integer = -m.integer
	}
	return true
}

func (p *sfParser) quoted(m *sfMember) bool {
	p.take('"')
	var b strings.Builder
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			m.kind, m.text = sfString, b.String()
			return true
		case c == '\\':
			if c = p.peek(); c != '"' && c != '\\' {
				return false
			}
			p.rest = p.rest[1:]
		case c < 0x20 || c > 0x7e:
			return false
		}
		b.WriteByte(c)
	}
	return false
}

func (p *sfParser) boolean(m *sfMember) bool {
	p.take('?')
	if p.take('1') {
		m.kind = sfTrue
		return true
	}
	return p.take('0')
}

func (p *sfParser) bytes() bool {
	p.take(':')
	p.while(func(c byte) bool {
		return isLower(c|0x20) && c >= 'A' || isDigit(c) || c == '+' || c == '/' || c == '='
	})
	return p.take(':')
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
