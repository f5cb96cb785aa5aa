package origin

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	maxLines = 1 << 20   // of /stream
	maxBulk  = 256 << 20 // bytes of /bulk, either way
)

// Receipt is the answer to a POST to /bulk.
type Receipt struct {
	Region string `json:"region"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // in hex
}

// stream sends a line at a time, for clients that make one long request and no others.
func (o *Origin) stream(w http.ResponseWriter, r *http.Request) {
	every, err := time.ParseDuration(r.URL.Query().Get("every"))
	n, nerr := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || every <= 0 || every > maxSlow || nerr != nil || n < 0 || n > maxLines {
		http.Error(w, fmt.Sprintf("every must be a duration such as 33ms, n a number of lines up to %d", maxLines), http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := http.NewResponseController(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for line := range n {
		if line > 0 {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		if _, err := fmt.Fprintln(w, line); err != nil || out.Flush() != nil {
			return
		}
	}
}

// Bulk writes the n bytes that /bulk serves: every eight of them differ from all others, so that none is lost or comes twice unnoticed.
func Bulk(w io.Writer, n int64) error {
	block := make([]byte, 32<<10)
	for at := int64(0); at < n; at += int64(len(block)) {
		for i := 0; i < len(block); i += 8 {
			v := uint64(at+int64(i)) * 0x9e3779b97f4a7c15
			for j := range 8 {
				block[i+j] = byte(v >> (56 - 8*j))
			}
		}
		if _, err := w.Write(block[:min(int64(len(block)), n-at)]); err != nil {
			return err
		}
	}
	return nil
}

func (o *Origin) send(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("size"), 10, 64)
	if err != nil || n < 0 || n > maxBulk {
		http.Error(w, fmt.Sprintf("size must be 0 to %d", maxBulk), http.StatusBadRequest)
		return
	}
	sum := sha256.New()
	_ = Bulk(sum, n) // a hash takes everything
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":")
	_ = Bulk(w, n)
}

func (o *Origin) receive(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, http.MaxBytesReader(w, r.Body, maxBulk))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(Receipt{Region: o.region, Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))})
}
