package cache

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"nearcast/proxy/message"
)

// onDisk is a harness whose cache has a disk tier. Its clock is the real one, which the disk goes by.
type onDisk struct {
	harness
	dir string
}

func newOnDisk(t testing.TB, dir string) *onDisk {
	t.Helper()
	h := &onDisk{harness{t, newCache(8<<20, 1<<20), on()}, dir}
	if err := h.OpenDisk(DiskConfig{Path: dir, Size: 64 << 20, MaxObject: 16 << 20}, nil, metrics.NewSet()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	h.written()
	return h
}

// written waits until what has been stored is on disk.
func (h *onDisk) written() {
	h.Helper()
	if err := h.Disk().Flush(context.Background()); err != nil {
		h.Fatal(err)
	}
}

// restart is what a new process finds.
func (h *onDisk) restart() *onDisk {
	h.Helper()
	h.Close()
	return newOnDisk(h.TB, h.dir)
}

// find looks in memory and then on disk.
func (h *onDisk) find(r *message.Request) Result {
	now := time.Now()
	return h.Load(context.Background(), now, h.key(r), r, h.policy, h.Lookup(now, h.key(r), r, h.policy))
}

// body is the stored body for r; "none" when there is none.
func (h *onDisk) bodyOf(r *message.Request) string {
	h.Helper()
	res := h.find(r)
	if res.Object == nil {
		return "none"
	}
	return h.body(res.Object, Whole)
}

// pour stores a body in pieces, as it comes, with a reader that takes it in.
func (h *onDisk) pour(r *message.Request, resp Response, body string) Reason {
	h.Helper()
	f, leader := h.Begin(resp.Received, h.key(r), r)
	if !leader {
		h.Fatal("not the leader")
	}
	w, reason := f.Respond(r, resp, h.policy)
	if w == nil {
		return reason
	}
	rd, err := w.Object().NewReader(context.Background(), Whole)
	if err != nil {
		h.Fatal(err)
	}
	defer rd.Close()
	got := make(chan int64)
	go func() {
		n, _ := rd.WriteTo(new(bytes.Buffer))
		got <- n
	}()
	for p := body; len(p) > 0; p = p[min(len(p), 30000):] {
		if _, err := w.Write([]byte(p[:min(len(p), 30000)])); err != nil {
			h.Fatal(err)
		}
	}
	reason = w.Commit(nil)
	if n := <-got; n != int64(len(body)) {
		h.Errorf("the reader got %d of %d bytes", n, len(body))
	}
	return reason
}

// text is a body that tells where in it one is.
func longText(n int) string {
	b := make([]byte, 0, n+8)
	for i := 0; len(b) < n; i++ {
		b = binary.BigEndian.AppendUint64(b, uint64(i)*0x9e3779b97f4a7c15)
	}
	return string(b[:n])
}

func TestWarmAfterARestart(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	r := get("/a?b=c")
	h.store(r, now(200, "Cache-Control: max-age=600", "Content-Type: text/plain", `ETag: "1"`), "body")
	h = h.restart()
	if res := h.Lookup(time.Now(), h.key(r), r, h.policy); res.State != Miss {
		t.Fatalf("in memory: %v", res.State)
	}
	res := h.find(r)
	if res.State != Hit || h.body(res.Object, Whole) != "body" || res.Object.Fields.Get("content-type") != "text/plain" || res.Object.Length != 4 {
		t.Fatalf("%+v", res)
	}
	if res := h.Lookup(time.Now(), h.key(r), r, h.policy); res.State != Hit {
		t.Errorf("memory has not kept it: %v", res.State)
	}
	if h.bodyOf(get("/a?b=d")) != "none" || h.bodyOf(get("/a")) != "none" {
		t.Error("another key is served")
	}
	if res := h.find(get("/a?b=c", "Cache-Control: no-store")); res.State != Hit { // which forbids storing, not using
		t.Logf("no-store: %v", res.State)
	}
}

func TestDiskKnowsWhatIsObsolete(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	keep := "Cache-Control: max-age=600"
	old := now(200, "Cache-Control: max-age=1").at(time.Now().Add(-time.Minute))
	h.store(get("/replaced"), old, "1")
	h.store(get("/replaced"), now(200, keep), "2")
	h.store(get("/purged"), now(200, keep), "1")
	h.store(get("/posted"), now(200, keep), "1")
	h.store(get("/kept"), now(200, keep), "1")
	h.store(get("/vary", "Accept-Language: de"), now(200, keep, "Vary: Accept-Language"), "de")
	h.store(get("/vary", "Accept-Language: en"), now(200, keep, "Vary: Accept-Language"), "en")
	old.Fields = fields("Cache-Control: max-age=1", "Vary: Accept-Language", `ETag: "1"`)
	h.store(get("/once-varied", "Accept-Language: de"), old, "de")
	h.store(get("/once-varied", "Accept-Language: en"), now(200, keep, "Vary: Accept-Language"), "en")
	h.store(get("/once-varied", "Accept-Language: de"), now(200, keep), "all")
	h.written()
	h.Purge(h.key(get("/purged")))
	h.Invalidate("shop", request("POST", "/posted"), h.policy, 204, nil)
	check := func() {
		t.Helper()
		for _, x := range []struct {
			r    *message.Request
			want string
		}{
			{get("/replaced"), "2"},
			{get("/purged"), "none"},
			{get("/posted"), "none"},
			{get("/kept"), "1"},
			{get("/vary", "Accept-Language: en"), "en"},
			{get("/vary", "Accept-Language: de"), "de"},
			{get("/vary", "Accept-Language: fr"), "none"},
			{get("/once-varied", "Accept-Language: de"), "all"},
		} {
			if got := h.bodyOf(x.r); got != x.want {
				t.Errorf("%s %s: %q, want %q", x.r.Target.Path, x.r.Fields.Get("accept-language"), got, x.want)
			}
		}
	}
	check()
	h = h.restart()
	check()
	if !h.Purge(h.key(get("/vary"))) {
		t.Error("nothing to purge")
	}
	h = h.restart()
	if h.bodyOf(get("/vary", "Accept-Language: en")) != "none" {
		t.Error("a variant is back")
	}
}

func TestWhatMemoryEvictsComesBack(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	for i := range 40 {
		h.store(get(fmt.Sprint("/", i)), now(200, "Cache-Control: max-age=600"), fmt.Sprint(i)+longText(400<<10))
		h.written() // a test stores faster than the disk takes it
	}
	for i := range 40 {
		if got := h.bodyOf(get(fmt.Sprint("/", i))); got != fmt.Sprint(i)+longText(400<<10) {
			t.Fatalf("%d: %d bytes", i, len(got))
		}
	}
}

func TestLargeBodiesAreServedFromDisk(t *testing.T) {
	body := longText(5<<20 + 1234)
	for _, known := range []bool{true, false} {
		h := newOnDisk(t, t.TempDir())
		resp := now(200, "Cache-Control: max-age=600", `ETag: "1"`)
		if known {
			resp.Length = int64(len(body))
		}
		r := get("/large")
		if reason := h.pour(r, resp, body); reason != ReasonTooLarge {
			t.Fatalf("stored in memory: %v", reason)
		}
		h.written()
		for range 2 {
			res := h.find(get("/large", "Range: bytes=3000000-4200000"))
			if res.State != Hit || res.Object.Length != int64(len(body)) {
				t.Fatalf("known %v: %+v", known, res)
			}
			if got := h.body(res.Object, Whole); got != body {
				t.Fatal("wrong bytes")
			}
			if got := h.body(res.Object, Range{3000000, 4200001}); got != body[3000000:4200001] {
				t.Fatal("wrong range")
			}
			if used := h.budget.used.Load(); used > 4<<20 {
				t.Errorf("%d bytes of memory", used)
			}
			h = h.restart()
		}
		// A 304 gives it a new head.
		res := h.find(r)
		f, _ := h.Begin(time.Now(), h.key(r), r)
		if o := f.NotModified(r, now(304, "Cache-Control: max-age=900", "X-New: 1"), res.Object, h.policy); h.body(o, Whole) != body {
			t.Error("wrong bytes after a 304")
		}
		h = h.restart()
		if res := h.find(r); res.State != Hit || res.Object.Fields.Get("x-new") != "1" || h.body(res.Object, Whole) != body {
			t.Errorf("after a 304 and a restart: %v", res.State)
		}
		h.Purge(h.key(r))
		if h = h.restart(); h.bodyOf(r) != "none" {
			t.Error("purged, and back")
		}
		if reason := h.store(get("/too-large"), now(200, "Cache-Control: max-age=600", "Content-Length: 0"), ""); reason != ReasonStored {
			t.Error(reason)
		}
		resp.Length = 17 << 20
		f, _ = h.Begin(time.Now(), h.key(get("/too-large-for-disk")), get("/too-large-for-disk"))
		if w, reason := f.Respond(get("/too-large-for-disk"), resp, h.policy); w != nil || reason != ReasonTooLarge {
			t.Errorf("%v", reason)
		}
	}
}

func TestPurgesHoldAfterARestart(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	for range 3 {
		for _, path := range []string{"/tag", "/dir/a", "/soft", "/kept"} {
			h.store(get(path), now(200, "Cache-Control: max-age=600", `ETag: "1"`, "Surrogate-Key: "+path[1:]), "body")
		}
		h = h.restart()
		if h.bodyOf(get("/tag")) != "body" {
			t.Fatal("not there")
		}
		if _, err := h.PurgeTag(time.Now(), "shop", "tag", false); err != nil {
			t.Fatal(err)
		}
		if _, err := h.PurgePrefix(time.Now(), "shop", "https://shop.example.com/dir/", false); err != nil {
			t.Fatal(err)
		}
		if _, err := h.PurgeTag(time.Now(), "shop", "soft", true); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if h.bodyOf(get("/tag")) != "none" || h.bodyOf(get("/dir/a")) != "none" {
				t.Error("purged, and served")
			}
			if res := h.find(get("/soft")); res.State != Stale {
				t.Errorf("softly purged: %v", res.State)
			}
			if res := h.find(get("/kept")); res.State != Hit {
				t.Errorf("not purged: %v", res.State)
			}
			if err := h.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			h = h.restart()
		}
		h.PurgeAll(time.Now(), "", false)
		if h = h.restart(); h.bodyOf(get("/kept")) != "none" {
			t.Error("everything was purged, and it is served")
		}
	}
}

