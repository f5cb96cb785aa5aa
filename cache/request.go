package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// requestDirectives are a client's wishes. They are advisory (RFC 9111 §5.2.1), and all are granted unless the service ignores them: a
// reload validates, only-if-cached gets 504. What keeps a flood of reloads from the origin is that they collapse like every other request.
func requestDirectives(r *message.Request) directives {
	d, found := parseCacheControl(r.Fields)
	if !found && pragmaNoCache(r.Fields) {
		d.flags |= flagNoCache // RFC 9111 §5.4
	}
	return d
}

// ignores reports whether clients' directives don't count.
func (p *Policy) ignores() bool { return p.RequestDirectives == DirectivesIgnore }

// unask leaves of a request's directives what counts even where they are ignored: no-store, which keeps the client's own answer
// out of the store, and only-if-cached, which costs the origin nothing.
func (d *directives) unask() {
	kept := d.flags & (flagNoStore | flagOnlyIfCached)
	*d = newDirectives()
	d.flags = kept
}

// directivesOf are the directives of r that count.
func (p *Policy) directivesOf(r *message.Request) directives {
	d := requestDirectives(r)
	if p.ignores() {
		d.unask()
	}
	return d
}

// Asked is r as Begin is to judge it: where the service ignores clients' directives, a copy without them. What goes to the origin is
// r itself: they are for every cache on the way (RFC 9111 §5.2).
func (p *Policy) Asked(r *message.Request) *message.Request {
	if wishes, _ := asks(r.Fields); !wishes || !p.ignores() {
		return r
	}
	bare := *r
	bare.Fields = make(message.Fields, 0, len(r.Fields))
	for _, f := range r.Fields {
		if f.Name != "cache-control" && f.Name != "pragma" {
			bare.Fields = append(bare.Fields, f)
		}
	}
	return &bare
}

func pragmaNoCache(f message.Fields) bool {
	for i := range f {
		if f[i].Name != "pragma" {
			continue
		}
		for rest := f[i].Value; rest != ""; {
			var m string
			if m, rest = cutMember(rest); strings.EqualFold(m, "no-cache") {
				return true
			}
		}
	}
	return false
}
