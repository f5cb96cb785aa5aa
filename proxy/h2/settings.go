package h2

import (
	"encoding/binary"

	"nearcast/proxy/h2/hpack"
)

// Settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1).
const (
	settingTableSize     = 0x1
	settingEnablePush    = 0x2
	settingMaxStreams    = 0x3
	settingInitialWindow = 0x4
	settingMaxFrame      = 0x5
	settingMaxHeader     = 0x6
	settingConnect       = 0x8
	settingNoPriorities  = 0x9
)

const (
	defaultWindow = 65535     // RFC 9113 §6.9.2
	streamWindow  = 256 << 10 // what a client may send of one body before the handler has read any
	connWindow    = 1 << 20   // and of all bodies of a connection
)

// greet sends the server's preface, SETTINGS (RFC 9113 §3.4), and the larger window of the connection. mu is held.
func (c *conn) greet() {
	if c.greeted {
		return
	}
	c.greeted = true
	set := [...]struct {
		id    uint16
		value uint32
	}{
		{settingMaxStreams, uint32(c.srv.cfg.MaxStreams)},
		{settingInitialWindow, streamWindow},
		{settingMaxHeader, uint32(c.srv.cfg.MaxHeader)},
		{settingConnect, 1},
		{settingNoPriorities, 1},
	}
	o := c.buffer()
	b := appendHeader(o.b, 6*len(set), frameSettings, 0, 0)
	for _, s := range set {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, s.id), s.value)
	}
	o.b = appendWindowUpdate(b, 0, connWindow-defaultWindow)
}

// settings takes a SETTINGS frame (RFC 9113 §6.5). mu is held.
func (c *conn) settings(f *frame) error {
	switch {
	case f.stream != 0:
		return errStreamID
	case f.has(flagAck) && len(f.payload) != 0, len(f.payload)%6 != 0:
		return errFrameSize
	case f.has(flagAck):
		return nil
	}
	window := c.peerWindow
	for p := f.payload; len(p) > 0; p = p[6:] {
		id, v := binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])
		switch id {
		case settingTableSize:
			// Nothing we send needs a table; but the client's decoder may insist on being told that it shrank (RFC 7541 §4.2).
			c.shrink = c.shrink || v < hpack.TableSize && !c.shrunk
		case settingEnablePush, settingConnect, settingNoPriorities:
			if v > 1 {
				return errSettings
			}
		case settingInitialWindow:
			if v > maxWindow {
				return errWindowSize
			}
			window = int64(v)
		case settingMaxFrame:
			if v < maxFrame || v >= 1<<24 {
				return errSettings
			}
		}
	}
	if err := c.setPeerWindow(window); err != nil {
		return err
	}
	return c.control(appendHeader(c.buffer().b, 0, frameSettings, flagAck, 0))
}

// setPeerWindow changes the window of every stream by the difference; it may become negative (RFC 9113 §6.9.2).
func (c *conn) setPeerWindow(window int64) error {
	diff := window - c.peerWindow
	c.peerWindow = window
	for _, s := range c.streams {
		if s.window += diff; s.window > maxWindow {
			return errWindow
		}
	}
	return nil
}
