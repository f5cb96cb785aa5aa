package cache

import (
	"fmt"
	"slices"
	"strings"

	"nearcast/proxy/message"
)

const (
	// maxTags bounds the tags of one object.
	maxTags = 1000
	// maxTagLength bounds a tag's bytes.
	maxTagLength = 1024
)

// tagSet is what is kept of an object's tags.
type tagSet struct {
	hashes []uint64 // sorted, each once
	// all: the object has more tags than can be kept, or a longer one. A purge of any tag is one of it.
	all bool
}

// size is the number of bytes that it takes.
func (s *tagSet) size() int { return 8 * len(s.hashes) }

// IsTagField reports whether the service's origins tag their responses with the field. name is in lower case.
func (p *Policy) IsTagField(name string) bool {
	for _, f := range p.TagFields {
		if len(f) == len(name) && strings.EqualFold(f, name) {
			return true
		}
	}
	return false
}

// HidesField reports whether the field must not reach clients. name is in lower case.
func (p *Policy) HidesField(name string) bool { return !p.ForwardTags && p.IsTagField(name) }

// tags reads a response's tags; found tells no field from no tags.
func (p *Policy) tags(f message.Fields) (s tagSet, found bool) {
	if !p.hasTags(f) { // as most have not
		return s, false
	}
	return p.readTags(f), true
}

func (p *Policy) hasTags(f message.Fields) bool {
	return slices.ContainsFunc(f, func(x message.Field) bool { return p.IsTagField(x.Name) })
}

func (p *Policy) readTags(f message.Fields) (s tagSet) {
	for i := range f {
		if !p.IsTagField(f[i].Name) {
			continue
		}
		for tag := range EachTag(f[i].Name, f[i].Value) {
			if len(tag) > maxTagLength || len(s.hashes) >= maxTags {
				return tagSet{all: true}
			}
			s.hashes = append(s.hashes, tagHash(tag))
		}
	}
	slices.Sort(s.hashes)
	s.hashes = slices.Clip(slices.Compact(s.hashes))
	return s
}

// tagsOf is tags for a response that may complete another, as to whose fields it need say nothing (RFC 9110 §15.3.7.1).
func (p *Policy) tagsOf(resp *Response) tagSet {
	if tags, found := p.tags(resp.Fields); found {
		return tags
	}
	return resp.tags
}

// withoutTags is f without the fields that clients must not see. It is f itself when there are none.
func (p *Policy) withoutTags(f message.Fields) message.Fields {
	if p.ForwardTags || !p.hasTags(f) {
		return f
	}
	return slices.DeleteFunc(slices.Clone(f), func(x message.Field) bool { return p.IsTagField(x.Name) })
}

// EachTag yields the tags in a field's value. Each vendor has a separator of its own: white space in Surrogate-Key and xkey, a comma in
// Cache-Tag and Edge-Cache-Tag. In a field of any other name both separate.
func EachTag(name, value string) func(yield func(string) bool) {
	comma, space := true, true
	switch strings.ToLower(name) {
	case "surrogate-key", "xkey":
		comma = false
	case "cache-tag", "edge-cache-tag":
		space = false
	}
	return func(yield func(string) bool) {
		for tag := range strings.FieldsFuncSeq(value, func(r rune) bool { return comma && r == ',' || space && (r == ' ' || r == '\t') }) {
			if tag = strings.Trim(tag, " \t"); tag != "" && !yield(tag) {
				return
			}
		}
	}
}

// maxTagFields bounds a service's tag fields.
const maxTagFields = 8

func (p *Policy) validatePurges(report func(key, fault string)) {
	if len(p.TagFields) > maxTagFields {
		report("tag_fields", fmt.Sprintf("must be at most %d", maxTagFields))
	}
	for i, f := range p.TagFields {
		if !message.IsToken(f) {
			report(fmt.Sprintf("tag_fields[%d]", i), "must be the name of a field, such as Surrogate-Key")
		}
	}
	for i, n := range p.PurgeFrom {
		if n != n.Masked() {
			report(fmt.Sprintf("purge_from[%d]", i), fmt.Sprintf("has bits beyond its length; the network is %s", n.Masked()))
		}
	}
}

// with is the tags of both.
func (s tagSet) with(other tagSet) tagSet {
	if s.all = s.all || other.all; len(other.hashes) > 0 {
		s.hashes = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(s.hashes), other.hashes...))))
	}
	return s
}
