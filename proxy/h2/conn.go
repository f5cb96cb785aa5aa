package h2

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"nearcast/proxy/h2/hpack"
	"nearcast/proxy/message"
	"nearcast/proxy/message/readable"
)

// readSize is the size of a read buffer, which holds any frame.
const readSize = 32 << 10

type readBuf struct{ b [readSize]byte }

var readBufs = sync.Pool{New: func() any { return new(readBuf) }}

// conn is one connection. Between requests it holds little more than this: buffers and streams come from pools.
type conn struct {
	// immutable
	srv  *Server
	nc   net.Conn
	ctx  context.Context
	info message.ConnInfo

	unwatch func() bool // ends the wait for the end of ctx; set once

	// the reading goroutine's
	small    [headerLength]byte // what is read into when nothing is expected soon
	in       *readBuf           // nil then
	r, w     int                // what of it is still to be looked at
	now      time.Time          // of the last read
	dec      hpack.Decoder
	block    fieldBlock
	frames   meter
	resets   meter
	served   bool            // a stream was opened since the last wait
	resting  bool            // nothing came for idleSoon
	waiter   readable.Waiter // while resting
	prefaced bool            // the preface has come

	mu sync.Mutex // guards what follows, and streams where they say so

	// streams
	streams []*stream // open ones, in the order of their ids
	held    int       // their header sections
	active  int       // those not yet released: open, or their handler is still to return
	uploads int       // open ones whose client is still to end its side
	lastID  uint32
	history history
	early   struct { // the priority of a stream that is still to come
		id uint32
		priority
	}
	ended *stream // exchanges to be finished outside of the lock

	// flow control
	window     int64 // what we may send
	peerWindow int64 // with which streams begin
	recvWindow int64 // what the client may send
	unacked    int64 // consumed, and not yet given back
	shut       shut

	// output
	out      *outBuf
	sendq    []*stream  // with something to send
	turn     uint64     // of the scheduler
	ordered  bool       // the client has given a priority at least once
	writing  bool       // somebody is at it
	quiet    *sync.Cond // for end, which waits until nobody is
	closed   bool       // no stream begins, nothing but what is in out is sent
	broken   bool       // a write failed
	earned   int        // tokens to pay for frames with, before those of the meter
	shrink   bool       // the next block says that our table is empty
	shrunk   bool       // it has been said
	writeEnd time.Time  // the write deadline
	waited   time.Duration
	moved    int64

	// time
	armed     time.Time // the read deadline; zero when there is none
	holding   bool      // the reading goroutine has a buffer, as an upload goes on
	begun     time.Time
	greeted   bool      // our SETTINGS are out
	settled   bool      // the client's have come
	blockFrom time.Time // a header section has begun; zero when there is none
	idleFrom  time.Time

	// leaving
	leaveFirst bool // with the first request
	leaving    leaving
	leaveBy    time.Time // when the second GOAWAY goes out at last
	goneID     uint32    // the last stream that is served, once leaving is leavingSoon

	wg sync.WaitGroup // handlers, and writers that are nothing else
}

func newConn(ctx context.Context, s *Server, nc net.Conn, info message.ConnInfo) *conn {
	now := time.Now()
	begun := info.Accepted
	if begun.IsZero() {
		begun = now
	}
	return &conn{srv: s, nc: nc, ctx: ctx, info: info, now: now, begun: begun, idleFrom: now,
		window: defaultWindow, peerWindow: defaultWindow, recvWindow: connWindow}
}

// run reads until the connection is to end. The error says how.
func (c *conn) run() error {
	for {
		if err := c.burst(); err != nil {
			return err
		}
		if err := c.more(); err != nil {
			return err
		}
	}
}

// burst handles the frames that are there, and sends what comes of it.
func (c *conn) burst() error {
	for {
		f, ok, err := c.next()
		if c.prefaced && !c.greeted {
			c.mu.Lock()
			c.greet()
			c.mu.Unlock()
		}
		if err == nil && ok {
			err = c.frame(&f)
		}
		if err != nil {
			return err
		}
		if !ok {
			break
		}
	}
	c.mu.Lock()
	defer c.unlock()
	if c.served {
		c.served, c.idleFrom = false, c.now
	}
	c.flush(c.directWrites())
	return nil
}

// directWrites is how many writes the reading goroutine makes by itself. None while a request's body is on its way: the client may be
// stuck in sending it until we read, and not take what we write.
func (c *conn) directWrites() int {
	if c.uploads > 0 {
		return 0
	}
	return 1
}

// next cuts the next frame off what has been read; false when it is not there as a whole.
func (c *conn) next() (f frame, ok bool, err error) {
	if c.in == nil {
		return f, false, nil
	}
	p := c.in.b[c.r:c.w]
	if !c.prefaced {
		n := min(len(p), len(preface))
		if string(p[:n]) != preface[:n] {
			return f, false, errPreface
		}
		if n < len(preface) {
			return f, false, nil
		}
		c.prefaced = true
		c.r += n
		p = p[n:]
	}
	if len(p) < headerLength {
		return f, false, nil
	}
	f, length := parseHeader(p)
	if length > maxFrame {
		return f, false, errFrameSize
	}
	if len(p) < headerLength+length {
		if f.kind == frameHeaders {
			c.beginBlock()
		}
		return f, false, nil
	}
	c.r += headerLength + length
	f.payload = p[headerLength : headerLength+length]
	return f, true, nil
}

// more waits for bytes, or for something to be done. While no more than the next request is expected it does so without a read buffer, so
// that an idle connection holds none.
func (c *conn) more() error {
	if c.in != nil && c.r == c.w && !c.expecting() {
		readBufs.Put(c.in)
		c.in = nil
	}
	if c.in == nil {
		n, err := c.read(c.small[:])
		if n == 0 {
			return err
		}
		c.in = readBufs.Get().(*readBuf)
		c.r, c.w = 0, copy(c.in.b[:], c.small[:n])
		return nil
	}
	if c.r > 0 {
		c.w = copy(c.in.b[:], c.in.b[c.r:c.w])
		c.r = 0
	}
	n, err := c.read(c.in.b[c.w:])
	c.w += n
	return err
}

// expecting reports whether the rest of something is on its way.
func (c *conn) expecting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.holding = c.uploads > 0 || c.block.open()
	return c.holding
}

// read reads something, or nothing when it has seen to what became due in the meantime.
func (c *conn) read(p []byte) (int, error) {
	if err := c.arm(); err != nil {
		return 0, err
	}
	n, err := 0, error(nil)
	if c.resting {
		err = c.waiter.Wait()
	}
	if err == nil {
		n, err = c.nc.Read(p)
	}
	c.now = time.Now()
	switch {
	case n > 0, err == nil:
		c.resting = false
		return n, nil
	case !isTimeout(err):
		return 0, errGone
	}
	return 0, c.due()
}

func isTimeout(err error) bool {
	if err == io.EOF {
		return false
	}
	e, ok := err.(net.Error)
	return ok && e.Timeout()
}