func TestARevalidationReachesTheDisk(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	r := get("/a")
	old := now(200, "Cache-Control: max-age=1", `ETag: "1"`)
	h.store(r, old.at(time.Now().Add(-time.Minute)), "body")
	h = h.restart()
	res := h.find(r)
	if res.State != Stale {
		t.Fatalf("%v", res.State)
	}
	f, _ := h.Begin(time.Now(), h.key(r), r)
	f.NotModified(r, now(304, "Cache-Control: max-age=900"), res.Object, h.policy)
	h = h.restart()
	if res = h.find(r); res.State != Hit || h.body(res.Object, Whole) != "body" {
		t.Fatalf("%v", res.State)
	}
	// A purge that comes in between wins.
	f, _ = h.Begin(time.Now(), h.key(r), get("/a", "Cache-Control: no-cache"))
	h.Purge(h.key(r))
	f.NotModified(r, now(304, "Cache-Control: max-age=900"), res.Object, h.policy)
	if h = h.restart(); h.bodyOf(r) != "none" {
		t.Error("purged, and back")
	}
}

func TestWhatIsOfNoUseIsNotOnDisk(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	old := func(lines ...string) Response { return now(200, lines...).at(time.Now().Add(-time.Minute)) }
	h.store(get("/over"), old("Cache-Control: max-age=1, must-revalidate, public"), "body")
	h.store(get("/error"), old("Cache-Control: max-age=0, stale-if-error=600"), "body")
	h.store(get("/tag"), old("Cache-Control: max-age=1", `ETag: "1"`), "body")
	h = h.restart()
	if h.bodyOf(get("/over")) != "none" {
		t.Error("what can't be used any more is found")
	}
	for _, path := range []string{"/error", "/tag"} {
		if res := h.find(get(path)); res.State != Stale || h.body(res.Object, Whole) != "body" {
			t.Errorf("%s: %v", path, res.State)
		}
	}
}

