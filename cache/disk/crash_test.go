package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

const crashEnv = "NEARCAST_DISK_CRASH_DIR"

// crashKeys is small, so that records are often replaced and deleted.
const crashKeys = 300

// crashChild writes, replaces and deletes until it is killed. A key whose number is a multiple of 7 is deleted once and for all at some
// time, which it reports once that has been flushed.
func crashChild(dir string) {
	s, err := Open(Options{Path: dir, Size: MinSize, Segment: 4 << 20})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for round := 0; ; round++ {
		i := rand.IntN(crashKeys)
		key := fmt.Sprint("key", i)
		n := rand.IntN(20000)
		if rand.IntN(30) == 0 {
			n = rand.IntN(3 * partSize)
		}
		switch {
		case i%7 != 0:
			s.Put(object(s, key, 1+rand.IntN(1000), n))
			if rand.IntN(10) == 0 {
				s.Delete(s.Hash([]byte(key)))
			}
			if rand.IntN(3) == 0 {
				_, _ = s.Get(context.Background(), s.Hash([]byte(key)), func(_, _ []byte) bool { return true })
			}
		case round%50 == 0:
			s.Put(object(s, key+"once", 1, 100))
			s.Delete(s.Hash([]byte(key + "once")))
			if s.Flush(context.Background()) == nil {
				fmt.Println("deleted", i)
			}
		}
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		crashChild(dir)
	}
	os.Exit(m.Run())
}

// TestKill kills a process that writes, again and again: all that is found afterwards is whole, and nothing is back that was deleted.
// NEARCAST_DISK_KILLS sets how often.
func TestKill(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("NEARCAST_DISK_KILLS")); err == nil {
		kills = n
	}
	dir := t.TempDir() + "/cache"
	total := 0
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), crashEnv+"="+dir)
		var out bytes.Buffer
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+rand.IntN(250)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		s, err := Open(Options{Path: dir, Size: MinSize, Segment: 4 << 20})
		if err != nil {
			t.Fatalf("%v; the child said %q", err, out.String())
		}
		<-s.loaded
		found := 0
		for i := range crashKeys {
			for _, key := range []string{fmt.Sprint("key", i), fmt.Sprint("key", i, "once")} {
				r, err := s.Get(t.Context(), s.Hash([]byte(key)), func(k, _ []byte) bool { return string(k) == key })
				if errors.Is(err, ErrNotFound) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				var version int
				fmt.Sscanf(string(r.Meta), "v%d", &version)
				body, err := r.ReadAll(t.Context())
				if err != nil {
					t.Errorf("%s: %v", key, err) // written in order, and the kernel lives on
				} else if !bytes.Equal(bytes.Join(body, nil), pattern(key, version, int(r.Length))) {
					t.Fatalf("%s: wrong bytes", key)
				}
				found++
			}
		}
		for line := range bytes.Lines(out.Bytes()) {
			var i int
			if n, _ := fmt.Sscanf(string(line), "deleted %d\n", &i); n == 1 && s.Has(s.Hash([]byte(fmt.Sprint("key", i, "once")))) {
				t.Errorf("key%d is back", i)
			}
		}
		total += found
		s.Close()
	}
	if total == 0 {
		t.Error("nothing was ever found")
	}
	t.Logf("%d records verified after %d kills", total, kills)
}
