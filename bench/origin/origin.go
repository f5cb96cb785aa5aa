// Package origin is the origin server of a measurement: as little work as can be, so that what is measured is the server before it.
//
// It answers GET /1024, /10240 and /102400 with that many bytes that anybody may store for a day, /healthz with 200, and /count with how
// many requests for bodies it has had. It reads HTTP/1.1 requests without a body, from servers it can trust.
package origin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Sizes are the lengths of the bodies there are, in bytes.
var Sizes = []int{1 << 10, 10 << 10, 100 << 10}

// Path is where a body of that length is.
func Path(size int) string { return "/" + strconv.Itoa(size) }

// Body is the body of that length: bytes that do not repeat before the end, so that a server that mixes them up is found out.
func Body(size int) []byte {
	b := make([]byte, 0, size+16)
	for i := 0; len(b) < size; i++ {
		b = fmt.Appendf(b, "%08x\n", i)
	}
	return b[:size]
}

// maxRequest bounds the header section of a request.
const maxRequest = 16 << 10

// Origin answers. The zero value is not usable.
type Origin struct {
	// immutable
	answers map[string][]byte // whole responses, by path

	// shared
	count atomic.Int64
	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after the end
}

// New makes the origin.
func New() *Origin {
	o := &Origin{answers: map[string][]byte{}, conns: map[net.Conn]struct{}{}}
	for _, size := range Sizes {
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/octet-stream\r\nCache-Control: public, max-age=86400\r\nContent-Length: %d\r\n\r\n",
			time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), size)
		o.answers[Path(size)] = append([]byte(head), Body(size)...)
	}
	return o
}

// Serve answers until ctx ends. It closes the listener and every connection, and waits for them.
func (o *Origin) Serve(ctx context.Context, l net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close(); o.closeAll() })
	defer stop()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return ctx.Err()
		}
		if err != nil {
			return errors.Join(err, l.Close())
		}
		if o.add(c) {
			conns.Go(func() { defer o.remove(c); o.serve(c) })
		}
	}
}

// serve answers requests, pipelined ones too, until the connection ends or says what is not understood.
func (o *Origin) serve(c net.Conn) {
	buf, filled := make([]byte, maxRequest), 0
	for {
		n, err := c.Read(buf[filled:])
		if err != nil {
			return
		}
		filled += n
		for {
			end := bytes.Index(buf[:filled], []byte("\r\n\r\n"))
			if end < 0 {
				break
			}
			if _, err := c.Write(o.answer(buf[:end])); err != nil {
				return
			}
			filled = copy(buf, buf[end+4:filled])
		}
		if filled == len(buf) {
			return
		}
	}
}

var (
	healthy  = []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	notFound = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
)

// answer is the response to a request with that header section.
func (o *Origin) answer(request []byte) []byte {
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	_, rest, _ := bytes.Cut(line, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	if a, ok := o.answers[string(path)]; ok {
		o.count.Add(1)
		return a
	}
	switch string(path) {
	case "/healthz":
		return healthy
	case "/count":
		n := strconv.FormatInt(o.count.Load(), 10)
		return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(n), n)
	}
	return notFound
}

func (o *Origin) add(c net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		_ = c.Close()
		return false
	}
	o.conns[c] = struct{}{}
	return true
}

func (o *Origin) remove(c net.Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = c.Close()
	delete(o.conns, c)
}

func (o *Origin) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.conns {
		_ = c.Close()
	}
	o.conns = nil
}