func TestConcurrentLoadsReadOnce(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	h.store(get("/a"), now(200, "Cache-Control: max-age=600"), longText(100<<10))
	h = h.restart()
	done := make(chan string)
	for range 20 {
		go func() {
			res := h.find(get("/a"))
			if res.Object == nil {
				done <- "none"
				return
			}
			b, _ := res.Object.Bytes()
			done <- fmt.Sprint(res.State, len(b))
		}()
	}
	for range 20 {
		if got := <-done; got == "none" {
			t.Error(got)
		}
	}
	if n := h.objects.Load(); n != 1 {
		t.Errorf("%d objects in memory", n)
	}
}

const tierCrashEnv = "NEARCAST_TIER_CRASH_DIR"

// TestTierCrashChild is the process that TestWarmAfterAKill kills.
func TestTierCrashChild(t *testing.T) {
	dir := os.Getenv(tierCrashEnv)
	if dir == "" {
		t.Skip("the child of another test")
	}
	h := newOnDisk(t, dir)
	for i := 0; ; i = (i + 1) % 500 {
		body := fmt.Sprint(i, "-") + strings.Repeat(fmt.Sprint(i), rand.IntN(3000))
		h.store(get(fmt.Sprint("/", i)), now(200, "Cache-Control: max-age=600"), body+fmt.Sprint("-", len(body)))
		if i == 499 {
			h.written()
			fmt.Println("round")
		}
	}
}

