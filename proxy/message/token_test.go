package message

import (
	"strings"
	"testing"
)

func TestATokenIsEveryVisibleCharacterButTheDelimiters(t *testing.T) {
	for c := range 256 {
		want := c > ' ' && c < 0x7f && strings.IndexByte(`"(),/:;<=>?@[\]{}`, byte(c)) < 0
		if got := IsToken(string([]byte{'a', byte(c)})); got != want {
			t.Errorf("%q: %t, want %t", byte(c), got, want)
		}
	}
	if IsToken("") {
		t.Error("a token has at least one character")
	}
}
