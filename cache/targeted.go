package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// responseDirectives are the directives that count for this cache. The first of the service's targeted fields that can be parsed and is
// not empty replaces Cache-Control, and Expires with it (RFC 9213 §2.2).
func responseDirectives(f message.Fields, p *Policy) (d directives, targeted bool) {
	for _, name := range p.TargetedFields {
		if lines := linesOf(f, name); lines != nil {
			if d, ok := parseTargeted(strings.Join(lines, ", ")); ok {
				return d, true
			}
		}
	}
	d, _ = parseCacheControl(f)
	return d, false
}

// linesOf are the values of a field whose name is written as the configuration has it.
func linesOf(f message.Fields, name string) (lines []string) {
	for i := range f {
		if len(f[i].Name) == len(name) && strings.EqualFold(f[i].Name, name) {
			lines = append(lines, f[i].Value)
		}
	}
	return lines
}

// parseTargeted reads a targeted field: a Dictionary whose members are directives. A member of the wrong type is ignored (RFC 9213 §2.1).
func parseTargeted(s string) (d directives, ok bool) {
	dict, ok := parseDictionary(s)
	if !ok || len(dict) == 0 {
		return d, false
	}
	d = newDirectives()
	for _, m := range dict {
		d.member(m)
	}
	return d, true
}

// member notes one member. Of members with one key the last counts (RFC 8941 §4.2.2). One of a wrong type is as if it were not there
// (RFC 9213 §2.1).
func (d *directives) member(m sfMember) {
	p, flag := d.forget(m.key)
	switch {
	case m.kind == sfTrue:
		d.flags |= flag
	case m.kind == sfInteger && p != nil && m.integer >= 0:
		*p = min(m.integer, maxDelta)
	case m.kind == sfString && flag == flagNoCache:
		d.qualified(flagNoCache, &d.noCacheFields, m.text)
	case m.kind == sfString && flag == flagPrivate:
		d.qualified(flagPrivate, &d.privateFields, m.text)
	}
}

// forget takes back what an earlier member of that key has said, and returns the places where the directive is noted.
func (d *directives) forget(key string) (lifetime *int64, flag flags) {
	if lifetime = d.lifetime(key); lifetime != nil {
		*lifetime = absent
	}
	flag = flagNamed(key)
	d.flags &^= flag
	switch flag {
	case flagNoCache:
		d.noCacheFields = nil
	case flagPrivate:
		d.privateFields = nil
	}
	return lifetime, flag
}

// flagNamed is the flag of a directive without an argument; 0 for any other name. A Dictionary's keys are in lower case.
func flagNamed(key string) flags {
	for _, x := range flagNames {
		if x.name == key {
			return x.flag
		}
	}
	return 0
}
