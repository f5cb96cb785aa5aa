package h2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
)

// hits answers every GET from memory and leaves the rest to next.
type hits struct {
	handlerFunc
	fields message.Fields
	body   []byte
	pool   sync.Pool

	mu       sync.Mutex
	done     []doneCall
	keep     bool // done calls
	refusals []message.Refusal
	blocks   encodedOnce
}

type doneCall struct {
	sent     int64
	complete bool
	err      error
}

// encodedOnce is a message.Block.
type encodedOnce struct {
	fields message.Fields
	once   sync.Once
	b      []byte
}

func (e *encodedOnce) Encoded(_ message.Protocol, encode func(dst []byte, f message.Fields) []byte) []byte {
	e.once.Do(func() { e.b = encode(nil, e.fields) })
	return e.b
}

// hit is what one answer needs.
type hit struct {
	message.Ready
	pieces [2][]byte
	next   int
}

func (x *hit) Next() []byte {
	if x.next == len(x.pieces) {
		return nil
	}
	x.next++
	return x.pieces[x.next-1]
}

func newHits(size int) *hits {
	h := &hits{body: bytes.Repeat([]byte("x"), size), handlerFunc: ok}
	h.blocks.fields = message.Fields{{Name: "content-type", Value: "text/plain"}, {Name: "connection", Value: "close"}}
	h.fields = message.Fields{{Name: "age", Value: "7"}}
	h.pool.New = func() any { return new(hit) }
	return h
}

func (h *hits) Quick(r *message.Request) *message.Ready {
	if r.Target.Path == "/slow" {
		return nil
	}
	x := h.pool.Get().(*hit)
	x.next = 0
	x.pieces = [2][]byte{h.body[:len(h.body)/3], h.body[len(h.body)/3:]}
	x.Ready = message.Ready{Status: 200, Block: &h.blocks, Fields: h.fields, ContentLength: int64(len(h.body)), Owner: h}
	if len(h.body) > 0 && r.Method != "HEAD" {
		x.Body, x.BodyLength = x, int64(len(h.body))
	}
	if r.Target.Path == "/short" {
		x.BodyLength++
	}
	if r.Target.Path == "/panic" {
		panic("on purpose")
	}
	return &x.Ready
}

func (h *hits) Done(a *message.Ready, sent int64, complete bool) {
	if h.keep {
		h.mu.Lock()
		h.done = append(h.done, doneCall{sent, complete, a.Err})
		h.mu.Unlock()
	}
	if x, is := a.Body.(*hit); is {
		h.pool.Put(x)
	}
}

func (h *hits) Refused(x message.Refusal) {
	x.Method, x.Authority = strings.Clone(x.Method), strings.Clone(x.Authority)
	h.refusals = append(h.refusals, x)
}

func (h *hits) ends() []doneCall {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]doneCall(nil), h.done...)
}

// scripted is a connection that reads what it is told and counts what is written.
type scripted struct {
	net.Conn
	in  chan []byte
	out chan int
	cur []byte
}

func (c *scripted) Read(p []byte) (int, error) {
	if len(c.cur) == 0 {
		b, open := <-c.in
		if !open {
			return 0, io.EOF
		}
		c.cur = b
	}
	n := copy(p, c.cur)
	c.cur = c.cur[n:]
	return n, nil
}
func (c *scripted) Write(p []byte) (int, error)      { c.out <- len(p); return len(p), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// clientHello is what a client sends first.
func clientHello() []byte {
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	_ = fr.WriteWindowUpdate(0, maxWindow-defaultWindow)
	return b.Bytes()
}

// bursts makes bursts of n requests with ids that go on from burst to burst.
type bursts struct {
	b    bytes.Buffer
	fr   *http2.Framer
	enc  *hpack.Encoder
	blk  bytes.Buffer
	next uint32
}

func newBursts() *bursts {
	x := &bursts{next: 1}
	x.fr = http2.NewFramer(&x.b, nil)
	x.enc = hpack.NewEncoder(&x.blk)
	return x
}

func (x *bursts) make(n int) []byte {
	x.b.Reset()
	for range n {
		x.blk.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "www.example.com"}, {":path", "/a/path/of/some/length"},
			{"user-agent", "a browser of some kind/1.0"}, {"accept", "*/*"}, {"accept-encoding", "gzip, br"}} {
			_ = x.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: x.next, BlockFragment: x.blk.Bytes(), EndHeaders: true, EndStream: true})
		x.next += 2
	}
	return bytes.Clone(x.b.Bytes())
}