func TestWarmAfterAKill(t *testing.T) {
	dir := t.TempDir() + "/cache"
	for range 3 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTierCrashChild$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), tierCrashEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Fscanln(out, new(string)) // all 500 are there
		time.Sleep(time.Duration(rand.IntN(50)) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		h := newOnDisk(t, dir)
		found := 0
		for i := range 500 {
			got := h.bodyOf(get(fmt.Sprint("/", i)))
			if got == "none" {
				continue
			}
			found++
			start := fmt.Sprint(i, "-")
			digits, ok := strings.CutPrefix(got, start)
			at := strings.LastIndexByte(digits, '-')
			if !ok || at < 0 || strings.ReplaceAll(digits[:at], fmt.Sprint(i), "") != "" || fmt.Sprint(len(start)+at) != digits[at+1:] {
				t.Fatalf("%d: %.40q...", i, got)
			}
		}
		if found < 450 { // of those that were being replaced some were deleted, as the queue was full
			t.Errorf("%d of 500 are there after a kill", found)
		}
		h.Close()
	}
}

// TestARevalidatedBodyOnDiskLeavesNoFill: nobody joins a fetch that has ended.
func TestARevalidatedBodyOnDiskLeavesNoFill(t *testing.T) {
	h := newOnDisk(t, t.TempDir())
	r := get("/large")
	h.pour(r, now(200, "Cache-Control: max-age=0", `ETag: "1"`), longText(2<<20))
	h.written()
	res := h.find(r)
	if res.Object == nil || res.State == Hit {
		t.Fatalf("%v (%v)", res.State, res.Reason)
	}
	f, _ := h.Begin(time.Now().Add(refusalTime), h.key(r), r) // it is not remembered any more as too large for memory
	f.NotModified(r, now(304, "Cache-Control: max-age=60"), res.Object, h.policy)
	if n := h.fills.Load(); n != 0 {
		t.Errorf("%d fills go on", n)
	}
}
