package modeltest

import (
	"slices"
	"strings"
)

// url is a target as far as it counts for what is stored.
func (m *Model) url(target string) string {
	path, query, ok := strings.Cut(target, "?")
	if !ok || len(m.Policy.Key.Without) == 0 {
		return target
	}
	var kept []string
	for _, p := range strings.Split(query, "&") {
		name, _, _ := strings.Cut(p, "=")
		if p != "" && !slices.Contains(m.Policy.Key.Without, name) {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return path
	}
	return path + "?" + strings.Join(kept, "&")
}

// key is all that must be alike of two requests, besides what Vary names (RFC 9111 §2).
func (m *Model) key(r *Request) string {
	k := []string{m.url(r.Target)}
	for _, name := range m.Policy.Key.Headers {
		lines := Lines(r.Fields, name)
		k = append(k, name, word("there", len(lines) > 0), plain(name, lines))
	}
	for _, name := range m.Policy.Key.Cookies {
		for _, line := range Lines(r.Fields, "cookie") {
			for _, pair := range strings.Split(line, ";") {
				if n, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && n == name {
					k = append(k, "cookie", name, value)
				}
			}
		}
	}
	if m.Policy.Key.Device {
		k = append(k, word("phone", strings.Contains(strings.Join(Lines(r.Fields, "user-agent"), ""), "Mobile")))
	}
	return strings.Join(k, "\x00")
}
