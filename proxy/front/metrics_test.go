package front

import (
	"regexp"
	"testing"

	"nearcast/proxy/h1"
	"nearcast/proxy/h2"
	"nearcast/proxy/h3"
)

func TestKindsOfProtocolErrorsAreWordsOfOneStyle(t *testing.T) {
	style := regexp.MustCompile(`^[a-z0-9]+(_[a-z0-9]+)*$`)
	for name, kinds := range map[string][]string{"h1": h1.ErrorKinds, "h2": h2.ErrorKinds, "h3": h3.ErrorKinds} {
		seen := map[string]bool{}
		for _, k := range kinds {
			if !style.MatchString(k) || seen[k] {
				t.Errorf("%s: %q, seen before: %v", name, k, seen[k])
			}
			seen[k] = true
		}
	}
}
