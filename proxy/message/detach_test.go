package message

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// a request whose strings are parts of buf.
func borrowed(buf []byte) *Request {
	part := func(from, to int) string { return unsafe.String(&buf[from], to-from) }
	return &Request{Method: part(0, 3), Authority: part(3, 6), Target: Target{Path: part(6, 8), Query: part(8, 9), HasQuery: true},
		Fields: Fields{{Name: part(9, 10), Value: part(10, 12)}, {Name: part(12, 13)}}, Scheme: part(13, 17), Upgrade: part(17, 19), AltSvc: part(19, 21)}
}

func TestADetachedRequestOutlivesItsBuffer(t *testing.T) {
	const text = "GETa.b/xqavvbhttpwsh3"
	buf := []byte(text)
	r := borrowed(buf)
	r.Detach()
	copy(buf, strings.Repeat("!", len(buf)))
	if want := borrowed([]byte(text)); !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestDetachAllocatesTwice(t *testing.T) {
	buf := []byte("GETa.b/xqavvbhttpwsh3")
	if n := testing.AllocsPerRun(100, func() { r := borrowed(buf); r.Detach() }); n > 5 { // the request and its two slices besides
		t.Errorf("%v allocations", n)
	}
}
