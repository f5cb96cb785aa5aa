package bgp

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secret is a password that no formatting and no log shows: printing a struct that has one shows a pointer. Zero is none.
type secret struct{ value *string }

func newSecret(s string) secret {
	if s == "" {
		return secret{}
	}
	return secret{&s}
}

func (s secret) empty() bool { return s.value == nil }

func (s secret) reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String hides the secret.
func (secret) String() string { return "(secret)" }

// readPassword reads a TCP MD5 password: the file's only line. No file, no password.
func readPassword(file string) (secret, error) {
	if file == "" {
		return secret{}, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return secret{}, fmt.Errorf("password_file can't be read: %w", err)
	}
	line := strings.TrimRight(string(b), "\r\n")
	switch {
	case line == "":
		err = errors.New("is empty; write the password as its only line")
	case strings.ContainsAny(line, "\r\n"):
		err = errors.New("has more than one line; write the password as its only line")
	case len(line) > maxMD5Key:
		err = fmt.Errorf("has a password of %d bytes; TCP MD5 takes at most %d", len(line), maxMD5Key)
	}
	if err != nil {
		return secret{}, fmt.Errorf("password_file %s %w", file, err)
	}
	return newSecret(line), nil
}
