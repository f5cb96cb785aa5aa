package keys

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	secretA = "correct horse battery staple, thirty-two octets"
	secretB = "another secret that is not the same as the first"
)

func ring(t testing.TB, secrets ...string) *Ring {
	t.Helper()
	r, err := New(secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDerivationIsPinned: edges of two versions must agree, so a change of these is a change of what they say to each other.
func TestDerivationIsPinned(t *testing.T) {
	s := ring(t, secretA).First()
	for _, c := range []struct {
		use     Use
		epoch   Epoch
		context string
		want    string
	}{
		{ConnectionID, 20000, "", "56a90949f590899864c750afe52bd737d01e4cff5e3c30038db7e6ee4d3f0d0b"},
		{ConnectionID, 20001, "", "1c07f38d0bcaf7fae7fc8ca92b3602e6532321d01610a5f50e7a4cf53c4283bd"},
		{ConnectionID, 20000, "x", "7119f5e73d4aea57f080a627fb7e51e6d32d9c8b4d7ad5a5b13fc5a2092ffe8c"},
		{Reset, 20000, "", "1c760fa10fc5b2f6b63c2cf49512114082fb360f934a503198cfa5bbce1dc304"},
		{Token, 20000, "", "9df46514acec2f1401ee9163b489d3d338df3851a2bf7d600c65cf4e4a482434"},
		{Ticket, 20000, "", "d238ba7946ca192dac98ba29b1c38e4ac2182c1f6c903b26d5a84409506aa5f6"},
		{Tunnel, 20000, "", "3de9cd07adaa09aae977e816ecd60add2058466a39bb993a50a3682b12182a58"},
		{Hello, 20000, "", "039176681d3354e4a409257571ae2b8a8f7440e5ac8ceaec7f4c17dac954d162"},
		{Hello, 0, "edge.example.com", "5aa5922112d6d5597f11edfe0a813873a9fc2ed44da9f456395db9d75b268322"},
		{Hello, 1<<32 - 1, "", "2be5e925fc54e81eba74860160ac26578edd1ac8dbe227ebacf1b88483edbca1"},
	} {
		k := s.Key(c.use, c.epoch, c.context)
		if got := hex.EncodeToString(k[:]); got != c.want {
			t.Errorf("%s, epoch %d, context %q: %s, want %s", c.use, c.epoch, c.context, got, c.want)
		}
		// RFC 5869 with one block of output, by hand.
		prk := mac(make([]byte, 32), []byte(secretA))
		info := "nearcast fleet v1 " + string(c.use) + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(c.epoch))) + c.context
		if okm := mac(prk, []byte(info+"\x01")); !hmac.Equal(okm, k[:]) {
			t.Errorf("%s, epoch %d, context %q: HKDF gives %x", c.use, c.epoch, c.context, okm)
		}
	}
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// TestKeysDiffer: by use, epoch, context and secret, and what is kept is what is derived.
func TestKeysDiffer(t *testing.T) {
	seen := map[Key]string{}
	r := ring(t, secretA, secretB)
	for i, s := range r.All() {
		for _, use := range []Use{ConnectionID, Reset, Token, Ticket, Tunnel, Hello} {
			for _, e := range []Epoch{0, 1, 256, 1 << 24} {
				for _, context := range []string{"", "\x00", "a", "b"} {
					k, what := s.Key(use, e, context), fmt.Sprint(i, use, e, context)
					if other, ok := seen[k]; ok {
						t.Errorf("%s has the key of %s", what, other)
					}
					seen[k] = what
					if s.Key(use, e, context) != k {
						t.Errorf("%s changed", what)
					}
				}
			}
		}
	}
	if again := ring(t, secretB); again.First().Key(Ticket, 1, "a") != r.All()[1].Key(Ticket, 1, "a") {
		t.Error("a key depends on the secret's place")
	}
	if r.First() != r.All()[0] || len(r.All()) != 2 {
		t.Error("the first secret is not the first")
	}
}

func TestEpochs(t *testing.T) {
	for _, c := range []struct {
		at   string
		want Epoch
	}{
		{"1970-01-01T00:00:00Z", 0},
		{"1970-01-01T23:59:59Z", 0},
		{"1970-01-02T00:00:00Z", 1},
		{"2026-11-28T00:00:00+14:00", 20784}, // UTC, wherever the edge stands
		{"2026-11-28T23:59:59Z", 20785},
		{"2026-11-29T00:00:00Z", 20786},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		e := At(at)
		if e != c.want {
			t.Errorf("%s is in epoch %d, want %d", c.at, e, c.want)
		}
		if s := e.Start(); s.After(at) || at.Sub(s) >= Length || At(s) != e || At(s.Add(-1)) == e && e > 0 {
			t.Errorf("%s: epoch %d starts %s", c.at, e, s)
		}
	}
}

// TestRange: the first key is the one to make things with, and each is there once.
func TestRange(t *testing.T) {
	r := ring(t, secretA, secretB)
	got := r.Range(Ticket, 100, 7, 1, "tcp")
	if len(got) != 18 || got[0] != r.First().Key(Ticket, 100, "tcp") {
		t.Fatalf("%d keys", len(got))
	}
	has := map[Key]bool{}
	for _, k := range got {
		has[k] = true
	}
	for _, s := range r.All() {
		for e := Epoch(92); e <= 102; e++ {
			if want := e >= 93 && e <= 101; has[s.Key(Ticket, e, "tcp")] != want {
				t.Errorf("epoch %d: there %t", e, !want)
			}
		}
	}
	if len(has) != 18 {
		t.Errorf("%d different keys", len(has))
	}
	if one := r.Range(Ticket, 100, 0, 0, ""); len(one) != 2 || one[1] != r.All()[1].Key(Ticket, 100, "") {
		t.Errorf("%d keys of one epoch", len(one))
	}
}

func TestRingNeedsSecrets(t *testing.T) {
	for _, secrets := range [][]string{nil, {}, {""}, {secretA, ""}} {
		if _, err := New(secrets); err == nil {
			t.Errorf("a ring of %d secrets was made", len(secrets))
		}
	}
}

// TestConcurrentUse is for the race detector, and for what many see at once.
func TestConcurrentUse(t *testing.T) {
	s, fresh := ring(t, secretA).First(), ring(t, secretA).First()
	var work sync.WaitGroup
	for g := range 8 {
		work.Go(func() {
			for i := range 200 {
				e := Epoch((i + g) % 20)
				k := s.Key(Ticket, e, "")
				if i%50 == 0 && k != fresh.Key(Ticket, e, "") {
					t.Errorf("epoch %d has another key", e)
				}
			}
		})
	}
	work.Wait()
}

// TestKeptKeysAreBounded: whoever asks for ever new contexts gets right keys, and no memory.
func TestKeptKeysAreBounded(t *testing.T) {
	s := ring(t, secretA).First()
	want := s.Key(Tunnel, 1, "0")
	for i := range 2*maxKept + 10 {
		s.Key(Tunnel, 1, fmt.Sprint(i))
		if n := len(s.material().keys); n > maxKept {
			t.Fatalf("%d keys are kept", n)
		}
	}
	if s.Key(Tunnel, 1, "0") != want {
		t.Error("a key changed when it was derived again")
	}
}

func TestKeptKeyCostsNoMemory(t *testing.T) {
	s := ring(t, secretA).First()
	s.Key(Tunnel, 1, "a peer")
	if n := testing.AllocsPerRun(100, func() { s.Key(Tunnel, 1, "a peer") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestFormattingHides: neither keys nor secrets get into a log.
func TestFormattingHides(t *testing.T) {
	r := ring(t, secretA)
	k := r.First().Key(Reset, 1, "")
	struct1 := struct {
		K Key
		S *Secret
		s *Secret
		r *Ring
	}{k, r.First(), r.First(), r}
	leaks := []string{secretA, "horse", hex.EncodeToString(k[:4]), strings.ToUpper(hex.EncodeToString(k[:4])),
		strings.Trim(fmt.Sprint([]byte(secretA)[:4]), "[]"), strings.Trim(fmt.Sprint(k[:4]), "[]"), string(k[:4]),
		strings.Trim(fmt.Sprintf("%#v", k[:4]), "[]byte{}"), hex.EncodeToString([]byte(secretA[:4]))}
	hidden := func(how, text string) {
		t.Helper()
		for _, leak := range leaks {
			if strings.Contains(text, leak) {
				t.Errorf("%s shows %q: %s", how, leak, text)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%08.3x", "%t"} {
		for _, v := range []any{k, &k, []Key{k}, map[string]Key{"": k}, r.First(), r.All(), r, *r, struct1, &struct1} {
			hidden(fmt.Sprintf("%s of %T", verb, v), fmt.Sprintf(verb, v))
		}
	}
	if got := fmt.Sprint(k, r.First()); got != "(key) (secret)" {
		t.Errorf("printed as %q", got)
	}
	if b, err := json.Marshal([]any{k, r, r.First(), struct1}); err != nil {
		t.Error(err)
	} else {
		hidden("JSON", string(b))
	}
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("x", "key", k, "secret", r.First(), "ring", r, "both", struct1)
	}
	hidden("a log", log.String())
}

func BenchmarkKey(b *testing.B) {
	s := ring(b, secretA).First()
	for b.Loop() {
		s.Key(Tunnel, 20000, "a peer")
	}
}

func BenchmarkDerive(b *testing.B) {
	s, e := ring(b, secretA).First(), Epoch(0)
	for b.Loop() {
		e++
		s.Key(Tunnel, e, "a peer")
	}
}
