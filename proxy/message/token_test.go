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

func TestAFieldValueHasNoControlsAndNothingAroundIt(t *testing.T) {
	for v, want := range map[string]bool{"": true, "a b": true, "a\tb": true, "\xff": true, " a": false, "a ": false, "\ta": false,
		"a\x00": false, "a\rb": false, "a\nb": false, "a\x7f": false} {
		if got := IsFieldValue(v); got != want {
			t.Errorf("%q: %t, want %t", v, got, want)
		}
	}
}

func TestALowerTokenHasNoCapitals(t *testing.T) {
	if !IsLowerToken("content-type") || IsLowerToken("Content-Type") || IsLowerToken("") || IsLowerToken("a b") {
		t.Error("field names are tokens in lower case")
	}
}
