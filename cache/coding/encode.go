package coding

import (
	"errors"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// MaxLevel is the highest level of each coding that can be made; 0 for the others. The lowest is 1.
var MaxLevel = [count]int{Gzip: 9, Brotli: 11, Zstd: 22}

const (
	// zstdWindow is the most that a decoder of the coding must take (RFC 9659 §3).
	zstdWindow = 8 << 20
	// maxWindowBits is the logarithm of the largest window that is used, 4 MiB; more costs memory and saves little.
	maxWindowBits = 22
)

// NewEncoder returns an encoder that writes to w at a level, 1 to MaxLevel; higher ones take longer and make less. size is how many bytes will be
// written to it, -1 when that is not known. Close ends the coded form; an encoder that is given up need not be closed. It must not be used after
// Close: one that has ended well begins anew for another caller, and makes the same of the same.
func NewEncoder(c Coding, w io.Writer, level int, size int64) (io.WriteCloser, error) {
	k := kind{c, max(1, min(level, MaxLevel[c%count])), windowBits(size)}
	if c == Gzip || c == Brotli && k.level <= newestBrotli {
		k.window = 0 // which they have one of
	}
	p, known := spare.Load(k)
	if !known {
		p, _ = spare.LoadOrStore(k, new(sync.Pool))
	}
	if e, ok := p.(*sync.Pool).Get().(*encoder); ok {
		e.to.w = w
		e.Reset(&e.to)
		return e, nil
	}
	e := &encoder{to: sink{w}, pool: p.(*sync.Pool)}
	var err error
	e.resettable, err = k.encoder(&e.to)
	return e, err
}

// kind is what encoders are interchangeable by.
type kind struct {
	coding        Coding
	level, window int
}

// spare has the encoders that have ended well, by their kind: one is megabytes of tables, more work to make than a small form. The collector takes what
// is not used again.
var spare sync.Map

type resettable interface {
	io.WriteCloser
	Reset(io.Writer)
}

type encoder struct {
	resettable
	to   sink
	pool *sync.Pool
}

// sink is where an encoder writes to, so that a spare one refers to nothing.
type sink struct{ w io.Writer }

func (s *sink) Write(p []byte) (int, error) { return s.w.Write(p) }

// Close ends the coded form.
func (e *encoder) Close() error {
	err := e.resettable.Close()
	e.to.w = nil
	if err == nil {
		e.pool.Put(e)
	}
	return err
}

// newestBrotli is the highest level of the newer of the library's two encoders, which makes less in the same time.
const newestBrotli = 9

func (k kind) encoder(w io.Writer) (resettable, error) {
	switch k.coding {
	case Gzip:
		return gzip.NewWriterLevel(w, k.level)
	case Brotli:
		if k.level <= newestBrotli {
			return brotli.NewWriterV2(w, k.level), nil
		}
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: k.level, LGWin: k.window}), nil
	case Zstd:
		window := max(zstd.MinWindowSize, 1<<k.window)
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(k.level)), zstd.WithWindowSize(min(window, zstdWindow)), zstd.WithEncoderConcurrency(1))
	}
	return nil, errors.New("coding: there is no encoder for " + k.coding.String())
}

// windowBits is the logarithm of the least window that holds size bytes, so that little is not given the tables of much.
func windowBits(size int64) int {
	bits := 16
	for size < 0 && bits < maxWindowBits || size > 1<<bits && bits < maxWindowBits {
		bits++
	}
	return bits
}
