package coding

import (
	"errors"
	"io"

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
// written to it, -1 when that is not known. Close ends the coded form; an encoder that is given up need not be closed.
func NewEncoder(c Coding, w io.Writer, level int, size int64) (io.WriteCloser, error) {
	level = max(1, min(level, MaxLevel[c%count]))
	switch c {
	case Gzip:
		return gzip.NewWriterLevel(w, level)
	case Brotli:
		if level <= 9 { // the newer of the library's two encoders, which makes less in the same time
			return brotli.NewWriterV2(w, level), nil
		}
		return brotli.NewWriterOptions(w, brotli.WriterOptions{Quality: level, LGWin: windowBits(size)}), nil
	case Zstd:
		window := max(zstd.MinWindowSize, 1<<windowBits(size))
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithWindowSize(min(window, zstdWindow)), zstd.WithEncoderConcurrency(1))
	}
	return nil, errors.New("coding: there is no encoder for " + c.String())
}

// windowBits is the logarithm of the least window that holds size bytes, so that little is not given the tables of much.
func windowBits(size int64) int {
	bits := 16
	for size < 0 && bits < maxWindowBits || size > 1<<bits && bits < maxWindowBits {
		bits++
	}
	return bits
}
