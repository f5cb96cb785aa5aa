package fleet

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestWhatIsNoFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{pipe, t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if err := (&Config{SecretFile: file}).CheckSecret(); err == nil || !strings.HasPrefix(err.Error(), "fleet.secret_file "+file) {
			t.Errorf("%s: %v", file, err)
		}
	}
}
