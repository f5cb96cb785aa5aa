package fleet

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"nearcast/fleet/keys"
)

const (
	maxSecrets     = 8
	minSecret      = 32
	maxSecret      = 1024
	minDistinct    = 8 // different bytes in a secret: 32 random hexadecimal digits have fewer once in a million times
	maxSecretFile  = maxSecrets * (maxSecret + 2)
	readableByAll  = 0o004
	writableByAll  = 0o002
	questionsLabel = "nearcast fleet v1 question"
	answersLabel   = "nearcast fleet v1 answer"
)

// CheckSecret reads the file as Open does.
func (c *Config) CheckSecret() error {
	if _, err := readKeyring(c.SecretFile); err != nil {
		return fmt.Errorf("fleet.%w", err)
	}
	return nil
}

// Keys reads the file as Open does, for who needs what the edges share and asks none of them.
func (c *Config) Keys() (*keys.Ring, error) {
	k, err := readKeyring(c.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("fleet.%w", err)
	}
	return k.ring, nil
}

// keyring are the keys of a fleet's secrets. The first pair signs questions, every pair is accepted. No formatting shows them.
type keyring struct {
	pairs []keyPair
	ring  *keys.Ring // of everything that edges share without asking each other
}

type keyPair struct{ question, answer []byte }

// String hides the keys.
func (*keyring) String() string { return "(secret)" }

// GoString hides the keys.
func (*keyring) GoString() string { return "(secret)" }

// Format hides the keys from verbs that String has no say in, such as %d.
func (*keyring) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "(secret)") }

// newKeyring derives a key for each use of each secret (HKDF, RFC 5869), so that no signature of one use passes in another.
func newKeyring(secrets []string) (*keyring, error) {
	ring, err := keys.New(secrets)
	if err != nil {
		return nil, err
	}
	k := &keyring{ring: ring}
	for _, s := range secrets {
		question, err := hkdf.Key(sha256.New, []byte(s), nil, questionsLabel, sha256.Size)
		if err != nil {
			return nil, err
		}
		answer, err := hkdf.Key(sha256.New, []byte(s), nil, answersLabel, sha256.Size)
		if err != nil {
			return nil, err
		}
		k.pairs = append(k.pairs, keyPair{question, answer})
	}
	return k, nil
}

func readKeyring(file string) (*keyring, error) {
	secrets, err := readSecrets(file)
	if err != nil {
		return nil, err
	}
	return newKeyring(secrets)
}

// readSecrets reads one secret a line. The error never has any of them.
func readSecrets(file string) ([]string, error) {
	text, err := readPrivate(file)
	if err != nil {
		return nil, fmt.Errorf("secret_file %s %w", file, err)
	}
	var secrets []string
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if fault := secretFault(line); fault != "" {
			return nil, fmt.Errorf("secret_file %s: line %d %s", file, i+1, fault)
		}
		if slices.Contains(secrets, line) {
			return nil, fmt.Errorf("secret_file %s: line %d is an earlier line again; write each secret once", file, i+1)
		}
		secrets = append(secrets, line)
	}
	switch {
	case len(secrets) == 0:
		return nil, fmt.Errorf("secret_file %s is empty; write what `openssl rand -base64 33` prints, the same in every edge", file)
	case len(secrets) > maxSecrets:
		return nil, fmt.Errorf("secret_file %s has %d secrets; at most %d", file, len(secrets), maxSecrets)
	}
	return secrets, nil
}

func secretFault(line string) string {
	distinct := make(map[byte]bool)
	for i := range len(line) {
		distinct[line[i]] = true
	}
	switch {
	case len(line) < minSecret:
		return fmt.Sprintf("has %d bytes; a secret has at least %d: write what `openssl rand -base64 33` prints", len(line), minSecret)
	case len(line) > maxSecret:
		return fmt.Sprintf("has %d bytes; a secret has at most %d", len(line), maxSecret)
	case len(distinct) < minDistinct:
		return fmt.Sprintf("has %d different characters, which can be guessed; write what `openssl rand -base64 33` prints", len(distinct))
	}
	return ""
}

// readPrivate reads a small file that not everybody may read or write.
func readPrivate(file string) (string, error) {
	// A pipe would keep the start waiting for a writer, so that is asked before it is opened.
	if info, err := os.Stat(file); err != nil {
		return "", fmt.Errorf("can't be read: %w", err)
	} else if !info.Mode().IsRegular() {
		return "", errors.New("is not a plain file")
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("can't be read: %w", err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&(readableByAll|writableByAll) != 0 {
		return "", fmt.Errorf("has mode %04o: everybody on this machine can use it; run `chmod o= %s`", mode, file)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("can't be read: %w", err)
	case len(b) > maxSecretFile:
		return "", fmt.Errorf("is larger than %d secrets can be", maxSecrets)
	}
	return string(b), nil
}
