package h2

import "time"

// frame handles one frame.
func (c *conn) frame(f *frame) error {
	if err := c.pay(f); err != nil {
		return err
	}
	if c.block.open() && (f.kind != frameContinuation || f.stream != c.block.stream) {
		return errInterleaved
	}
	switch f.kind {
	case frameHeaders:
		return c.headers(f)
	case frameContinuation:
		return c.continuation(f)
	}
	c.mu.Lock()
	defer c.unlock()
	switch f.kind {
	case frameData:
		return c.receive(f)
	case framePriority:
		return c.oldPriority(f)
	case frameRSTStream:
		return c.clientReset(f)
	case frameSettings:
		c.settled = true
		return c.settings(f)
	case framePushPromise:
		return errPush
	case framePing:
		return c.ping(f)
	case frameGoAway:
		return c.clientGoAway(f)
	case frameWindowUpdate:
		return c.windowUpdate(f)
	case framePriorityUpdate:
		c.ordered = true
		return c.priorityUpdate(f)
	}
	return nil // an unknown type is passed over (RFC 9113 §5.5)
}

// pay takes the price of a frame, makes room for what it brings about, and sees to it that the first is SETTINGS (RFC 9113 §3.4).
func (c *conn) pay(f *frame) error {
	price := priceOther
	switch f.kind {
	case frameHeaders, frameRSTStream: // bounded in other ways
		price = 0
	case frameSettings:
		price = priceSettings
	case framePing:
		price = pricePing
	case frameData:
		if len(f.payload) > 0 || f.has(flagEndStream) {
			price = 0
		}
	}
	c.mu.Lock()
	defer c.unlock()
	if !c.settled && (f.kind != frameSettings || f.has(flagAck)) {
		return errPreface
	}
	if c.full() {
		c.flush(c.directWrites())
	}
	paid := min(price, c.earned)
	c.earned -= paid
	price -= paid
	if price > 0 && !c.frames.spend(price, c.now, frameLimit) {
		return errFrames
	}
	return nil
}

// notIdle is the error for a frame on a stream that has never been, nil for one on a stream that is over.
func (c *conn) notIdle(id uint32) error {
	if id > c.lastID || id%2 == 0 {
		return errIdle
	}
	return nil
}

// fault ends a stream for what its client did wrong (RFC 9113 §5.4.2). The error is one of the connection: there were too many of them.
func (c *conn) fault(s *stream, code errCode, kind string) error {
	c.srv.cfg.CountError(kind)
	c.reset(s, code, errBroken)
	return c.countReset()
}

// faultAt is fault for a stream that is not, or no longer, in the table.
func (c *conn) faultAt(id uint32, code errCode, kind string) error {
	c.srv.cfg.CountError(kind)
	c.sendReset(id, code)
	return c.countReset()
}

// countReset counts a stream that its client brought to an early end.
func (c *conn) countReset() error {
	if !c.resets.spend(1, c.now, resetLimit(c.srv.cfg.MaxStreams)) {
		return errResets
	}
	return nil
}

// clientReset takes RST_STREAM (RFC 9113 §6.4).
func (c *conn) clientReset(f *frame) error {
	switch {
	case f.stream == 0:
		return errStreamID
	case len(f.payload) != 4:
		return errFrameSize
	}
	if s := c.stream(f.stream); s != nil {
		c.detach(s, errReset)
	} else if err := c.notIdle(f.stream); err != nil {
		return err
	}
	c.history.clientReset(f.stream, c.lastID)
	return c.countReset()
}

// oldPriority takes PRIORITY (RFC 9113 §6.3), which says nothing any more.
func (c *conn) oldPriority(f *frame) error {
	if f.stream == 0 {
		return errStreamID
	}
	code, word := codeFrameSize, kindPriority
	if len(f.payload) == 5 {
		if checkDependency(f.stream, f.payload) {
			return nil
		}
		code, word = codeProtocol, kindDependency
	}
	s := c.stream(f.stream)
	switch {
	case s != nil:
		return c.fault(s, code, word)
	case c.notIdle(f.stream) != nil: // RST_STREAM must not be sent for it
		return &connError{code, word}
	}
	return c.faultAt(f.stream, code, word)
}

