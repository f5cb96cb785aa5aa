package h3

import (
	"context"
	"io"
	"math"
	"slices"

	"github.com/quic-go/quic-go"

	"nearcast/proxy/h3/qpack"
)

// Types of unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2).
const (
	streamControl = 0x00
	streamPush    = 0x01
	streamEncoder = 0x02
	streamDecoder = 0x03
)

// Settings (RFC 9114 §7.2.4.1, RFC 9204 §5, RFC 9220 §3, RFC 9297 §2.1.1).
const (
	settingTableCapacity   = 0x01
	settingMaxFieldSection = 0x06
	settingBlockedStreams  = 0x07
	settingExtendedConnect = 0x08
	settingDatagram        = 0x33
)

// Bounds of what a client's control stream may hold.
const (
	maxSettings       = 64
	maxSettingsLength = 1 << 10
	maxPriorityLength = 256
	maxControlJunk    = 16 << 10 // of one unknown frame
)

func appendSettings(dst []byte, maxHeader int) []byte {
	var b [64]byte
	p := b[:0]
	for _, s := range [...][2]uint64{{settingTableCapacity, 0}, {settingBlockedStreams, 0}, {settingMaxFieldSection, uint64(maxHeader)},
		{settingExtendedConnect, 1}} {
		p = appendVarint(appendVarint(p, s[0]), s[1])
	}
	return append(appendVarint(append(dst, frameSettings), uint64(len(p))), p...)
}

// acceptUni takes the client's unidirectional streams until the connection has ended. quic-go bounds their number; see maxUniStreams.
func (c *conn) acceptUni() {
	for {
		str, err := c.qc.AcceptUniStream(context.Background())
		if err != nil {
			return
		}
		c.work.Go(func() {
			f, critical := c.uni(str)
			switch {
			case f != nil:
				c.fail(f)
			case !critical:
				str.CancelRead(codeStreamCreation) // RFC 9114 §6.2.3
				str.ReleaseStreamCredit()
			}
		})
	}
}

// uni reads a unidirectional stream. critical is true when it is not to be closed.
func (c *conn) uni(in io.Reader) (f *fault, critical bool) {
	r := reader{in: in, buf: make([]byte, 128)}
	var typ uint64
	for n := 0; n == 0; {
		if typ, n = varint(r.buf[r.r:r.w]); n > 0 {
			r.r += n
		} else if r.eof || r.more(8) != nil {
			if c.base.Err() != nil {
				return nil, false
			}
			return c.spend(8), false // RFC 9114 §6.2 wants this tolerated
		}
	}
	switch typ {
	case streamPush:
		return errPushStream, true
	case streamControl, streamEncoder, streamDecoder:
		if !c.first(typ) {
			return errControlTwice, true
		}
	default:
		return c.spend(8), false
	}
	switch typ {
	case streamControl:
		f = c.controlStream(&r)
	case streamEncoder:
		f = c.instructions(&r, func(p []byte) *fault {
			if qpack.CheckEncoderStream(p) != nil {
				return errEncoderStream
			}
			return nil
		})
	default:
		var d qpack.DecoderStream
		f = c.instructions(&r, func(p []byte) *fault {
			if d.Check(p) != nil {
				return errDecoderStream
			}
			return nil
		})
	}
	if f == errCriticalClosed && c.base.Err() != nil {
		f = nil // it ended with the connection
	}
	return f, true
}

// first notes a critical stream; false when there is one of the type.
func (c *conn) first(typ uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.critical[typ] {
		return false
	}
	c.critical[typ] = true
	return true
}

// instructions reads a QPACK stream to its end, which must not come before the connection's.
func (c *conn) instructions(r *reader, check func([]byte) *fault) *fault {
	for {
		p := r.buf[r.r:r.w]
		if f := check(p); f != nil {
			return f
		}
		if f := c.spend((len(p) + 7) / 8); f != nil {
			return f
		}
		r.r, r.w = 0, 0
		if r.eof || r.more(1) != nil {
			return errCriticalClosed
		}
	}
}

