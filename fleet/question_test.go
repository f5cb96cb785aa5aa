package fleet

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
)

// fields are a request's that ask q.
func fields(q question, mac string) http.Header {
	return http.Header{fieldNonce: {q.nonce}, fieldAsker: {q.asker}, fieldMAC: {mac}}
}

func TestQuestionsAreReadStrictly(t *testing.T) {
	q, k := newQuestion("fra-1"), ring(t, secretA)
	good := fields(q, k.signQuestion(q))
	for _, tt := range []struct {
		why    string
		change func(http.Header)
		ok     bool
	}{
		{"as it is sent", func(http.Header) {}, true},
		{"more fields", func(h http.Header) { h.Set("X", "y") }, true},
		{"no nonce", func(h http.Header) { h.Del(fieldNonce) }, false},
		{"no asker", func(h http.Header) { h.Del(fieldAsker) }, false},
		{"no signature", func(h http.Header) { h.Del(fieldMAC) }, false},
		{"two nonces", func(h http.Header) { h.Add(fieldNonce, q.nonce) }, false},
		{"two signatures", func(h http.Header) { h.Add(fieldMAC, "x") }, false},
		{"a short nonce", func(h http.Header) { h.Set(fieldNonce, "a") }, false},
		{"a long nonce", func(h http.Header) { h.Set(fieldNonce, strings.Repeat("a", 65)) }, false},
		{"a nonce with a space", func(h http.Header) { h.Set(fieldNonce, strings.Repeat("a ", 20)) }, false},
		{"an asker that is no name", func(h http.Header) { h.Set(fieldAsker, "Fra 1") }, false},
		{"a short signature", func(h http.Header) { h.Set(fieldMAC, "ab") }, false},
	} {
		h := good.Clone()
		tt.change(h)
		got, mac, err := readQuestion(h)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.why, err)
		}
		if tt.ok && (got != q || mac != good.Get(fieldMAC)) {
			t.Errorf("%s: %v", tt.why, got)
		}
	}
}

func TestNoBitOfAQuestionMayChange(t *testing.T) {
	k, q := ring(t, secretA), newQuestion("fra-1")
	mac := k.signQuestion(q)
	if _, err := k.verifyQuestion(q, mac); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]question{
		"another nonce":         {newQuestion("").nonce, q.asker},
		"another asker":         {q.nonce, "fra-2"},
		"nonce and asker moved": {q.nonce + q.asker[:1], q.asker[1:]},
	} {
		if _, err := k.verifyQuestion(other, mac); err == nil {
			t.Errorf("%s passes", name)
		}
	}
	raw, _ := hex.DecodeString(mac)
	for i := range raw {
		raw[i] ^= 1
		if _, err := k.verifyQuestion(q, hex.EncodeToString(raw)); err == nil {
			t.Errorf("a signature with octet %d changed passes", i)
		}
		raw[i] ^= 1
	}
	if _, err := ring(t, secretB).verifyQuestion(q, mac); err == nil {
		t.Error("another secret's signature passes")
	}
	if _, err := k.verifyQuestion(q, ""); err == nil {
		t.Error("no signature passes")
	}
}

func TestAnAnswerIsForItsQuestionAlone(t *testing.T) {
	k, q, body := ring(t, secretA), newQuestion("fra-1"), []byte(valid)
	mac := k.pairs[0].answerMAC(q, body)
	if err := k.verifyAnswer(q, body, mac); err != nil {
		t.Fatal(err)
	}
	changed := append([]byte(nil), body...)
	for i := range changed {
		changed[i] ^= 0x20
		if k.verifyAnswer(q, changed, mac) == nil {
			t.Errorf("a body with octet %d changed passes", i)
		}
		changed[i] ^= 0x20
	}
	if k.verifyAnswer(newQuestion("fra-1"), body, mac) == nil {
		t.Error("an answer to an earlier question passes: a replay")
	}
	if k.verifyAnswer(question{q.nonce, "fra-2"}, body, mac) == nil {
		t.Error("an answer to another edge passes")
	}
	if bytes.Equal(k.pairs[0].question, k.pairs[0].answer) {
		t.Error("one key for two uses")
	}
	if k.verifyAnswer(q, body, k.signQuestion(q)) == nil || k.verifyAnswer(q, nil, k.signQuestion(q)) == nil {
		t.Error("a question's signature passes for an answer's")
	}
	if ring(t, secretB).verifyAnswer(q, body, mac) == nil {
		t.Error("another secret's answer passes")
	}
}

func TestTheFirstSecretSignsAndAllAreAccepted(t *testing.T) {
	both, a, b := ring(t, secretA, secretB), ring(t, secretA), ring(t, secretB)
	q := newQuestion("fra-1")
	if _, err := a.verifyQuestion(q, both.signQuestion(q)); err != nil {
		t.Error("the first secret does not sign")
	}
	if _, err := b.verifyQuestion(q, both.signQuestion(q)); err == nil {
		t.Error("the second signs too")
	}
	for _, k := range []*keyring{a, b} {
		pair, err := both.verifyQuestion(q, k.signQuestion(q))
		if err != nil {
			t.Error("a secret of the file is not accepted")
			continue
		}
		if k.verifyAnswer(q, nil, pair.answerMAC(q, nil)) != nil {
			t.Error("the answer is signed with a secret that the asker may not have")
		}
	}
}

func TestNoncesAreNotRepeated(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		q := newQuestion("fra-1")
		if len(q.nonce) < minNonce || seen[q.nonce] {
			t.Fatalf("the nonce %q is short or not new", q.nonce)
		}
		seen[q.nonce] = true
	}
}

func FuzzQuestion(f *testing.F) {
	k, err := newKeyring([]string{secretA, secretB})
	if err != nil {
		f.Fatal(err)
	}
	q := newQuestion("fra-1")
	f.Add(q.nonce, q.asker, strings.Repeat("0", macDigits))
	f.Add(q.nonce, "", k.pairs[0].answerMAC(q, nil))
	f.Add("", "a\r\nb", "\x00")
	f.Fuzz(func(t *testing.T, nonce, asker, mac string) {
		got, m, err := readQuestion(fields(question{nonce, asker}, mac))
		if err != nil {
			return
		}
		if strings.ContainsAny(got.nonce+got.asker, " \r\n\x00\"") {
			t.Fatalf("%q", got)
		}
		// Nobody guesses a signature; the right one passes whatever the nonce and the name are.
		if _, err := k.verifyQuestion(got, m); err == nil && !equal(m, k.pairs[0].questionMAC(got)) && !equal(m, k.pairs[1].questionMAC(got)) {
			t.Fatalf("%q passes", m)
		}
		if _, err := k.verifyQuestion(got, k.pairs[1].questionMAC(got)); err != nil {
			t.Fatal(err)
		}
	})
}
