package h2

import (
	"strings"
	"time"

	"nearcast/proxy/message/assemble"
)

// fieldBlock collects a field block that comes in several frames.
type fieldBlock struct {
	stream uint32 // 0: none
	end    bool   // END_STREAM
	loop   bool   // the stream was said to depend on itself
	frames int
	p      []byte
}

// maxContinuations bounds the frames of one block (CVE-2024-27316): 64 KiB in frames of 1 KiB, which nobody is known to send.
const maxContinuations = 64

// headerBudget bounds the sections that a connection's exchanges keep, as RFC 9113 §6.5.2 counts them: with indexed fields a client can have
// us keep a thousand times what it sends. A browser's largest are some 16 KiB, in a hundred streams.
const headerBudget = 2 << 20

func (b *fieldBlock) open() bool { return b.stream != 0 }

func (b *fieldBlock) free() { *b = fieldBlock{} }

// beginBlock notes when a header section has begun.
func (c *conn) beginBlock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blockFrom.IsZero() {
		c.blockFrom = c.now
	}
}

// headers takes HEADERS (RFC 9113 §6.2).
func (c *conn) headers(f *frame) error {
	if f.stream%2 == 0 {
		return errStreamID
	}
	if !f.unpad() {
		return errPadding
	}
	loop := false
	if f.has(flagPriority) {
		if len(f.payload) < 5 {
			return errFrameSize
		}
		loop = !checkDependency(f.stream, f.payload)
		f.payload = f.payload[5:]
	}
	if !f.has(flagEndHeaders) {
		c.beginBlock()
		c.block = fieldBlock{stream: f.stream, end: f.has(flagEndStream), loop: loop, p: append([]byte(nil), f.payload...)}
		return nil
	}
	return c.section(f.stream, f.payload, f.has(flagEndStream), loop)
}

// continuation takes CONTINUATION (RFC 9113 §6.10).
func (c *conn) continuation(f *frame) error {
	b := &c.block
	if !b.open() {
		return errInterleaved
	}
	b.frames++
	switch {
	case len(b.p)+len(f.payload) > 2*c.srv.cfg.MaxHeader+maxFrame:
		return errBlockSize
	case b.frames > maxContinuations:
		return errBlockFrames
	}
	b.p = append(b.p, f.payload...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	defer b.free()
	return c.section(b.stream, b.p, b.end, b.loop)
}

// section takes a whole field block: a request, or trailers.
func (c *conn) section(id uint32, p []byte, end, loop bool) error {
	s := newStream(c.srv.cfg.MaxHeader)
	if c.dec.Decode(p, &s.section) != nil {
		s.free()
		return errCompression
	}
	begin, err := c.place(id, s, end, loop)
	if !begin {
		s.free()
		return err
	}
	return c.request(s)
}

// place finds out what a field section on that stream is. It is true when it begins a request.
func (c *conn) place(id uint32, s *stream, end, loop bool) (bool, error) {
	c.mu.Lock()
	defer c.unlock()
	c.blockFrom = time.Time{}
	if id <= c.lastID {
		if open := c.stream(id); open != nil {
			return false, c.trail(open, s, end)
		}
		return false, c.late(id)
	}
	c.history.open(id, c.lastID)
	c.lastID = id
	if c.leaving == leavingNow {
		return false, nil // the client knows, and sends it elsewhere
	}
	c.served = true
	c.earn(earnHeaders)
	if c.leaveFirst {
		c.beginLeave()
	}
	if loop {
		return false, c.faultAt(id, codeProtocol, kindDependency)
	}
	if c.active >= c.srv.cfg.MaxStreams {
		return false, c.faultAt(id, codeRefusedStream, kindRefused)
	}
	if s.held = s.section.Held(); c.held+s.held > max(headerBudget, c.srv.cfg.MaxHeader) {
		return false, c.faultAt(id, codeRefusedStream, kindHoard)
	}
	s.id, s.recvEnd = id, end
	s.window, s.recvWindow = c.peerWindow, streamWindow
	if c.early.id == id {
		s.priority = c.early.priority
	}
	return true, nil
}

// trail takes trailers (RFC 9113 §8.1): the second section on a stream, which ends it.
func (c *conn) trail(s, t *stream, end bool) error {
	if s.recvEnd {
		return c.fault(s, codeStreamClosed, kindHalfClosed)
	}
	var trailers assemble.Trailers
	trailers.Begin(c.srv.cfg.MaxHeader)
	for _, f := range t.section.Fields {
		_ = trailers.Field(f.Name, f.Value)
	}
	fields, err := trailers.Fields()
	if err != nil || t.section.Over() || !end || s.tunnel {
		return c.fault(s, codeProtocol, kindTrailers)
	}
	if c.held+t.section.Held() > max(headerBudget, c.srv.cfg.MaxHeader) {
		return c.fault(s, codeEnhanceYourCalm, kindHoard)
	}
	s.held += t.section.Held()
	c.held += t.section.Held()
	for _, f := range fields { // t is used again
		s.trailers.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
	return c.content(s, nil, true)
}
