package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/cache/disk"
)

// swept waits until memory and disk have been compared with all purges so far.
func (h *onDisk) swept() {
	h.Helper()
	seq := h.PurgeSeq()
	for h.tier().purges.applied.Load() < seq {
		awaken(h.tier().purges.sweep)
		time.Sleep(time.Millisecond)
	}
	h.sweep(h.Context())
}

// TestManyPurgesSpareTheRest: what no purge names stays, however many there are.
func TestManyPurgesSpareTheRest(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	keep := "Cache-Control: max-age=600"
	h.store(get("/kept"), now(200, keep, "Surrogate-Key: kept"), "body")
	h.store(get("/purged"), now(200, keep, "Surrogate-Key: first"), "body")
	h.store(get("/soft"), now(200, keep, "Surrogate-Key: soft", `ETag: "1"`), "body")
	h = h.restart() // so that they are on disk only
	purge := func(tag string, soft bool) {
		t.Helper()
		if _, err := h.PurgeTag(time.Now(), "shop", tag, soft); err != nil {
			t.Fatal(err)
		}
	}
	purge("first", false)
	purge("soft", true)
	for n := range 6 {
		for i := range h.purges.limit * 3 / 4 {
			purge(fmt.Sprint("other", n, "-", i), false)
		}
		h.swept()
		if err := h.SyncPurges(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			h = h.restart()
			h.swept() // the new process does not know what the old one had compared
		}
	}
	for range 2 {
		if h.bodyOf(get("/purged")) != "none" {
			t.Error("purged, and served")
		}
		if res := h.find(get("/soft")); res.State == Hit {
			t.Error("softly purged, and served as fresh")
		}
		if res := h.find(get("/kept")); res.State != Hit {
			t.Errorf("not purged: %v", res.State)
		}
		h = h.restart()
	}
	if h.Disk().EventBytes() > 2<<20 {
		t.Errorf("%d bytes of events", h.Disk().EventBytes())
	}
	// What is on disk now is compared with what comes from here on.
	h.store(get("/new"), now(200, keep, "Surrogate-Key: new"), "body")
	purge("new", false)
	if h = h.restart(); h.bodyOf(get("/new")) != "none" {
		t.Error("purged after the sweep, and served")
	}
}

// TestMorePurgesThanCanWait writes what the table has.
func TestMorePurgesThanCanWait(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	h.store(get("/kept"), now(200, "Cache-Control: max-age=600", "Surrogate-Key: kept"), "body")
	h.store(get("/purged"), now(200, "Cache-Control: max-age=600", "Surrogate-Key: first"), "body")
	h.written()
	w := h.tier().purges
	w.mu.Lock()
	w.waiting = make([]PurgeEvent, maxPurgesWaiting)
	w.mu.Unlock()
	if _, err := h.PurgeTag(time.Now(), "shop", "first", false); err != nil {
		t.Fatal(err)
	}
	if err := h.SyncPurges(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h = h.restart(); h.bodyOf(get("/purged")) != "none" || h.bodyOf(get("/kept")) != "body" {
		t.Error("not what was purged")
	}
}

// TestAClockThatWentBack: a response from the future is of unknown age, and must not keep newer ones out (RFC 9111 §4.2.3).
func TestAClockThatWentBack(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	r := get("/a")
	h.store(r, now(200, "Cache-Control: max-age=600").at(time.Now().Add(time.Hour)), "old")
	h = h.restart()
	if got := h.bodyOf(r); got != "none" {
		t.Errorf("from the future: %q", got)
	}
	if reason := h.store(r, now(200, "Cache-Control: max-age=600"), "new"); reason != ReasonStored || h.bodyOf(r) != "new" {
		t.Errorf("%v, %q", reason, h.bodyOf(r))
	}
	if h = h.restart(); h.bodyOf(r) != "new" {
		t.Errorf("after another restart: %q", h.bodyOf(r))
	}
}

// lateFS is a directory that can't be read at first.
type lateFS struct {
	disk.FS
	err atomic.Pointer[error]
}

func (f *lateFS) List() ([]string, error) {
	if err := f.err.Load(); err != nil {
		return nil, *err
	}
	return f.FS.List()
}

// TestADiskThatFailsAtTheStart is used when it works, without what is on it: nobody knows what would have been deleted meanwhile.
func TestADiskThatFailsAtTheStart(t *testing.T) {
	dir := t.TempDir()
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		h := newOnDisk(t, dir)
		h.store(get("/old"), now(200, "Cache-Control: max-age=600"), "old")
		if _, err := h.PurgeTag(time.Now(), "shop", "x", false); err != nil {
			t.Fatal(err)
		}
		h.Close()
		synctest.Test(t, func(t *testing.T) {
			fs, err := disk.OpenDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			late := &lateFS{FS: fs}
			late.err.Store(&fault)
			h := &onDisk{harness{t, newCache(8<<20, 1<<20), on()}, dir}
			o := &opener{c: h.Cache, config: DiskConfig{Path: dir, Size: 64 << 20, MaxObject: 16 << 20}, set: metrics.NewSet(), fs: late}
			if err := h.openDisk(o); err != nil {
				t.Fatal(err)
			}
			if st := h.DiskStatus(); st.State != "unavailable" || st.Condition() != DiskUnavailable || st.Error == "" || h.Disk() != nil {
				t.Fatalf("%+v", st)
			}
			h.store(get("/before"), now(200, "Cache-Control: max-age=600"), "before")
			h.Purge(h.key(get("/old")))
			time.Sleep(time.Hour)
			late.err.Store(nil)
			time.Sleep(lastReopen)
			synctest.Wait()
			h.written()
			if st := h.DiskStatus(); st.State != "ready" || st.Condition() != DiskOK || st.Error != "" || st.Records != 0 {
				t.Fatalf("%+v", st)
			}
			if h.bodyOf(get("/old")) != "none" {
				t.Error("purged while the disk was away, and served")
			}
			h.store(get("/new"), now(200, "Cache-Control: max-age=600", "Surrogate-Key: n"), "new")
			h.store(get("/purged"), now(200, "Cache-Control: max-age=600", "Surrogate-Key: x"), "x")
			if _, err := h.PurgeTag(time.Now(), "shop", "x", false); err != nil {
				t.Fatal(err)
			}
			h.Close()
		})
		h = newOnDisk(t, dir)
		if h.bodyOf(get("/old")) != "none" || h.bodyOf(get("/purged")) != "none" {
			t.Errorf("%v: back", fault)
		}
		h.Close()
	}
}

func TestADiskThatNeverComesEndsWithTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &lateFS{}
		eio := error(syscall.EIO)
		late.err.Store(&eio)
		c := newCache(8<<20, 1<<20)
		if err := c.openDisk(&opener{c: c, config: DiskConfig{Size: 64 << 20}, set: metrics.NewSet(), fs: late}); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

const invalidateCrashEnv = "NEARCAST_INVALIDATE_CRASH_DIR"

// TestInvalidateCrashChild is the process that TestInvalidatedAndKilled kills: each line that it writes is an answer to a client.
func TestInvalidateCrashChild(t *testing.T) {
	dir := os.Getenv(invalidateCrashEnv)
	if dir == "" {
		t.Skip("the child of another test")
	}
	h := newOnDisk(t, dir)
	// What waits before the deletion keeps it from being written at once.
	h.store(get("/posted"), now(200, "Cache-Control: max-age=600"), "body")
	h.store(get("/tagged"), now(200, "Cache-Control: max-age=600", "Surrogate-Key: t"), "body")
	h.written()
	for i := range 60 {
		h.store(get(fmt.Sprint("/large", i)), now(200, "Cache-Control: max-age=600"), longText(500<<10))
	}
	if h.Invalidate("shop", request("POST", "/posted"), h.policy, 204, nil) {
		_ = h.Sync(t.Context())
	}
	fmt.Println("posted")
	_, _ = h.PurgeTag(time.Now(), "shop", "t", false)
	_ = h.SyncPurges(t.Context())
	fmt.Println("tagged")
	select {}
}

// TestInvalidatedAndKilled kills a process right after it has answered an unsafe request and a purge.
func TestInvalidatedAndKilled(t *testing.T) {
	for _, answers := range []int{1, 2} {
		dir := filepath.Join(t.TempDir(), "cache")
		cmd := exec.Command(os.Args[0], "-test.run=^TestInvalidateCrashChild$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), invalidateCrashEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for range answers {
			if _, err := fmt.Fscanln(out, new(string)); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		h := newOnDisk(t, dir)
		if h.bodyOf(get("/posted")) != "none" {
			t.Error("back after a POST that was answered")
		}
		if answers == 2 && h.bodyOf(get("/tagged")) != "none" {
			t.Error("back after a purge that was answered")
		}
		h.Close()
	}
}
