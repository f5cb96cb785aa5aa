package quicload

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// maxMarionette bounds one message of Firefox, in octets.
const maxMarionette = 64 << 20

// marionette speaks Firefox's own protocol for remote control: JSON texts, each after its length in decimal and a colon. One command is
// under way at a time.
type marionette struct {
	conn net.Conn
	r    *bufio.Reader

	mu   sync.Mutex
	last int
}

// newMarionette takes a connection, which close ends, and waits for the greeting.
func newMarionette(ctx context.Context, conn net.Conn) (*marionette, error) {
	m := &marionette{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
	err := m.within(ctx, func() error {
		data, err := readFrame(m.r)
		if err != nil {
			return err
		}
		var hello struct {
			Protocol int `json:"marionetteProtocol"`
		}
		if err := json.Unmarshal(data, &hello); err != nil || hello.Protocol != 3 {
			return fmt.Errorf("greeting %.80q is not of protocol 3", data)
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("marionette: %w", err), conn.Close())
	}
	return m, nil
}

// within runs a part of the dialogue until ctx is done. An exchange that is cut short leaves the connection of no use.
func (m *marionette) within(ctx context.Context, part func() error) error {
	stop := context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })
	err := part()
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// call performs a command and, unless result is nil, decodes its result.
func (m *marionette) call(ctx context.Context, name string, params, result any) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	data, err := json.Marshal([]any{0, m.last, name, params})
	if err != nil {
		return err
	}
	var answer reply
	err = m.within(ctx, func() error {
		if _, err := fmt.Fprintf(m.conn, "%d:%s", len(data), data); err != nil {
			return err
		}
		for answer.id != m.last { // whatever else it may say is nobody's
			frame, err := readFrame(m.r)
			if err != nil {
				return err
			}
			if answer, err = parseReply(frame); err != nil {
				return err
			}
		}
		return answer.err
	})
	if err == nil && result != nil {
		err = json.Unmarshal(answer.result, result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (m *marionette) close() error { return m.conn.Close() }

// readFrame reads one message.
func readFrame(r *bufio.Reader) ([]byte, error) {
	length := 0
	for digits := 0; ; digits++ {
		b, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		if b == ':' && digits > 0 {
			break
		}
		if b < '0' || b > '9' || digits == len(strconv.Itoa(maxMarionette)) {
			return nil, errors.New("no length before a message")
		}
		length = 10*length + int(b-'0')
	}
	if length > maxMarionette {
		return nil, fmt.Errorf("a message of %d octets is longer than %d", length, maxMarionette)
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(length))) // memory grows with what comes, not with what is said to come
	if err == nil && len(data) < length {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

// reply is the answer to a command.
type reply struct {
	id     int
	err    error // Firefox's own
	result json.RawMessage
}

// parseReply takes [1, id, error, result] apart.
func parseReply(data []byte) (reply, error) {
	var parts []json.RawMessage
	var kind int
	var r reply
	if err := json.Unmarshal(data, &parts); err != nil || len(parts) != 4 {
		return r, fmt.Errorf("%.80q is no reply", data)
	}
	if json.Unmarshal(parts[0], &kind) != nil || kind != 1 || json.Unmarshal(parts[1], &r.id) != nil {
		return r, fmt.Errorf("%.80q is no reply", data)
	}
	if string(parts[2]) != "null" {
		var e struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}
		if err := json.Unmarshal(parts[2], &e); err != nil {
			return r, fmt.Errorf("%.80q is no reply", data)
		}
		r.err = fmt.Errorf("%s: %s", e.Error, e.Message)
	}
	r.result = parts[3]
	return r, nil
}
