package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// errClosed means that the browser has gone.
var errClosed = errors.New("the browser has closed its pipe")

// maxMessage bounds one message of the browser.
const maxMessage = 64 << 20

// pipe speaks the DevTools protocol over a pair of pipes: JSON objects, each ended by a zero byte.
type pipe struct {
	// immutable
	w    io.Writer
	done chan struct{} // closed when the reader has ended

	// shared
	mu      sync.Mutex
	last    int64
	waiting map[int64]chan reply
}

type request struct {
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params,omitempty"`
	Session string `json:"sessionId,omitempty"`
}

type reply struct {
	ID     int64           `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *protocolError  `json:"error"`
}

type protocolError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *protocolError) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// newPipe starts to read. The reader ends with r.
func newPipe(w io.Writer, r io.Reader) *pipe {
	p := &pipe{w: w, done: make(chan struct{}), waiting: map[int64]chan reply{}}
	go func() {
		defer close(p.done)
		p.read(r)
	}()
	return p
}

// call sends a command and, unless result is nil, decodes its result.
func (p *pipe) call(ctx context.Context, session, method string, params, result any) error {
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	p.waiting[id] = answer
	data, err := json.Marshal(request{id, method, params, session})
	if err == nil {
		_, err = p.w.Write(append(data, 0))
	}
	p.mu.Unlock()
	defer p.forget(id)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case r := <-answer:
		return r.decode(method, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", method, context.Cause(ctx))
	case <-p.done:
		select {
		case r := <-answer:
			return r.decode(method, result)
		default:
			return fmt.Errorf("%s: %w", method, errClosed)
		}
	}
}

func (r reply) decode(method string, result any) error {
	if r.Error != nil {
		return fmt.Errorf("%s: %w", method, r.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Result, result); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (p *pipe) forget(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, id)
}

// read hands replies to who waits for them. Events, which have no number, are nobody's.
func (p *pipe) read(r io.Reader) {
	messages := bufio.NewScanner(r)
	messages.Buffer(make([]byte, 0, 64<<10), maxMessage)
	messages.Split(splitZero)
	for messages.Scan() {
		var answer reply
		if json.Unmarshal(messages.Bytes(), &answer) != nil || answer.ID == 0 {
			continue
		}
		p.mu.Lock()
		waiting := p.waiting[answer.ID]
		delete(p.waiting, answer.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- answer // has room for the one reply that it gets
		}
	}
}

// splitZero is a bufio.SplitFunc for texts that end with a zero byte. What comes after the last one is incomplete.
func splitZero(data []byte, _ bool) (advance int, token []byte, err error) {
	for i, b := range data {
		if b == 0 {
			return i + 1, data[:i], nil
		}
	}
	return 0, nil, nil
}
