// Package message holds the version-independent form of a request and a response: what every front end decodes
// into and encodes from, what the upstream side speaks, and what the cache stores. It imports nothing of ours.
package message

// Field is one field line (RFC 9110 §5). Name is lower case; Value has no surrounding white space.
type Field struct {
	Name, Value string
}

// Fields is a field section in the order received. Lines of one name are kept apart, never joined:
// joining is wrong for Set-Cookie, and the order between names carries no meaning but costs nothing to keep.
type Fields []Field

// Get returns the first value of name, which must be lower case, or "".
func (f Fields) Get(name string) string {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value
		}
	}
	return ""
}

// Has reports whether there is a line of that name.
func (f Fields) Has(name string) bool {
	for i := range f {
		if f[i].Name == name {
			return true
		}
	}
	return false
}

// Values returns the values of every line of that name, in order; nil when there is none.
func (f Fields) Values(name string) []string {
	var v []string
	for i := range f {
		if f[i].Name == name {
			v = append(v, f[i].Value)
		}
	}
	return v
}

// Add appends a line.
func (f *Fields) Add(name, value string) {
	*f = append(*f, Field{Name: name, Value: value})
}

// Set replaces every line of that name by one, at the place of the first.
func (f *Fields) Set(name, value string) {
	for i := range *f {
		if (*f)[i].Name == name {
			(*f)[i].Value = value
			rest := (*f)[i+1:]
			rest.Del(name)
			*f = (*f)[:i+1+len(rest)]
			return
		}
	}
	f.Add(name, value)
}

// Del removes every line of that name, in place.
func (f *Fields) Del(name string) {
	f.DeleteFunc(func(x Field) bool { return x.Name == name })
}

// DeleteFunc removes every line for which del returns true, in place.
func (f *Fields) DeleteFunc(del func(Field) bool) {
	kept := (*f)[:0]
	for _, x := range *f {
		if !del(x) {
			kept = append(kept, x)
		}
	}
	clear((*f)[len(kept):])
	*f = kept
}

// Clone returns a copy that shares no line with f.
func (f Fields) Clone() Fields {
	if f == nil {
		return nil
	}
	return append(make(Fields, 0, len(f)), f...)
}

// Size is the field section's size as RFC 9114 §4.2.2 counts it: 32 bytes a line besides its name and value.
func (f Fields) Size() int {
	n := 0
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value) + 32
	}
	return n
}
