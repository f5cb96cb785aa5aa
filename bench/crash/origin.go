package crash

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// minBody is the shortest body: there must be something to take a part of.
const minBody = 128

// Body is the body of a version of a path: a line that says what it is and what its checksum is, then bytes that depend on both.
func Body(path string, version int64, most int) []byte {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d", path, version)
	rnd := rand.New(rand.NewPCG(h.Sum64(), 2))
	rest := make([]byte, minBody+rnd.IntN(max(most-minBody, 1)))
	for i := 0; i+8 <= len(rest); i += 8 {
		binary.LittleEndian.PutUint64(rest[i:], rnd.Uint64())
	}
	h.Write(rest)
	return append(fmt.Appendf(nil, "%s version %d checksum %016x\n", path, version, h.Sum64()), rest...)
}

// origin makes a new version of a resource whenever it is asked, and remembers which there were.
type origin struct {
	url     string
	maxBody int
	server  *http.Server
	done    chan struct{}
	life    atomic.Int64 // of the edge

	mu       sync.Mutex
	versions map[string][]int64 // by path: in which life of the edge each version was made
}

func newOrigin() (*origin, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o := &origin{url: "http://" + ln.Addr().String(), versions: map[string][]int64{}, done: make(chan struct{})}
	o.server = &http.Server{Handler: http.HandlerFunc(o.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(o.done)
		_ = o.server.Serve(ln)
	}()
	return o, nil
}

func (o *origin) close() {
	_ = o.server.Close()
	<-o.done
}

func (o *origin) nextLife() { o.life.Add(1) }

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/k/") {
		return // a health check
	}
	o.mu.Lock()
	o.versions[r.URL.Path] = append(o.versions[r.URL.Path], o.life.Load())
	version := int64(len(o.versions[r.URL.Path]))
	o.mu.Unlock()
	body := Body(r.URL.Path, version, o.maxBody)
	w.Header().Set("X-Version", strconv.FormatInt(version, 10))
	w.Header().Set("Etag", strconv.Quote(r.URL.Path+" "+strconv.FormatInt(version, 10)))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "max-age=3600")
	if version%3 != 0 { // else it is chunked
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	// In two parts, so that a kill meets bodies that are half there.
	_, _ = w.Write(body[:len(body)/2])
	if f, ok := w.(http.Flusher); ok && version%2 == 0 {
		f.Flush()
	}
	_, _ = w.Write(body[len(body)/2:])
}

// born is the edge's life in which a version was made; false when there never was such a version.
func (o *origin) born(path string, version int64) (life int64, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	made := o.versions[path]
	if version < 1 || version > int64(len(made)) {
		return 0, false
	}
	return made[version-1], true
}
