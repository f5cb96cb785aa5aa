package message

import "unsafe"

// Detach gives the request strings and Fields of its own, so that it may outlive its exchange. Body, Trailers and State are not touched.
// All strings share one allocation.
func (r *Request) Detach() {
	all := [...]*string{&r.Method, &r.Scheme, &r.Authority, &r.Target.Path, &r.Target.Query, &r.Upgrade, &r.AltSvc}
	n := r.Fields.bytes()
	for _, s := range all {
		n += len(*s)
	}
	b := make([]byte, 0, n)
	own := func(s string) string {
		start := len(b)
		b = append(b, s...)
		return unsafe.String(unsafe.SliceData(b[start:]), len(s)) // b never moves, and is never written again
	}
	for _, s := range all {
		*s = own(*s)
	}
	if r.Fields == nil {
		return
	}
	f := make(Fields, len(r.Fields))
	for i, x := range r.Fields {
		f[i] = Field{Name: own(x.Name), Value: own(x.Value)}
	}
	r.Fields = f
}

// bytes is the length of all names and values.
func (f Fields) bytes() (n int) {
	for i := range f {
		n += len(f[i].Name) + len(f[i].Value)
	}
	return n
}
