package bgp

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// secret is a password that no log shows.
type secret string

// String hides the secret from formatting and logging.
func (secret) String() string { return "(secret)" }

// GoString hides it from %#v too.
func (secret) GoString() string { return "(secret)" }

// readPassword reads a TCP MD5 password: the file's only line. No file, no password.
func readPassword(file string) (secret, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("password_file can't be read: %w", err)
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
		return "", fmt.Errorf("password_file %s %w", file, err)
	}
	return secret(line), nil
}
