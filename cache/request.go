package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// requestDirectives is the one place that decides which of a client's wishes the cache grants. They are advisory (RFC 9111 §5.2.1).
// All are granted: a reload validates, only-if-cached gets 504. What keeps a flood of reloads from the origin is that they collapse
// like every other request.
func requestDirectives(r *message.Request) directives {
	d, found := parseCacheControl(r.Fields)
	if !found && pragmaNoCache(r.Fields) {
		d.flags |= flagNoCache // RFC 9111 §5.4
	}
	return d
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
