package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	bench "nearcast/bench/load"
)

// progressLine is one line on a terminal that is written over and over; nothing where there is no terminal.
type progressLine struct {
	out io.Writer // nil where there is no terminal

	mu    sync.Mutex
	shown time.Time
	phase string
}

// progressEvery is the least time between two lines.
const progressEvery = 100 * time.Millisecond

func newProgressLine(w io.Writer) *progressLine {
	f, ok := w.(*os.File)
	if !ok {
		return &progressLine{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return &progressLine{}
	}
	return &progressLine{out: w}
}

// show writes how a run stands.
func (l *progressLine) show(p bench.Progress) {
	if l.out == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if p.Phase == l.phase && now.Sub(l.shown) < progressEvery {
		return
	}
	l.shown, l.phase = now, p.Phase
	fmt.Fprint(l.out, "\r\x1b[K", progressText(p))
}

func progressText(p bench.Progress) string {
	text := p.Phase
	if p.Total > 0 {
		text += fmt.Sprintf(" %.1f of %.1f s", min(p.Elapsed, p.Total).Seconds(), p.Total.Seconds())
	}
	if p.OK+p.Failed > 0 {
		text += fmt.Sprintf(", %d good, %d failed", p.OK, p.Failed)
	}
	return text
}

// clear takes the line away.
func (l *progressLine) clear() {
	if l.out != nil {
		fmt.Fprint(l.out, "\r\x1b[K")
	}
}
