// Package coding is what a cache needs of HTTP's content codings (RFC 9110 §8.4.1): what a request accepts, and the encoders.
package coding

import "fmt"

// Coding is a content coding that this package knows.
type Coding uint8

const (
	Identity   Coding = iota // no coding at all
	Gzip                     // RFC 1952
	Brotli                   // RFC 7932
	Zstd                     // RFC 8878, with the window of RFC 9659
	Deflate                  // from here on they are known to the negotiation alone: nothing is encoded in them
	DictBrotli               // dcb, with a dictionary that the client has (RFC 9842)
	DictZstd                 // dcz

	count
)

// Count is the number of codings.
const Count = int(count)

var names = [count]string{Identity: "identity", Gzip: "gzip", Brotli: "br", Zstd: "zstd", Deflate: "deflate", DictBrotli: "dcb", DictZstd: "dcz"}

// String returns the coding's token.
func (c Coding) String() string {
	if c < count {
		return names[c]
	}
	return fmt.Sprintf("coding(%d)", uint8(c))
}

// Parse returns the coding of a token, whose case does not matter (RFC 9110 §8.4.1); false for one that is not known. x-gzip is gzip.
func Parse(token string) (Coding, bool) {
	for c := range names {
		if foldEqual(token, names[c]) {
			return Coding(c), true
		}
	}
	return Gzip, foldEqual(token, "x-gzip") // RFC 9110 §8.4.1.3
}

// foldEqual compares a token with one in lower case.
func foldEqual(token, lower string) bool {
	if len(token) != len(lower) {
		return false
	}
	for i := 0; i < len(token); i++ {
		c := token[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// UnmarshalText reads the token of a coding that can be made.
func (c *Coding) UnmarshalText(text []byte) error {
	for _, x := range [...]Coding{Gzip, Brotli, Zstd} {
		if string(text) == names[x] {
			*c = x
			return nil
		}
	}
	return fmt.Errorf("%q is not a coding that can be made: write br, zstd or gzip", text)
}

// MarshalText writes the token.
func (c Coding) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
