package crash

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"
)

func TestBodiesTellWhatTheyAre(t *testing.T) {
	a, b := Body("/k/1", 1, 4096), Body("/k/1", 2, 4096)
	if !bytes.Equal(a, Body("/k/1", 1, 4096)) || bytes.Equal(a, b) || !bytes.HasPrefix(a, []byte("/k/1 version 1 checksum ")) || len(a) < minBody {
		t.Errorf("%.60q, %.60q", a, b)
	}
}

// TestWrongAnswersAreFound shows that the loop is no yes-man.
func TestWrongAnswersAreFound(t *testing.T) {
	for _, c := range []struct {
		why     string
		version int64
		status  int
		change  func(body []byte, h http.Header) []byte
		wrong   bool
	}{
		{"right", 2, 200, func(b []byte, _ http.Header) []byte { return b }, false},
		{"right, of a part", 1, 206, func(b []byte, _ http.Header) []byte { return b[10:100] }, false},
		{"torn", 1, 200, func(b []byte, _ http.Header) []byte { return b[:len(b)-1] }, true},
		{"a flipped bit", 1, 200, func(b []byte, _ http.Header) []byte { b[77] ^= 1; return b }, true},
		{"the body of another version", 1, 200, func([]byte, http.Header) []byte { return Body("/k/1", 2, 4096) }, true},
		{"the body of another path", 1, 200, func([]byte, http.Header) []byte { return Body("/k/2", 1, 4096) }, true},
		{"the fields of another version", 1, 200, func(b []byte, h http.Header) []byte { h.Set("Etag", `"/k/1 2"`); return b }, true},
		{"a version that never was", 3, 200, func(b []byte, _ http.Header) []byte { return b }, true},
		{"an answer that nobody gave", 1, 404, func(b []byte, _ http.Header) []byte { return b }, true},
	} {
		l := &loop{o: Options{MaxBody: 4096}, origin: &origin{versions: map[string][]int64{"/k/1": {1, 1}, "/k/2": {1}}}}
		h := http.Header{"X-Version": {strconv.FormatInt(c.version, 10)}, "Etag": {strconv.Quote("/k/1 " + strconv.FormatInt(c.version, 10))}}
		body := c.change(Body("/k/1", c.version, 4096), h)
		if l.judge("/k/1", &http.Response{StatusCode: c.status, Header: h}, body); (l.wrong.Load() == 1) != c.wrong {
			t.Errorf("%s: %s", c.why, l.fault)
		}
	}
}