// controlStream reads the client's control stream (RFC 9114 §6.2.1) to its end, which must not come before the connection's.
func (c *conn) controlStream(r *reader) *fault {
	typ, n, err := r.next()
	switch {
	case err != nil:
		return closedOr(err)
	case typ != frameSettings:
		return errSettingsMissing
	case n > maxSettingsLength:
		return errLoad
	}
	p, err := r.payload(int(n))
	if err != nil {
		return closedOr(err)
	}
	if f := checkSettings(p); f != nil {
		return f
	}
	st := controlState{maxPush: -1, goAway: math.MaxInt64}
	for {
		r.pinned = r.r // nothing of what was read is kept
		typ, n, err := r.next()
		if err != nil {
			return closedOr(err)
		}
		if f := c.spend(1 + int(min(n, maxControlJunk)/64)); f != nil {
			return f
		}
		if f := c.controlFrame(r, &st, typ, n); f != nil {
			return f
		}
	}
}

// closedOr is the fault that a read error on a critical stream means.
func closedOr(err error) *fault {
	if f, ok := err.(*fault); ok && f != errTruncated {
		return f
	}
	return errCriticalClosed
}

// controlState is what later frames are held against.
type controlState struct {
	maxPush int64 // -1: none yet
	goAway  uint64
}

func (c *conn) controlFrame(r *reader, st *controlState, typ, n uint64) *fault {
	switch typ {
	case frameData, frameHeaders, frameSettings, framePushPromise:
		return errUnexpected
	case frameCancelPush, frameGoAway, frameMaxPushID:
		return c.idFrame(r, st, typ, n)
	case framePriorityUpdate, framePriorityUpdateOfPush:
		return c.priorityUpdate(r, typ, n)
	}
	if err := ofHTTP2(typ); err != nil {
		return errUnexpected
	}
	if n > maxControlJunk {
		return errLoad
	}
	r.junk = 0 // the budget bounds their number
	if err := r.skip(n); err != nil {
		return closedOr(err)
	}
	return nil
}

// idFrame reads a frame of which the payload is one identifier.
func (c *conn) idFrame(r *reader, st *controlState, typ, n uint64) *fault {
	if n > 8 {
		return errFrame
	}
	p, err := r.payload(int(n))
	if err != nil {
		return closedOr(err)
	}
	id, k := varint(p)
	if k == 0 || k != len(p) {
		return errFrame
	}
	switch typ {
	case frameCancelPush: // we never promised any (RFC 9114 §7.2.3)
		return errID
	case frameGoAway: // the client's names a push
		if id > st.goAway {
			return errID
		}
		st.goAway = id
	case frameMaxPushID:
		if int64(id) < st.maxPush {
			return errID
		}
		st.maxPush = int64(id)
	}
	return nil
}

// priorityUpdate is RFC 9218 §7.2.
func (c *conn) priorityUpdate(r *reader, typ, n uint64) *fault {
	if n > maxPriorityLength {
		return errLoad
	}
	p, err := r.payload(int(n))
	if err != nil {
		return closedOr(err)
	}
	id, k := varint(p)
	switch {
	case k == 0:
		return errFrame
	case typ == framePriorityUpdateOfPush: // we never promised any
		return errID
	}
	return c.want(int64(id), parsePriority(string(p[k:])))
}

// checkSettings is RFC 9114 §7.2.4. What the client's say concerns a dynamic table and datagrams, which we use none of.
func checkSettings(p []byte) *fault {
	seen := make([]uint64, 0, 8)
	for len(p) > 0 {
		id, n := varint(p)
		if n == 0 {
			return errFrame
		}
		v, m := varint(p[n:])
		if m == 0 {
			return errFrame
		}
		p = p[n+m:]
		switch {
		case id >= 0x02 && id <= 0x05, slices.Contains(seen, id), (id == settingExtendedConnect || id == settingDatagram) && v > 1:
			return errSettings
		case len(seen) == maxSettings:
			return errLoad
		}
		seen = append(seen, id)
	}
	return nil
}

var _ io.Reader = (*quic.ReceiveStream)(nil)
