package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/fleet/keys"
)

func TestSecretFileRules(t *testing.T) {
	different := make([]string, maxSecrets+1)
	for i := range different {
		different[i] = fmt.Sprintf("%d%s", i, secretA)
	}
	for _, tt := range []struct {
		why, text string
		n         int    // secrets
		fault     string // part of the error
	}{
		{"one", secretA, 1, ""},
		{"one with a line end", secretA + "\r\n", 1, ""},
		{"two, with empty lines", "\n" + secretA + "\n\n " + secretB + "\t\n", 2, ""},
		{"as many as may be", strings.Join(different[1:], "\n"), maxSecrets, ""},
		{"none", "\n \n", 0, "is empty; write what"},
		{"too many", strings.Join(different, "\n"), 0, "has 9 secrets; at most 8"},
		{"too short", secretA + "\nabcdefg", 0, "line 2 has 7 bytes; a secret has at least 32"},
		{"too long", strings.Repeat(secretA, 30), 0, "line 1 has 1200 bytes; a secret has at most 1024"},
		{"what a child would guess", strings.Repeat("aaaabbbb", 8), 0, "line 1 has 2 different characters"},
		{"one twice", secretA + "\n" + secretB + "\n" + secretA, 0, "line 3 is an earlier line again"},
		{"a whole disk", strings.Repeat(secretA+"\n", 1<<15), 0, "is larger than 8 secrets can be"},
	} {
		file := filepath.Join(t.TempDir(), "fleet.key")
		if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readSecrets(file)
		if len(got) != tt.n || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: %d secrets, %v", tt.why, len(got), err)
		}
		if err != nil && (strings.Contains(err.Error(), secretA[:8]) || strings.Contains(err.Error(), "abcdefg") || !strings.Contains(err.Error(), file)) {
			t.Errorf("%s: the error names a secret, or not its file: %v", tt.why, err)
		}
	}
}

func TestWhoMayReadTheSecret(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes of files mean nothing here")
	}
	file := secretFile(t, secretA)
	for mode, ok := range map[os.FileMode]bool{0o400: true, 0o600: true, 0o640: true, 0o660: true, 0o644: false, 0o604: false, 0o602: false, 0o666: false} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := readSecrets(file); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "chmod o= "+file) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

func TestNoFormattingShowsASecret(t *testing.T) {
	k := ring(t, secretA)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
		if got := fmt.Sprintf(verb, k); got != "(secret)" {
			t.Errorf("%s: %s", verb, got)
		}
	}
}

func TestTheSecretIsReadAgainWhenItChanges(t *testing.T) {
	e := &edge{log: new(logBuffer), set: metrics.NewSet()}
	file := secretFile(t, secretA)
	k, err := openKeyFile(file, true, testLog(e), e.set)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string, mode os.FileMode, at int) {
		t.Helper()
		// As tools do it: another file is put in its place.
		next := file + ".new"
		if err := os.WriteFile(next, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(int64(1_000_000_000+at), 0)
		if err := os.Chtimes(next, when, when); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, file); err != nil {
			t.Fatal(err)
		}
	}
	q := newQuestion("fra-1")
	signedBy := func(secret string) bool { return k.get().signQuestion(q) == ring(t, secret).signQuestion(q) }

	shared := func(f *Fleet, secret string) bool {
		want, err := keys.New([]string{secret})
		return err == nil && f.Keys().First().Key(keys.Ticket, 1, "") == want.First().Key(keys.Ticket, 1, "")
	}
	f := &Fleet{keys: k}
	first := f.Keys()

	k.look()
	if k.loaded.Get() != 0 || f.Keys() != first || !shared(f, secretA) {
		t.Error("read again though it did not change")
	}
	write(secretB+"\n"+secretA, 0o600, 1)
	k.look()
	if !signedBy(secretB) || len(k.get().pairs) != 2 || k.loaded.Get() != 1 {
		t.Error("the changed secret is not in use")
	}
	if f.Keys() == first || !shared(f, secretB) || len(f.Keys().All()) != 2 {
		t.Error("what the edges share is not made of the changed secret")
	}
	if read, err := (&Config{SecretFile: file}).Keys(); err != nil || len(read.All()) != 2 {
		t.Errorf("the file alone: %v", err)
	}
	if (*Fleet)(nil).Keys() != nil {
		t.Error("a fleet of nobody has keys")
	}
	write("short", 0o600, 2)
	for range 3 {
		k.look()
	}
	if !signedBy(secretB) || k.failed.Get() != 1 || e.log.count("can't be used") != 1 {
		t.Errorf("of a file that can't be used something was taken, or it was not told once: %d", k.failed.Get())
	}
	write(secretB+"\n"+secretA, 0o600, 4)
	k.look()
	for i := range 2 { // it is taken away, and put back as it was
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		k.look()
		k.look()
		if !signedBy(secretB) || k.failed.Get() != uint64(2+i) {
			t.Errorf("without its file the secret is gone, or that was not told once: %d", k.failed.Get())
		}
		if err := os.Rename(file+".away", file); err != nil {
			t.Fatal(err)
		}
		k.look()
	}
	write(secretA, 0o600, 3)
	k.look()
	k.look()
	if !signedBy(secretA) || k.loaded.Get() != 3 {
		t.Error("the mended file is not in use")
	}
	write(secretB, 0o600, 3) // of the same time and size
	k.look()
	if !signedBy(secretB) {
		t.Error("a file that differs in nothing but itself is not read")
	}
}

// A file that was put right heals everything but the connection IDs of the process, and an operator who sees all edges hear each other would never
// find out.
func TestConnectionIDsOutliveTheirSecret(t *testing.T) {
	for _, rescue := range []bool{true, false} {
		e := &edge{log: new(logBuffer), set: metrics.NewSet()}
		file := secretFile(t, secretA)
		k, err := openKeyFile(file, rescue, testLog(e), e.set)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range []struct {
			secrets []string
			line    string // in the log
			restart bool
		}{
			{[]string{secretA, secretB}, "", false},
			{[]string{secretB, secretA}, "restart this edge before that line is removed", true},
			{[]string{secretB}, "other edges that lack it can't read them", true},
			{[]string{secretA}, "", false},
		} {
			before := e.log.count("QUIC connection IDs")
			if err := os.WriteFile(file, []byte(strings.Join(step.secrets, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
			when := time.Unix(int64(1_000_000_000+i), 0)
			if err := os.Chtimes(file, when, when); err != nil {
				t.Fatal(err)
			}
			k.look()
			said, want := e.log.count("QUIC connection IDs")-before, 0
			if rescue && step.line != "" {
				want = 1
			}
			if said != want || want == 1 && e.log.count(step.line) != 1 {
				t.Errorf("rescue %t, step %d: %d lines, want %d with %q", rescue, i, said, want, step.line)
			}
			var b strings.Builder
			e.set.WritePrometheus(&b)
			if got := strings.Contains(b.String(), "nearcast_fleet_secret_restart_needed 1"); got != (rescue && step.restart) {
				t.Errorf("rescue %t, step %d: the metric says %t", rescue, i, got)
			}
		}
	}
}
