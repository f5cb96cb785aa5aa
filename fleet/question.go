package fleet

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"strings"
)

// What a question and its answer look like.
const (
	path        = "/fleet"
	fieldNonce  = "Nearcast-Nonce" // of the question: random, and never used again
	fieldAsker  = "Nearcast-Asker" // of the question: the edge's name
	fieldMAC    = "Nearcast-Mac"   // of both: HMAC-SHA256 in hexadecimal digits
	minNonce    = 26               // rand.Text: 130 bits
	maxNonce    = 64
	macDigits   = 2 * sha256.Size
	contentType = "application/json"
)

var (
	nameForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	nonceForm    = regexp.MustCompile(`^[A-Za-z0-9]+$`)
	errNotSigned = errors.New("signed with no key that is accepted here")
)

// question is what an edge asks with.
type question struct{ nonce, asker string }

func newQuestion(asker string) question { return question{nonce: rand.Text(), asker: asker} }

// readQuestion takes a question and its signature from a request's fields, each of which must be there once.
func readQuestion(h http.Header) (q question, mac string, err error) {
	for _, field := range []struct {
		name string
		to   *string
	}{{fieldNonce, &q.nonce}, {fieldAsker, &q.asker}, {fieldMAC, &mac}} {
		values := h[field.name]
		if len(values) != 1 {
			return question{}, "", errors.New("each of " + fieldNonce + ", " + fieldAsker + " and " + fieldMAC + " must be there once")
		}
		*field.to = values[0]
	}
	switch {
	case len(q.nonce) < minNonce || len(q.nonce) > maxNonce || !nonceForm.MatchString(q.nonce):
		err = errors.New(fieldNonce + " must be 26 to 64 letters and digits")
	case !nameForm.MatchString(q.asker):
		err = errors.New(fieldAsker + " must be the name of an edge")
	case len(mac) != macDigits:
		err = errors.New(fieldMAC + " must be 64 hexadecimal digits")
	}
	if err != nil {
		return question{}, "", err
	}
	return q, mac, nil
}

// signQuestion signs with the first key.
func (k *keyring) signQuestion(q question) string { return k.pairs[0].questionMAC(q) }

// verifyQuestion returns the pair of keys that the question is signed with. The answer is signed with that pair, not with the first, so
// that edges whose files differ while a secret is replaced understand each other as long as they share one.
func (k *keyring) verifyQuestion(q question, mac string) (keyPair, error) {
	for _, p := range k.pairs {
		if equal(mac, p.questionMAC(q)) {
			return p, nil
		}
	}
	return keyPair{}, errNotSigned
}

// verifyAnswer checks that the body was made for that question by somebody who has one of the secrets.
func (k *keyring) verifyAnswer(q question, body []byte, mac string) error {
	for _, p := range k.pairs {
		if equal(mac, p.answerMAC(q, body)) {
			return nil
		}
	}
	return errNotSigned
}

func (p keyPair) questionMAC(q question) string {
	return sign(p.question, []byte(http.MethodGet+" "+path), []byte(q.nonce), []byte(q.asker))
}

func (p keyPair) answerMAC(q question, body []byte) string {
	return sign(p.answer, []byte(q.nonce), []byte(q.asker), body)
}

// sign signs the parts, each with its length, so that no other parts make the same octets.
func sign(key []byte, parts ...[]byte) string {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// equal compares two signatures in a time that tells nothing of where they differ.
func equal(given, right string) bool {
	return hmac.Equal([]byte(strings.ToLower(given)), []byte(right))
}