// ping takes PING (RFC 9113 §6.7).
func (c *conn) ping(f *frame) error {
	switch {
	case f.stream != 0:
		return errStreamID
	case len(f.payload) != 8:
		return errFrameSize
	case !f.has(flagAck):
		return c.control(appendPing(c.buffer().b, flagAck, f.payload))
	case c.leaving == leavingSoon && [8]byte(f.payload) == leavePing:
		c.finalGoAway()
	}
	return nil
}

// clientGoAway takes GOAWAY (RFC 9113 §6.8). The client goes on with the streams there are, and closes the connection itself.
func (c *conn) clientGoAway(f *frame) error {
	switch {
	case f.stream != 0:
		return errStreamID
	case len(f.payload) < 8:
		return errFrameSize
	}
	return nil
}

// receive takes DATA (RFC 9113 §6.1).
func (c *conn) receive(f *frame) error {
	if f.stream == 0 {
		return errStreamID
	}
	n := len(f.payload)
	if c.recvWindow -= int64(n); c.recvWindow < 0 {
		return errFlow
	}
	if !f.unpad() {
		return errPadding
	}
	s := c.stream(f.stream)
	if s == nil || s.recvEnd {
		c.consumed(n)
		return c.lateData(f, s)
	}
	c.consumed(n - len(f.payload))
	if s.recvWindow -= int64(n); s.recvWindow < 0 {
		c.consumed(len(f.payload))
		return c.fault(s, codeFlowControl, kindFlow)
	}
	c.give(s, n-len(f.payload))
	return c.content(s, f.payload, f.has(flagEndStream))
}

// lateData is DATA on a stream whose client has ended it (RFC 9113 §5.1); s is nil when we have, too.
func (c *conn) lateData(f *frame, s *stream) error {
	if s != nil {
		return c.fault(s, codeStreamClosed, kindHalfClosed)
	}
	if err := c.notIdle(f.stream); err != nil {
		return err
	}
	return c.late(f.stream)
}

// late is a frame on a stream that is closed.
func (c *conn) late(id uint32) error {
	if c.leaving == leavingNow && id > c.goneID {
		return nil
	}
	switch c.history.fate(id, c.lastID) {
	case neverOpened:
		return errStreamID
	case endedByBoth:
		return errClosed
	case forgotten:
		return c.faultAt(id, codeStreamClosed, kindForgotten)
	}
	if !c.frames.spend(priceOther, c.now, frameLimit) {
		return errFrames
	}
	return nil
}

// content takes a part of a request's body.
func (c *conn) content(s *stream, p []byte, end bool) error {
	if s.length.Add(len(p)) != nil || end && s.length.End() != nil {
		c.consumed(len(p))
		return c.fault(s, codeProtocol, kindContent)
	}
	if len(p) > 0 {
		if !s.handled { // nobody reads it: the answer is there
			c.consumed(len(p))
		} else {
			s.chunks.write(p)
		}
		if !s.inFrom.IsZero() {
			s.inWaited += c.now.Sub(s.inFrom)
			s.inFrom = c.now
		}
		s.movedAt = c.now
		s.wake()
	}
	if end {
		c.clientEnd(s)
		if s.sentEnd {
			c.detach(s, nil)
		}
	}
	return nil
}

// consumed gives n bytes back to the connection's window, some at a time: less when less than that is open, as somebody's body is not
// read, and others must go on.
func (c *conn) consumed(n int) {
	if c.unacked += int64(n); c.unacked == 0 || c.unacked < min(connWindow/4, c.recvWindow) || c.closed {
		return
	}
	if c.recvWindow <= 0 {
		c.resume()
	}
	o := c.buffer()
	o.b = appendWindowUpdate(o.b, 0, uint32(c.unacked))
	c.recvWindow += c.unacked
	c.unacked = 0
}

// resume begins the streams' waits for their clients anew, whom we have not let send.
func (c *conn) resume() {
	now := time.Now()
	for _, s := range c.streams {
		if !s.inFrom.IsZero() {
			s.inFrom = now
			c.armLocked(c.streamDue(s))
		}
	}
}

// give gives n bytes back to a stream's window, some at a time.
func (c *conn) give(s *stream, n int) {
	if s.unacked += int64(n); s.unacked < streamWindow/4 || s.recvEnd || s.detached {
		return
	}
	o := c.buffer()
	o.b = appendWindowUpdate(o.b, s.id, uint32(s.unacked))
	s.recvWindow += s.unacked
	s.unacked = 0
}
