package quicload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// metered reads on, and tells the gauge.
type metered struct {
	io.Reader
	gauge *gauge
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.gauge.progress(int64(n))
	}
	return n, err
}

// move transfers, and closes the client.
func (l *library) move(ctx context.Context, t Target, d Direction, size int64) (tr Transfer, err error) {
	defer func() { err = errors.Join(err, l.close()) }()
	if err := checkTransfer(d, size); err != nil {
		return tr, err
	}
	method, body, sum := http.MethodGet, []byte(nil), []byte(nil)
	if d == Up {
		method = http.MethodPost
		body, sum = payload(size)
	}
	flow := newGauge()
	request, err := http.NewRequestWithContext(ctx, method, bulkURL(&t, d, size), metered{bytes.NewReader(body), flow})
	if err != nil {
		return tr, err
	}
	request.ContentLength = int64(len(body))
	if d == Down {
		request.Body = http.NoBody
	}
	tr.Start = time.Now().Round(0)
	receipt, digest, err := l.exchange(request, d, flow, &tr)
	tr.stop(ctx, err)
	tr.Bytes, tr.Stall = flow.read()
	if d == Down {
		sum = digest.sum
	}
	tr.settle(d, size, sum, receipt, digest.field)
	return tr, nil
}

// digest is of a download: its own, and what the response says.
type digest struct {
	sum   []byte
	field string
}

// exchange makes the request and reads the response, whose beginning it returns.
func (l *library) exchange(request *http.Request, d Direction, flow *gauge, tr *Transfer) (string, digest, error) {
	response, err := l.client.Do(request)
	if err != nil {
		return "", digest{}, plain(err)
	}
	defer response.Body.Close()
	tr.Protocol, tr.Via = word(response), via(response.Header.Values("Via"))
	body := io.Reader(response.Body)
	if d == Down {
		body = metered{body, flow}
	}
	hash := sha256.New()
	var text head
	_, err = io.Copy(io.MultiWriter(hash, &text), body)
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("status %d", response.StatusCode)
	}
	return string(text), digest{hash.Sum(nil), response.Header.Get("Repr-Digest")}, err
}

// head keeps the beginning of what is written to it, which a receipt is shorter than.
type head []byte

func (h *head) Write(p []byte) (int, error) {
	const most = 4 << 10
	*h = append(*h, p[:min(len(p), most-len(*h))]...)
	return len(p), nil
}
