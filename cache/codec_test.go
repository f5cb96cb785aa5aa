package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"nearcast/proxy/message"
)

// fillIn gives every field of the struct v a value that is not zero, but for those named.
func fillIn(t *testing.T, v reflect.Value, n *int, but ...string) {
	t.Helper()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		f := v.Field(i)
		f = reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem() // unexported ones can be set so
		*n++
		switch x := f.Addr().Interface().(type) {
		case *time.Time:
			*x = time.Unix(int64(*n)<<32, int64(*n))
			continue
		case *message.Fields:
			*x = message.Fields{{Name: "etag", Value: fmt.Sprint(*n)}, {Name: fmt.Sprintf("x-%d", *n), Value: ""}}
			continue
		}
		skip := false
		for _, b := range but {
			skip = skip || b == name
		}
		switch {
		case skip:
		case f.Kind() == reflect.Bool:
			f.SetBool(true)
		case f.Kind() == reflect.String:
			f.SetString(fmt.Sprintf("x-%d", *n))
		case f.CanInt():
			f.SetInt(int64(200 + *n))
		case f.CanUint():
			f.SetUint(uint64(200 + *n))
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Uint64:
			f.Set(reflect.ValueOf([]uint64{1, uint64(*n)}).Convert(f.Type()))
		case f.Kind() == reflect.Struct:
			fillIn(t, f, n, but...)
		default:
			t.Fatalf("the test can't fill in %s: teach it, and the codec", name)
		}
	}
}

// TestARecordCarriesEveryField fails when a new field of Object, terms, Key or selector is forgotten in the codec.
func TestARecordCarriesEveryField(t *testing.T) {
	var want record
	want.obj = &Object{}
	want.sel = make([]selector, 2)
	n := 0
	fillIn(t, reflect.ValueOf(want.obj).Elem(), &n, "body", "encoded", "serial")
	fillIn(t, reflect.ValueOf(&want.key).Elem(), &n)
	want.key.query += "\x00x-tier=gold" // which is what selected says
	for i := range want.sel {
		fillIn(t, reflect.ValueOf(&want.sel[i]).Elem(), &n)
	}
	want.trailers = fields("Digest: 1", "X-Checksum: 2")
	o := *want.obj
	o.body = &body{trailers: want.trailers}
	got, err := parseRecord(appendRecord(nil, want.key, &o, want.sel))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v %+v\nwant %+v %+v", err, got, got.obj, want, want.obj)
	}
	o = Object{Status: 200, received: time.Unix(0, 0)}
	key := Key{path: "/", query: "\x00device=mobile", selected: true}
	if got, err := parseRecord(appendRecord(nil, key, &o, nil)); err != nil || got.key != key {
		t.Errorf("a key without a query: %v, %+v", err, got.key)
	}
	// Each flag by itself: two that share a bit would both be set above.
	for i := range flagsOf(&Key{}, &Object{}) {
		key, o := Key{path: "/"}, &Object{Status: 200}
		*flagsOf(&key, o)[i] = true
		o.received = time.Unix(0, 0)
		if got, err := parseRecord(appendRecord(nil, key, o, nil)); err != nil || got.key != key || !reflect.DeepEqual(got.obj, o) {
			t.Errorf("flag %d: %v, %+v", i, err, got.obj)
		}
	}
}

func TestARecordIsStrict(t *testing.T) {
	key := KeyOf("shop", get("/a?b=1"))
	o := &Object{Status: 200, Fields: fields("ETag: \"1\"", "X-A: b"), Length: 5, received: epoch}
	good := appendRecord(nil, key, o, []selector{{"accept", absentField}})
	if _, err := parseRecord(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := parseRecord(good[:n]); err == nil {
			t.Errorf("the first %d bytes of %d are taken for a record", n, len(good))
		}
	}
	for what, b := range map[string][]byte{
		"another version":    append([]byte{recordVersion + 1}, good[1:]...),
		"an unknown flag":    append(binary.AppendUvarint([]byte{recordVersion}, 1<<len(flagsOf(&key, o))), good[2:]...),
		"a byte too much":    append(bytes.Clone(good), 0),
		"a status below":     appendRecord(nil, key, &Object{Status: 199}, nil),
		"a status above":     appendRecord(nil, key, &Object{Status: 600}, nil),
		"a negative length":  appendRecord(nil, key, &Object{Status: 200, Length: -2}, nil),
		"a negative term":    appendRecord(nil, key, &Object{Status: 200, terms: terms{lifetime: -1}}, nil),
		"a line break":       appendRecord(nil, key, &Object{Status: 200, Fields: message.Fields{{Name: "a", Value: "b\r\nc: d"}}}, nil),
		"an upper-case name": appendRecord(nil, key, &Object{Status: 200, Fields: message.Fields{{Name: "A", Value: "b"}}}, nil),
		"an empty name":      appendRecord(nil, key, &Object{Status: 200, Fields: message.Fields{{Name: "", Value: "b"}}}, nil),
	} {
		if _, err := parseRecord(b); err == nil {
			t.Errorf("%s is taken for a record", what)
		}
	}
}

func TestARecordKeepsNothingOfItsBytes(t *testing.T) {
	b := appendRecord(nil, KeyOf("shop", get("/a")), &Object{Status: 200, Fields: fields("ETag: abc"), received: epoch}, nil)
	rec, err := parseRecord(b)
	clear(b)
	if err != nil || rec.key.path != "/a" || rec.obj.Fields.Get("etag") != "abc" {
		t.Errorf("%v, %+v", err, rec)
	}
}

func TestFieldNamesTable(t *testing.T) {
	if len(fieldNameIndex) != len(fieldNamesTable) || len(fieldNamesTable) > 127 {
		t.Errorf("%d names, %d of them different", len(fieldNamesTable), len(fieldNameIndex))
	}
	for _, n := range fieldNamesTable {
		if !message.IsLowerToken(n) {
			t.Errorf("%q is no name", n)
		}
	}
}

func FuzzRecord(f *testing.F) {
	key := KeyOf("shop", get("/a?b=1"))
	o := &Object{Status: 200, Fields: fields("ETag: \"1\"", "X-A: b"), Length: 5, received: epoch, terms: terms{lifetime: time.Hour}}
	f.Add(appendRecord(nil, key, o, []selector{{"accept", absentField}}))
	f.Add(appendRecord(nil, Key{path: "/"}, &Object{Status: 404, Length: -1, body: &body{trailers: fields("A: b")}}, nil))
	f.Add([]byte{recordVersion, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := parseRecord(b)
		if err != nil {
			return
		}
		rec.obj.body = &body{trailers: rec.trailers}
		if again := appendRecord(nil, rec.key, rec.obj, rec.sel); !bytes.Equal(again, b) {
			t.Errorf("%q has another form: %q", b, again)
		}
	})
}
