package wire

import (
	"errors"
	"io"

	"nearcast/proxy/message"
)

// Source is a connection with a read buffer.
type Source interface {
	// Buffered returns what was read and not consumed yet.
	Buffered() []byte
	// Consume takes n bytes off what is buffered.
	Consume(n int)
	// Fill waits until there is something in the buffer, which is empty.
	Fill() error
	// Read reads past the buffer, which is empty.
	io.Reader
}

// smallRead is the size below which a read goes through the buffer, so that many small ones do not become as many system calls.
const smallRead = 2 << 10

// Body reads a message's body from a Source. It returns io.EOF together with the last bytes where they come together, and
// io.ErrUnexpectedEOF when the connection ends before the body. It must not be read again after any other error.
type Body struct {
	src     Source
	framing Framing
	left    int64 // of a body ByLength
	ended   bool
	chunks  ChunkedDecoder
}

// Reset makes the body that of a message that has just been parsed. length is that of a body ByLength. response says whose errors they are.
func (b *Body) Reset(src Source, framing Framing, length int64, response bool, lim Limits) {
	b.src, b.framing, b.left = src, framing, length
	b.ended = framing == NoBody || framing == ByLength && length == 0
	b.chunks.Reset(response, lim)
}

// Ended reports whether all of the body has been read, so that what follows is another message.
func (b *Body) Ended() bool { return b.ended }

// Trailers is the trailer section once the body has ended, in memory of its own.
func (b *Body) Trailers() message.Fields { return b.chunks.Trailers() }

// Left is the least number of bytes still to be read; exactly that when the body's length is declared.
func (b *Body) Left() int64 {
	if b.framing == Chunked {
		return b.chunks.Left()
	}
	return b.left
}

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := 0, error(nil)
	switch b.framing {
	case Chunked:
		return b.readChunks(p)
	case ByLength:
		n, err = b.readSome(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); b.left == 0 {
			b.ended = true
			return n, io.EOF
		}
		return n, unexpected(err)
	}
	n, err = b.readSome(p)
	b.ended = err == io.EOF
	return n, err
}

// readSome reads what is buffered, or else from the connection.
func (b *Body) readSome(p []byte) (int, error) {
	if len(b.src.Buffered()) == 0 {
		if len(p) >= smallRead {
			return b.src.Read(p)
		}
		if err := b.src.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.src.Buffered())
	b.src.Consume(n)
	return n, nil
}

// readChunks reads what is buffered of any number of chunks, or else waits for some of one.
func (b *Body) readChunks(p []byte) (n int, err error) {
	for {
		for len(b.src.Buffered()) > 0 {
			data, used, err := b.chunks.Next(b.src.Buffered(), len(p)-n)
			n += copy(p[n:], data)
			b.src.Consume(used)
			b.ended = err == io.EOF
			if err != nil || n == len(p) {
				return n, err
			}
		}
		if n > 0 {
			return n, nil
		}
		if left := b.chunks.Left(); min(left, int64(len(p))) >= smallRead {
			n, err := b.src.Read(p[:min(left, int64(len(p)))])
			b.chunks.Skip(int64(n))
			return n, unexpected(err)
		}
		if err := b.src.Fill(); err != nil {
			return 0, unexpected(err)
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
